from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from sentinel_site import logs
from sentinel_site.environment import Environment, read_rate, read_secret, read_time_zone

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    code = (ROOT / "sentinel_site/settings.py").read_text()
    code += (ROOT / "ml/detectors/catalog.py").read_text() + (ROOT / "ml/engines.py").read_text()
    code += (ROOT / "ml/detectors/runner.py").read_text()
    read = set(re.findall(r'(?:env(?:\.\w+)?\(|read_\w+\(|_VARIABLE = )\s*"([A-Z_]+)"', code.replace("\n", "")))
    table = (ROOT / "docs/settings.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall("`([A-Z_]+)`", row.split("|")[1])}
    assert read
    assert {name for name in documented if not name.endswith("_FILE")} == read


def test_debug_is_off_unless_asked_for() -> None:
    code = "from django.conf import settings; print(settings.DEBUG, settings.ALLOWED_HOSTS)"
    environment = {key: value for key, value in os.environ.items() if key not in {"DEBUG", "ALLOWED_HOSTS"}}
    environment["DJANGO_SETTINGS_MODULE"] = "sentinel_site.settings"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "False ['localhost', '127.0.0.1', '[::1]']"


@pytest.mark.parametrize(
    ("read", "given"),
    [
        # To django-environ some of these are off, 130 and 23, and the others an error that names no variable.
        ("bool", "enabled"),
        ("bool", "2"),
        ("float", "1h30"),
        ("float", "2e3x"),
        ("float", "nan"),
        ("float", "inf"),
        ("int", "ten"),
        ("int", "1.5"),
        ("int", "-1"),
    ],
)
def test_a_value_that_cannot_be_understood_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, read: str, given: str
) -> None:
    monkeypatch.setenv("SENTINEL_TRIED", given)
    with pytest.raises(ImproperlyConfigured, match=f"SENTINEL_TRIED is .*{given}"):
        getattr(Environment(), read)("SENTINEL_TRIED", default=1)


@pytest.mark.parametrize(
    ("read", "given", "means"),
    [
        *(("bool", word, True) for word in ("on", "True", "1", " yes ")),
        *(("bool", word, False) for word in ("off", "False", "0", "no")),
        ("bool", "", True),
        ("int", "5", 5),
        ("float", "0.25", 0.25),
        ("float", "", True),
        ("list", "a.example, b.example,", ["a.example", "b.example"]),
        ("list", "", []),
    ],
)
def test_values_mean_what_they_say(monkeypatch: pytest.MonkeyPatch, read: str, given: str, means: object) -> None:
    monkeypatch.setenv("SENTINEL_TRIED", given)
    assert getattr(Environment(), read)("SENTINEL_TRIED", default=True) == means


@pytest.mark.parametrize("rate", ["300", "many/min", "5/fortnight", "-1/s"])
def test_a_rate_is_one(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    monkeypatch.setenv("SENTINEL_TRIED", rate)
    with pytest.raises(ImproperlyConfigured, match="SENTINEL_TRIED"):
        read_rate("SENTINEL_TRIED", "30/min")
    monkeypatch.setenv("SENTINEL_TRIED", "")
    assert read_rate("SENTINEL_TRIED", "30/min") == ""
    monkeypatch.delenv("SENTINEL_TRIED")
    assert read_rate("SENTINEL_TRIED", "30/min") == "30/min"


@pytest.mark.parametrize("zone", ["India", "../localtime", "Asia"])
def test_a_time_zone_is_one(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("SENTINEL_TRIED", zone)
    with pytest.raises(ImproperlyConfigured, match="SENTINEL_TRIED"):
        read_time_zone("SENTINEL_TRIED", "Asia/Kolkata")


def test_a_level_of_logging_is_one() -> None:
    assert logs.configuration("line", "warning")["root"]["level"] == "WARNING"
    with pytest.raises(ImproperlyConfigured, match="LOG_LEVEL"):
        logs.configuration("line", "loud")


def test_the_database_lies_in_the_data_folder_whatever_that_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "c++ #1 50%20 हिन्दी"
    code = "from django.conf import settings; print(settings.DATABASES['default']['NAME'])"
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    environment |= {"DJANGO_SETTINGS_MODULE": "sentinel_site.settings", "SENTINEL_DATA_DIR": str(folder)}
    environment |= {"SECRET_KEY": "x" * 50, "PYTHONIOENCODING": "utf-8"}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(folder / "sentinel.sqlite3")


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    file = tmp_path / "new" / "secret_key"
    first = read_secret("SECRET_KEY", fallback_file=file)
    assert len(first) >= 50
    assert read_secret("SECRET_KEY", fallback_file=file) == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret_key"]


def test_a_secret_comes_from_the_environment_then_from_the_file_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.write_text("from a file\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(given))
    assert read_secret("SECRET_KEY", fallback_file=tmp_path / "unused") == "from a file"
    monkeypatch.setenv("SECRET_KEY", "from the environment")
    assert read_secret("SECRET_KEY", fallback_file=tmp_path / "unused") == "from the environment"
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("content", [None, ""])
def test_a_secret_file_that_is_missing_or_empty_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    given = tmp_path / "given"
    if content is not None:
        given.write_text(content)
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.setenv("SECRET_KEY_FILE", str(given))
    with pytest.raises(ImproperlyConfigured):
        read_secret("SECRET_KEY", fallback_file=tmp_path / "unused")

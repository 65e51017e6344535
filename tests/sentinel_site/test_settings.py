from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from sentinel_site.environment import read_secret

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

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from ml.error_rates import read
from ml.training import __main__ as command_line
from ml.training import commands
from tests.media_factory import make_face_image, make_image
from tests.tiny_detector import write_tiny_detector


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name in ("real/a.jpg", "fake/drawn/b.jpg"):
        (tmp_path / "media" / name).parent.mkdir(parents=True, exist_ok=True)
        make_image(tmp_path / "media" / name)
    return tmp_path / "media"


@pytest.fixture
def detectors(tmp_path: Path) -> Path:
    write_tiny_detector(tmp_path / "detectors")
    return tmp_path / "detectors"


def test_it_prints_and_writes_what_the_detector_said(
    media: Path, tmp_path: Path, detectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--detector", "tiny-test", "--detectors", str(detectors), "--json", str(tmp_path / "r.json")]
    assert command_line.main(["evaluate", str(media), *options]) == 0
    assert "no real file could be judged; verdicts 1 NOT_ASSESSABLE" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["detector"] == "tiny-test"
    assert [score["fake_probability"] for score in report["scores"]] == [None, None]


def test_the_sites_command_does_the_same(media: Path, detectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("evaluate", str(media), "--detector", "tiny-test", "--detectors", str(detectors))
    assert "no real file could be judged" in capsys.readouterr().out


def test_a_folder_gets_everything_and_the_detector_its_error_rates(
    media: Path, tmp_path: Path, detectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_face_image(media / "real" / "face.jpg")
    make_face_image(media / "fake" / "drawn" / "face.jpg", quality=50)
    out = tmp_path / "out"
    options = ["--detector", "tiny-test", "--detectors", str(detectors), "--out", str(out), "--draws", "50"]
    command_line.main(["evaluate", str(media), *options, "--install", "--pool", "mine=all", "--harm", "jpeg_quality"])
    assert {path.name for path in out.iterdir()} >= {"evaluation.json", "error_rates.json", "scores"}
    assert read(out / "error_rates.json") == read(detectors / "tiny-test" / "error_rates.json")
    report = json.loads((out / "evaluation.json").read_text())
    shown = json.loads((detectors / "tiny-test" / "evaluation.json").read_text())
    assert shown == {name: value for name, value in report.items() if name != "scores"}
    assert set(report["groups"]) == {"all", "mine"}
    assert {row["harm"] for row in report["robustness"]} == {"jpeg_quality"}
    assert report["used_for_choosing"] is False
    assert "reals called fake" in capsys.readouterr().out


def test_unusable_wishes_are_refused(media: Path, detectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["evaluate", str(media), "--pool", "without-groups="])
    assert "not of the form NAME=GROUP,GROUP" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command_line.main(["evaluate", str(media), "--harm", "rain"])
    assert "--harm: invalid Harm value: 'rain'" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no folder of its own"):
        command_line.main(["evaluate", str(media), "--detector", "reference-b7", "--install"])
    with pytest.raises(ValueError, match="no group is called"):
        command_line.main(
            ["evaluate", str(media), "--detector", "tiny-test", "--detectors", str(detectors), "--pool", "a=b"]
        )


def test_what_stands_in_the_way_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["ml.training", "evaluate", str(tmp_path)])
    assert command_line.run() == 2
    assert capsys.readouterr().err.startswith("nothing labelled under")
    with pytest.raises(CommandError, match="nothing labelled under") as caught:
        call_command("evaluate", str(tmp_path))
    assert caught.value.returncode == 2
    monkeypatch.setattr(commands, "configure_logging", lambda _work: None)
    with pytest.raises(CommandError, match=r"nowhere\.toml"):
        call_command("train", str(tmp_path), "--work", str(tmp_path), "--config", "nowhere.toml")

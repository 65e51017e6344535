from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import call_command

from ml.training import __main__ as command_line
from ml.training import trainer
from ml.training.export import export_detector
from tests.media_factory import make_image
from tests.ml.training.conftest import tiny_config
from tests.tiny_detector import write_tiny_detector


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name in ("real/a.jpg", "fake/drawn/b.jpg"):
        (tmp_path / "media" / name).parent.mkdir(parents=True, exist_ok=True)
        make_image(tmp_path / "media" / name)
    return tmp_path / "media"


def test_evaluate_prints_and_writes_what_the_detector_said(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_detector(tmp_path / "detectors")
    options = [
        "--detector",
        "tiny-test",
        "--detectors",
        str(tmp_path / "detectors"),
        "--json",
        str(tmp_path / "r.json"),
    ]
    assert command_line.main(["evaluate", str(media), *options]) == 0
    assert "reals called fake: 0 of 1; verdicts 1 NOT_ASSESSABLE" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["detector"] == "tiny-test"
    assert [score["fake_probability"] for score in report["scores"]] == [None, None]


def test_the_sites_command_does_the_same(media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_detector(tmp_path / "detectors")
    call_command("evaluate", str(media), "--detector", "tiny-test", "--detectors", str(tmp_path / "detectors"))
    assert "reals called fake: 0 of 1" in capsys.readouterr().out


def test_export_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        command_line.main(["export", str(tmp_path / "detector"), "--work", str(tmp_path)])


def test_export_writes_the_average_and_not_the_last_weights(tmp_path: Path) -> None:
    config = tiny_config()
    state = trainer.new_state(config, pretrained=False)
    state.average["fc.bias"].fill_(3.0)
    spec = export_detector(trainer.averaged_model(state, config), config, tmp_path)
    assert spec.outputs == ("blending", "synthesis")
    assert trainer.averaged_model(state, config).fc.bias.tolist() == [3.0, 3.0]

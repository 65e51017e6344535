from __future__ import annotations

from pathlib import Path

import pytest

from ml.detectors.checkpoints import read_state_dict
from ml.training import __main__ as command_line
from ml.training import trainer
from ml.training.export import export_detector
from tests.ml.training.conftest import tiny_config


def test_export_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        command_line.main(["export", str(tmp_path / "detector"), "--work", str(tmp_path)])


def test_export_writes_the_average_and_not_the_last_weights(tmp_path: Path) -> None:
    config = tiny_config()
    state = trainer.new_state(config, pretrained=False)
    state.networks["tiny"].average["fc.bias"].fill_(3.0)
    model = trainer.averaged_models(state, config)["tiny"]
    assert model.fc.bias.tolist() == [3.0, 3.0]
    spec = export_detector(model, config, tmp_path)
    assert spec.outputs == ("blending", "synthesis")
    assert read_state_dict(tmp_path / "model.safetensors")["fc.bias"].tolist() == [3.0, 3.0]

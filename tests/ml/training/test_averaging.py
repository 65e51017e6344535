from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.detectors.checkpoints import read_state_dict
from ml.detectors.network import FaceClassifier
from ml.training import __main__ as command_line
from ml.training.averaging import average_weights


def write_network(path: Path, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state = FaceClassifier("test_efficientnet", outputs=2).state_dict()
    save_file(state, path)
    return state


def test_the_average_is_weighted_and_loads(tmp_path: Path) -> None:
    one, other = write_network(tmp_path / "one", 1), write_network(tmp_path / "other", 2)
    out = tmp_path / "out" / "average.safetensors"
    assert command_line.main(["average", str(out), f"{tmp_path / 'one'}=3", f"{tmp_path / 'other'}=1"]) == 0
    averaged = read_state_dict(out)
    assert averaged.keys() == one.keys()
    name = "encoder.conv_stem.weight"
    torch.testing.assert_close(averaged[name].float(), 0.75 * one[name] + 0.25 * other[name], atol=1e-3, rtol=1e-3)
    FaceClassifier("test_efficientnet", outputs=2).load_state_dict(averaged, strict=True)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_weights_of_other_networks_are_refused(tmp_path: Path) -> None:
    write_network(tmp_path / "one", 1)
    save_file(FaceClassifier("test_efficientnet", outputs=1).state_dict(), tmp_path / "other")
    with pytest.raises(ValueError, match="another network"):
        average_weights({tmp_path / "one": 1.0, tmp_path / "other": 1.0})
    with pytest.raises(ValueError, match="shares"):
        average_weights({tmp_path / "one": 0.0})


@pytest.mark.parametrize("text", ["weights", "weights=", "weights=much", "=0.5"])
def test_a_share_that_is_no_number_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["average", str(tmp_path / "out"), text])
    assert "FILE=SHARE" in capsys.readouterr().err

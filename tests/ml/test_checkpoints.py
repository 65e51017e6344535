"""Checkpoints of both formats load strictly, and nothing else does."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.catalog import REFERENCE_B7
from ml.detectors.checkpoints import load_network, read_state_dict
from ml.detectors.registry import Detector, load_detector
from ml.detectors.spec import DetectorSpec, Preprocessing
from tests.media_factory import portrait
from tests.tiny_detector import ARCHITECTURE, tiny_network

TINY = replace(REFERENCE_B7, architecture=ARCHITECTURE, preprocessing=Preprocessing(input_size=96))
State = dict[str, torch.Tensor]


def reference_style(spec: DetectorSpec, *, seed: int = 5) -> State:
    """A seeded network as the reference saves it: DataParallel's prefix, and an ImageNet head that nothing uses."""
    import timm

    torch.manual_seed(seed)
    encoder = timm.create_model(spec.architecture, pretrained=False, num_classes=1000)
    state = {f"module.encoder.{key}": value for key, value in encoder.state_dict().items()}
    state["module.fc.weight"] = torch.randn(1, int(str(encoder.num_features))) * 0.01
    state["module.fc.bias"] = torch.zeros(1)
    return state


SHAPES: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "dict": lambda state: {"epoch": 36, "state_dict": state, "bce_best": 0.25},
    "numpy scalar": lambda state: {"epoch": 36, "state_dict": state, "bce_best": np.float64(0.25)},
    "no prefix": lambda state: {key.removeprefix("module."): value for key, value in state.items()},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("shape", SHAPES)
def test_reference_checkpoints_load(tmp_path: Path, shape: str, zipped: bool) -> None:
    state = reference_style(TINY)
    path = tmp_path / "final_111_DeepFakeClassifier"
    torch.save(SHAPES[shape](state), path, _use_new_zipfile_serialization=zipped)

    network = load_network(TINY, path)

    assert torch.equal(network.members[0].fc.weight, state["module.fc.weight"])
    assert torch.equal(network.state_dict()["encoder.conv_stem.weight"], state["module.encoder.conv_stem.weight"])
    assert not network.training


def test_safetensors_load_whatever_the_name(tmp_path: Path) -> None:
    network = tiny_network()
    save_file(network.state_dict(), str(tmp_path / "weights"))

    loaded = load_network(TINY, tmp_path / "weights")

    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())


def test_a_checkpoint_scores_as_the_network_it_came_from(tmp_path: Path) -> None:
    network = tiny_network()
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "a")

    from_file = Detector(TINY, [load_network(TINY, tmp_path / "a")], ["x"]).score([portrait()])

    assert np.array_equal(from_file, Detector(TINY, [network], ["x"]).score([portrait()]))


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def _refused(path: Path) -> str:
    with pytest.raises(AnalysisError) as caught:
        load_network(TINY, path)
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
    return caught.value.detail


def _without(key: str) -> Callable[[State], Any]:
    return lambda state: {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    "change",
    [
        _without("module.fc.bias"),
        _without("module.encoder.conv_stem.weight"),
        lambda state: {**state, "module.surprise": torch.zeros(1)},
        lambda state: {**state, "module.fc.bias": torch.zeros(2)},
        lambda state: {**state, "module.fc.bias": torch.full((1,), float("nan"))},
        lambda state: {**state, "module.fc.bias": 0.5},
        lambda state: {"state_dict": [1, 2]},
        lambda state: {},
        lambda state: [state],
        lambda state: {**state, "module.fc.bias": Malicious()},
    ],
    ids=["no bias", "no stem", "extra", "shape", "nan", "number", "list", "empty", "no dict", "code"],
)
def test_anything_but_the_whole_network_is_refused(
    tmp_path: Path, change: Callable[[State], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(change(reference_style(TINY)), tmp_path / "weights")

    _refused(tmp_path / "weights")

    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 100, b"PK\x03\x04" + b"\0" * 50, b"\x10\0\0\0\0\0\0\0{not json", pickle.dumps({"a": 1})],
    ids=["empty", "text", "zip", "safetensors", "pickle"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)

    _refused(tmp_path / "weights")


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save(reference_style(TINY), tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])

    _refused(tmp_path / "cut")


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(reference_style(replace(TINY, architecture="tinynet_e")), tmp_path / "weights")

    _refused(tmp_path / "weights")


@pytest.mark.slow
@pytest.mark.long
def test_a_b7_in_the_format_of_the_reference_loads_and_scores(tmp_path: Path) -> None:
    state = reference_style(REFERENCE_B7)
    encoder = [key for key in state if key.startswith("module.encoder.")]
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    parameters = sum(value.numel() for key, value in state.items() if not key.endswith(statistics))
    assert len(encoder) == 1200
    assert state["module.encoder.classifier.weight"].shape == (1000, 2560)
    # The published figure counts the ImageNet head too; what is run is 2,561,000 less.
    assert parameters == 66_350_521
    path = tmp_path / "final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36"
    torch.save({"epoch": 36, "state_dict": state, "bce_best": np.float64(0.25)}, path)

    detector = load_detector("reference-b7", weights=[path], device="cpu")
    scores = detector.score([portrait()])

    assert detector.parameters == 66_350_521 - 2_561_000
    assert set(read_state_dict(path)) == set(detector.networks[0].state_dict())
    assert scores.shape == (1, 1)
    assert 0 < scores[0, 0] < 1

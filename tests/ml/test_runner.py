"""Faces become probabilities whatever runs the networks, and a full GPU only makes batches smaller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors import runner
from ml.detectors.network import FaceClassifier, to_input
from ml.detectors.runner import BATCH_ON_CPU, Runner
from ml.detectors.spec import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from ml.engines import Engine, Precision
from tests.tiny_detector import INPUT_SIZE, tiny_network

CPU = torch.device("cpu")
FACES = np.random.default_rng(0).integers(0, 256, (19, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)


def make_runner(*networks: nn.Module) -> Runner:
    return Runner(networks, [f"digest{n}" for n in range(len(networks))], Preprocessing(INPUT_SIZE), CPU)


def expected(network: nn.Module) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        logits = network(to_input(torch.from_numpy(FACES), IMAGENET_MEAN, IMAGENET_STD))
    return torch.sigmoid(logits).amax(dim=1).numpy()


@pytest.mark.parametrize("outputs", [1, 3])
def test_probabilities_are_those_of_the_networks(outputs: int) -> None:
    first, second = tiny_network(outputs=outputs), tiny_network(seed=8, outputs=outputs)

    found = make_runner(first, second).probabilities(FACES)

    assert found.shape == (2, 19)
    assert found == pytest.approx(np.stack([expected(first), expected(second)]), abs=1e-5)


def test_no_faces_have_no_probabilities() -> None:
    assert make_runner(tiny_network()).probabilities(FACES[:0]).shape == (1, 0)


def test_larger_networks_run_in_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "WORTH_CONVERTING", 1000)
    network = tiny_network()

    fast = make_runner(network)

    assert (fast.engine, fast.precision) == (Engine.OPENVINO, Precision.FLOAT32)
    assert fast.probabilities(FACES)[0] == pytest.approx(expected(network), abs=1e-4)


def test_one_network_in_torch_is_enough_to_name_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    network, large = tiny_network(), tiny_network()
    large.register_parameter("padding", nn.Parameter(torch.zeros(runner.WORTH_CONVERTING)))

    mixed = make_runner(network, large)

    assert mixed.engine is Engine.TORCH
    assert mixed.probabilities(FACES) == pytest.approx(np.stack([expected(network)] * 2), abs=1e-4)


@pytest.mark.parametrize("worth", [1000, 10**9], ids=["openvino", "torch"])
def test_bfloat16_is_named_and_close(monkeypatch: pytest.MonkeyPatch, worth: int) -> None:
    monkeypatch.setenv("SENTINEL_PRECISION", "bfloat16")
    monkeypatch.setattr(runner, "WORTH_CONVERTING", worth)
    network = tiny_network()

    coarse = make_runner(network)

    assert coarse.precision is Precision.BFLOAT16
    found = coarse.probabilities(FACES)[0]
    assert found == pytest.approx(expected(network), abs=0.1)
    assert found.dtype == np.float32


def test_a_precision_nobody_knows_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_PRECISION", "int1")

    with pytest.raises(ValueError, match="int1"):
        make_runner(tiny_network())


class Cramped(nn.Module):
    """A network on a GPU with room for so many faces."""

    def __init__(self, network: FaceClassifier, room: int) -> None:
        super().__init__()
        self.network = network
        self.room = room
        self.sizes: list[int] = []

    def forward(self, faces: Tensor) -> Tensor:
        self.sizes.append(len(faces))
        if len(faces) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        logits: Tensor = self.network(faces)
        return logits


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_gpu_that_runs_out_of_memory_gets_smaller_batches_from_then_on(room: int) -> None:
    network = tiny_network()
    cramped = Cramped(network, room)

    found = make_runner(cramped).probabilities(FACES)

    assert found[0] == pytest.approx(expected(network), abs=1e-5)
    assert cramped.sizes[0] == BATCH_ON_CPU
    fitting = [size for size in cramped.sizes if size <= room]
    assert sum(fitting) == len(FACES)
    # Each size is tried once and never again.
    failed = [size for size in cramped.sizes if size > room]
    assert len(failed) == len(set(failed))


def test_a_gpu_without_room_for_one_face_is_a_failure_with_a_name() -> None:
    with pytest.raises(AnalysisError) as caught:
        make_runner(Cramped(tiny_network(), 0)).probabilities(FACES)

    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE

"""A detector of a hundred thousand seeded parameters, for tests: fast, deterministic, and knowing nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from ml.detectors.network import FaceClassifier
from ml.detectors.spec import Aggregation, DetectorSpec, Preprocessing, Thresholds

NAME = "tiny-test"
ARCHITECTURE = "test_efficientnet"
SEED = 7


def tiny_network(*, seed: int = SEED, outputs: int = 1, bias: float = 0.0) -> FaceClassifier:
    """A random network; `bias` moves all logits, so that ±20 gives a detector that calls everything fake or real."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FaceClassifier(ARCHITECTURE, outputs=outputs).eval()
    with torch.no_grad():
        network.fc.weight.mul_(0.2)
        network.fc.bias.fill_(bias)
    return network


def write_tiny_detector(
    directory: Path,
    *,
    name: str = NAME,
    seed: int = SEED,
    outputs: tuple[str, ...] = ("fake",),
    bias: float = 0.0,
    thresholds: Thresholds | None = None,
    aggregation: Aggregation = Aggregation.CONFIDENT_STRATEGY,
) -> Path:
    """Write `directory`/`name`/{detector.json, model.safetensors, MODEL_CARD.md} and return that folder.

    Point SENTINEL_DETECTORS_DIR at `directory`, or pass it as `search=`, to load it by name.
    """
    folder = directory / name
    folder.mkdir(parents=True, exist_ok=True)
    network = tiny_network(seed=seed, outputs=len(outputs), bias=bias)
    weights = folder / "model.safetensors"
    save_file(network.state_dict(), str(weights))
    spec = DetectorSpec(
        name=name,
        version="0.0.1",
        title="Tiny test network",
        architecture=ARCHITECTURE,
        outputs=outputs,
        preprocessing=Preprocessing(input_size=96),
        thresholds=thresholds or Thresholds(fake=0.6, real=0.4, frame=0.5),
        aggregation=aggregation,
        licence="Apache-2.0",
        weights_file=weights.name,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        card="MODEL_CARD.md",
    )
    (folder / "detector.json").write_text(spec.to_json(), encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(
        "# Tiny test network\n\nRandom weights. It knows nothing.\n", encoding="utf-8"
    )
    return folder

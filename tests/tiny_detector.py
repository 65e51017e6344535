"""A detector of a hundred thousand seeded parameters, for tests: fast, deterministic, and knowing nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ml.detectors.network import FaceClassifier, to_input
from ml.detectors.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Aggregation,
    DetectorSpec,
    Preprocessing,
    Thresholds,
)
from ml.faces.geometry import fit_face
from tests.media_factory import face_frame

NAME = "tiny-test"
ARCHITECTURE = "test_efficientnet"
INPUT_SIZE = 96
SEED = 7


def tiny_network(*, seed: int = SEED, outputs: int = 1, bias: float = 0.0) -> FaceClassifier:
    """A random network whose scores for the portrait of the face clips lie around sigmoid(`bias`), within about 0.2.

    ±20 gives a detector that calls everything fake or real.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FaceClassifier(ARCHITECTURE, outputs=outputs).train()
        with torch.no_grad():
            # Statistics from noise: with those it starts from, every picture would get the same score.
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 1.0
            network(torch.nn.functional.interpolate(torch.randn(16, 3, 12, 12), size=INPUT_SIZE, mode="bilinear"))
            network.eval()
            face = torch.from_numpy(fit_face(face_frame(0, (150, 180), zoom=1.0), INPUT_SIZE))[None]
            logits = network(to_input(face, IMAGENET_MEAN, IMAGENET_STD))[0]
            network.fc.bias.add_(bias - logits)
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
        preprocessing=Preprocessing(input_size=INPUT_SIZE),
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


def _share(count: int, files: int) -> dict[str, Any]:
    return {"count": count, "files": files, "share": count / files, "low": 0.0, "high": 1.0}


def write_error_rates(folder: Path, **changes: Any) -> None:
    """An error_rates.json as ``evaluate`` writes it, for the detector in the folder."""
    spec = DetectorSpec.load(folder / "detector.json")
    thresholds = spec.thresholds
    cell = {
        "kind": "video",
        "compression": None,
        "face_size": None,
        "reals": {"called_fake": 1, "inconclusive": 4, "called_real": 15},
        "fakes": {"called_fake": 8, "inconclusive": 2, "called_real": 2},
        "not_assessable": {"reals": 0, "fakes": 0},
        "false_alarms": _share(1, 20),
        "misses": _share(2, 12),
        "found": _share(8, 12),
    }
    document = {
        "schema": 1,
        "detector": spec.name,
        "detector_version": spec.version,
        "weights_sha256": [spec.weights_sha256],
        "thresholds": {"fake": thresholds.fake, "real": thresholds.real, "frame": thresholds.frame},
        "aggregation": spec.aggregation,
        "frames": 32,
        "used_for_choosing": False,
        "measured_on": "2026-11-20",
        "software": {},
        "media": {"files": 32, "sha256": "d" * 64, "groups": ["videos"]},
        "level": 0.95,
        "interval": "clopper-pearson",
        "cells": [{**cell, "kind": "image", "compression": "strong", "face_size": "small"}, cell],
        **changes,
    }
    (folder / "error_rates.json").write_text(json.dumps(document), encoding="utf-8")

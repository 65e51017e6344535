from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ml.training.config import NetworkConfig, TrainingConfig
from ml.training.faces_index import TrainingFace

SIZE = 96
LANDMARKS = ((36.0, 38.0), (60.0, 38.0), (48.0, 52.0), (39.0, 64.0), (57.0, 64.0))


def draw_portrait(seed: int) -> NDArray[np.uint8]:
    """A face as children draw it, with noise for skin: (96, 96, 3) RGB."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(60, 110, (SIZE, SIZE, 3)).astype(np.uint8)
    skin = tuple(int(value) for value in rng.integers(140, 220, 3))
    cv2.ellipse(picture, (48, 50), (26, 34), 0, 0, 360, skin, -1)
    for x, y in LANDMARKS[:2]:
        cv2.circle(picture, (int(x), int(y)), 4, (30, 30, 30), -1)
    cv2.line(picture, (39, 64), (57, 64), (120, 30, 30), 3)
    noise = rng.normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


TINY = NetworkConfig("test_efficientnet")


def tiny_config(**changes: object) -> TrainingConfig:
    config = TrainingConfig(
        name="tiny",
        version="0.0.1",
        title="Tiny",
        licence="none",
        seed=5,
        split_seed=5,
        steps=6,
        source_shares={"drawn": 1.0},
        kind_shares={"self_blend": 0.4, "part_blend": 0.2, "reenact": 0.1, "reconstruct": 0.1, "swap": 0.2},
        synthesis_real_source="drawn",
        networks={"tiny": TINY},
        input_size=48,
        step_pairs=2,
        step_synthesis_pairs=1,
        micro_batch=4,
        warmup_steps=2,
        decay_steps=3,
        validation_share=0.25,
        validation_pairs=0,
        validation_synthesis_pairs=0,
        checkpoint_every=3,
        threads=1,
        workers=0,
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def face_record(path: str, *, label: str = "real", source: str = "drawn") -> TrainingFace:
    return TrainingFace(
        path=path,
        label=label,
        source=source,
        person=path,
        width=SIZE,
        height=SIZE,
        box=(24, 20, 72, 82),
        landmarks=LANDMARKS,
        probability=1.0,
    )


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    """Training sets the number of threads; the other tests get theirs back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, list[TrainingFace]]:
    """A data folder of eight drawn portraits and four drawn “generated” ones, and their faces."""
    root = tmp_path / "data"
    faces = []
    for label, source, count in (("real", "drawn", 8), ("fake", "generated", 4)):
        folder = root / label / source
        folder.mkdir(parents=True)
        for number in range(count):
            name = f"{number:03d}.png"
            cv2.imwrite(str(folder / name), draw_portrait(number + 50 * (label == "fake"))[..., ::-1])
            faces.append(face_record(f"{label}/{source}/{name}", label=label, source=source))
    return root, sorted(faces, key=lambda face: face.path)

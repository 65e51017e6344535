"""Makes a small folder in the layout of the DFDC: clips of a face, fakes with a blended face, and their metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.media_factory import Frame, face_frame, make_video, truncate

SIZE = (240, 200)
FRAMES = 41


def person_frame(number: int, person: int) -> Frame:
    """The swaying head in the colours and size of one of several “people”."""
    frame = face_frame(number, SIZE, zoom=1.0 + 0.1 * (person % 3), centre=(0.45 + 0.05 * (person % 3), 0.5))
    tint = np.array([1.0, 0.85, 0.7]) if person % 2 else np.array([0.85, 0.95, 1.0])
    return np.asarray(np.clip(frame * tint, 0, 255), dtype=np.uint8)


def fake_frame(number: int, person: int, kind: int) -> Frame:
    """The person's frame with a redder, softer face blended in."""
    frame = person_frame(number, person)
    height, width = frame.shape[:2]
    mask = np.zeros((height, width), dtype=np.float32)
    centre = (int(width * (0.45 + 0.05 * (person % 3))), height // 2)
    cv2.ellipse(mask, centre, (30, 40), 0, 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), 4)[..., None]
    face = cv2.GaussianBlur(frame, (0, 0), 2 + kind) * np.array([1.3, 0.8 - 0.1 * kind, 0.7])
    return np.asarray(np.clip(frame * (1 - soft) + face * soft, 0, 255), dtype=np.uint8)


def make_real(path: Path, person: int, *, count: int = FRAMES) -> Path:
    return make_video(path, frames=lambda number: person_frame(number, person), count=count)


def make_fake(path: Path, person: int, kind: int, *, count: int = FRAMES) -> Path:
    return make_video(path, frames=lambda number: fake_frame(number, person, kind), count=count)


def write_metadata(part: Path, entries: Mapping[str, Any]) -> None:
    part.mkdir(parents=True, exist_ok=True)
    (part / "metadata.json").write_text(json.dumps(entries))


def make_dfdc(root: Path) -> Path:
    """Three parts: 0 validates in fold 0, 3 and 4 train. Part 4 also holds what goes wrong in real collections.

    Real: aaa (part 0), bbb and ccc (3), ddd (4). Each has one fake, aaa two. Broken: ``cut.mp4`` does not open,
    ``gone.mp4`` is not there, ``orphan.mp4`` has no original, ``odd.mp4`` no label, ``empty.mp4`` no face.
    """
    for number, entries in PARTS.items():
        part = root / f"dfdc_train_part_{number}"
        write_metadata(part, entries)
    for video, (part_number, person) in REALS.items():
        make_real(root / f"dfdc_train_part_{part_number}" / f"{video}.mp4", person)
    for video, (part_number, person, kind) in FAKES.items():
        make_fake(root / f"dfdc_train_part_{part_number}" / f"{video}.mp4", person, kind)
    spoilt = root / "dfdc_train_part_4"
    truncate(spoilt / "ddd.mp4", spoilt / "cut.mp4", 0.3)
    make_fake(spoilt / "orphan.mp4", 0, 0, count=2)
    make_fake(spoilt / "odd.mp4", 0, 0, count=2)
    make_video(spoilt / "empty.mp4", count=11, size=SIZE)
    return root


REALS = {"aaa": (0, 0), "bbb": (3, 1), "ccc": (3, 2), "ddd": (4, 4)}
FAKES = {"aab": (0, 0, 0), "aac": (0, 0, 1), "bbc": (3, 1, 0), "ccd": (3, 2, 1), "dde": (4, 4, 1)}
PARTS: dict[int, dict[str, Any]] = {
    0: {
        "aaa.mp4": {"label": "REAL", "split": "train", "original": None},
        "aab.mp4": {"label": "FAKE", "split": "train", "original": "aaa.mp4"},
        "aac.mp4": {"label": "FAKE", "split": "train", "original": "aaa.mp4"},
    },
    3: {
        "bbb.mp4": {"label": "REAL", "split": "train"},
        "bbc.mp4": {"label": "FAKE", "split": "train", "original": "bbb.mp4"},
        "ccc.mp4": {"label": "REAL", "split": "train"},
        "ccd.mp4": {"label": "FAKE", "split": "train", "original": "ccc.mp4"},
    },
    4: {
        "ddd.mp4": {"label": "REAL", "split": "train"},
        "dde.mp4": {"label": "FAKE", "split": "train", "original": "ddd.mp4"},
        "cut.mp4": {"label": "REAL", "split": "train"},
        "empty.mp4": {"label": "REAL", "split": "train"},
        "gone.mp4": {"label": "REAL", "split": "train"},
        "orphan.mp4": {"label": "FAKE", "split": "train", "original": "nobody.mp4"},
        "odd.mp4": {"label": "MAYBE", "split": "train"},
    },
}

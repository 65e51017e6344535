"""Step 3: eyes, nose and corners of the mouth in the crops of real videos → ``landmarks/<id>/<frame>_<actor>.npy``.

Fakes lie on the same pixels as their originals and use theirs.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.contracts import FaceDetection
from ml.training.dfdc.crops import read_png
from ml.training.dfdc.layout import Layout, Video, crop_names, read_collection
from ml.training.dfdc.steps import Skip, StepReport, Task, run_step
from ml.training.faces_index import PortraitDetector

STEP = "generate_landmarks"
THRESHOLDS = (0.65, 0.75, 0.75)
SHAPE = (5, 2)

Landmarks = NDArray[np.int16]


def generate_landmarks(layout: Layout, *, workers: int = 1, device: str = "cpu") -> StepReport:
    """Find the landmarks of the largest face of each crop, in the crop's pixels."""
    collection = read_collection(layout.data)
    ready, skipped = [], list(collection.skipped)
    for video in collection.real:
        if layout.crops(video.id).is_dir():
            ready.append(video)
        else:
            skipped.append(Skip(video.id, "no_crops"))
    task = Task(
        STEP,
        make=partial(_find, layout, device=device),
        target=partial(_target, layout),
        is_whole=_is_whole,
        name=_name,
        reports=layout.reports,
    )
    return run_step(task, ready, settings={"thresholds": THRESHOLDS}, workers=workers, skipped=skipped)


def load_landmarks(path: Path) -> Landmarks | None:
    """(5, 2) int16, x and y in the crop's pixels: eyes, nose, mouth; None if there are none.

    Raises ValueError if the file holds something else.
    """
    if not path.exists():
        return None
    points = np.load(path, allow_pickle=False)
    if points.shape != SHAPE or points.dtype != np.int16:
        raise ValueError(f"{path} holds {points.dtype} {points.shape}")
    return np.asarray(points, dtype=np.int16)


def _is_whole(folder: Path) -> bool:
    try:
        return folder.is_dir() and all(load_landmarks(path) is not None for path in folder.glob("*.npy"))
    except (ValueError, OSError, EOFError):
        return False


def _target(layout: Layout, video: Video) -> Path:
    return layout.landmarks(video.id)


def _name(video: Video) -> str:
    return video.id


@cache
def _finder(device: str) -> PortraitDetector:
    """One for each process."""
    return PortraitDetector(thresholds=THRESHOLDS, device=device)


def _find(layout: Layout, video: Video, folder: Path, *, device: str) -> list[Skip]:
    finder = _finder(device)
    folder.mkdir()
    skips = []
    for name in crop_names(layout.crops(video.id)):
        try:
            crop = read_png(layout.crops(video.id) / f"{name}.png")
        except OSError as error:
            skips.append(Skip(f"{video.id}/{name}", "unreadable_crop", str(error)))
            continue
        faces = finder.detect([np.ascontiguousarray(crop[..., ::-1])])[0]
        if not faces:
            skips.append(Skip(f"{video.id}/{name}", "no_landmarks"))
            continue
        largest = max(faces, key=_area)
        np.save(folder / f"{name}.npy", np.around(np.asarray(largest.landmarks)).astype(np.int16))
    return skips


def _area(face: FaceDetection) -> int:
    return face.box.width * face.box.height

"""Step 1: faces of the real videos → ``boxes/<id>.json``. Fakes use their original's boxes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from ml.contracts import AnalysisError, ErrorCode, FaceDetection
from ml.faces.detection import FaceDetector, ScaleRule
from ml.media.frames import FrameReader, VideoPicture
from ml.training.dfdc.layout import Layout, Video, read_collection
from ml.training.dfdc.steps import Skip, StepReport, Task, run_step

STEP = "detect_original_faces"
THRESHOLDS = (0.85, 0.95, 0.95)
EVERY = 10
# The boxes are stored as the reference stores them, in pixels of the frame at half size.
SCALE = 2

Boxes = dict[int, list[list[float]] | None]


class Every:
    """The multiples of a number, as a container: how long a video is shows only when it has been read."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and index % self.step == 0


def detect_original_faces(layout: Layout, *, workers: int = 1, every: int = EVERY, device: str = "cpu") -> StepReport:
    """Search every ``every``-th frame of the real videos at half size; later steps look at no others."""
    collection = read_collection(layout.data)
    task = Task(
        STEP,
        make=partial(_find_boxes, every=every, device=device),
        target=partial(_target, layout),
        is_whole=is_whole,
        name=_name,
        reports=layout.reports,
    )
    settings = {"thresholds": THRESHOLDS, "scale": ScaleRule.HALF, "every": every}
    return run_step(task, collection.real, settings=settings, workers=workers, skipped=collection.skipped)


def read_boxes(path: Path) -> Boxes:
    """Frame index → boxes (x1, y1, x2, y2) at half size, the largest face first, or None. Raises ValueError."""
    content: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return {int(index): boxes for index, boxes in content.items()}


def is_whole(path: Path) -> bool:
    try:
        read_boxes(path)
    except ValueError:
        return False
    return True


def _target(layout: Layout, video: Video) -> Path:
    return layout.boxes(video.id)


def _name(video: Video) -> str:
    return video.id


@cache
def _finder(device: str) -> FaceDetector:
    """One for each process."""
    return FaceDetector(scale_rule=ScaleRule.HALF, thresholds=THRESHOLDS, device=device)


def _find_boxes(video: Video, path: Path, *, every: int, device: str) -> list[Skip]:
    finder = _finder(device)
    reader = FrameReader(video.path, Every(every))
    boxes: Boxes = {}
    for batch in _batches(reader, finder):
        for picture, faces in zip(batch, finder.detect([p.pixels for p in batch]), strict=True):
            boxes[picture.index] = [_halved(face) for face in sorted(faces, key=_area, reverse=True)] or None
    if not boxes:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, "no frame decodes")
    path.write_text(json.dumps(boxes), encoding="utf-8")
    skips = []
    if reader.damaged:
        skips.append(Skip(video.id, "damaged", f"{reader.damaged} packets do not decode, {reader.decoded} frames do"))
    if not any(boxes.values()):
        skips.append(Skip(video.id, "no_face", f"in {len(boxes)} frames"))
    return skips


def _batches(pictures: Iterable[VideoPicture], finder: FaceDetector) -> Iterator[list[VideoPicture]]:
    """Frames of one size, as many as the finder can hold."""
    batch: list[VideoPicture] = []
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        if batch and (batch[0].pixels.shape != picture.pixels.shape or len(batch) >= finder.batch_size(width, height)):
            yield batch
            batch = []
        batch.append(picture)
    if batch:
        yield batch


def _area(face: FaceDetection) -> int:
    return face.box.width * face.box.height


def _halved(face: FaceDetection) -> list[float]:
    box = face.box
    return [box.x1 / SCALE, box.y1 / SCALE, box.x2 / SCALE, box.y2 / SCALE]

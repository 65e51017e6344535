"""Step 2: padded faces of all videos → ``crops/<id>/<frame>_<actor>.png``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.contracts import AnalysisError, Box, ErrorCode
from ml.faces.geometry import crop_face
from ml.media.frames import FrameReader
from ml.training.dfdc.boxes import EVERY, SCALE, read_boxes
from ml.training.dfdc.layout import Layout, Video, read_collection
from ml.training.dfdc.steps import Skip, StepReport, Task, is_whole_png_folder, run_step

STEP = "extract_crops"


def extract_crops(layout: Layout, *, workers: int = 1, every: int = EVERY) -> StepReport:
    """Cut the faces out of every ``every``-th frame, a third of their size around them."""
    collection = read_collection(layout.data)
    ready, skipped = [], list(collection.skipped)
    for video in collection.videos.values():
        if layout.boxes(video.original).exists():
            ready.append(video)
        else:
            skipped.append(Skip(video.id, "no_boxes", video.original))
    task = Task(
        STEP,
        make=partial(_cut, layout, every=every),
        target=partial(_target, layout),
        is_whole=is_whole_png_folder,
        name=_name,
        reports=layout.reports,
    )
    return run_step(task, ready, settings={"every": every, "padding": "1/3"}, workers=workers, skipped=skipped)


def _target(layout: Layout, video: Video) -> Path:
    return layout.crops(video.id)


def _name(video: Video) -> str:
    return video.id


def _cut(layout: Layout, video: Video, folder: Path, *, every: int) -> list[Skip]:
    boxes = {index: found for index, found in read_boxes(layout.boxes(video.original)).items() if index % every == 0}
    wanted = {index for index, found in boxes.items() if found}
    folder.mkdir()
    skips = []
    reader = FrameReader(video.path, wanted)
    seen = set()
    for picture in reader:
        seen.add(picture.index)
        for actor, corners in enumerate(boxes[picture.index] or ()):
            # Truncated after doubling, as the reference does.
            crop = crop_face(picture.pixels, Box(*(int(corner * SCALE) for corner in corners)))
            if crop.size == 0:
                skips.append(Skip(f"{video.id}/{picture.index}_{actor}", "outside_the_frame"))
                continue
            write_png(folder / f"{picture.index}_{actor}.png", np.ascontiguousarray(crop[..., ::-1]))
    if wanted and reader.decoded == 0:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, "no frame decodes")
    skips += [Skip(f"{video.id}/{index}", "frame_missing") for index in sorted(wanted - seen)]
    if reader.damaged:
        skips.append(Skip(video.id, "damaged", f"{reader.damaged} packets do not decode, {reader.decoded} frames do"))
    if not wanted:
        skips.append(Skip(video.id, "no_face"))
    return skips


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """BGR (height, width, 3) or grey (height, width). Raises OSError: OpenCV itself only returns False."""
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"could not write {path}")


def read_png(path: Path, *, grey: bool = False) -> NDArray[np.uint8]:
    """BGR (height, width, 3) or grey (height, width). Raises OSError: OpenCV itself only returns None."""
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    if picture is None:
        raise OSError(f"not a readable picture: {path}")
    return np.asarray(picture, dtype=np.uint8)

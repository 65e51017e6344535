"""Step 4: where a fake differs from its original → ``diffs/<fake id>/<frame>_<actor>_diff.png``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.training.dfdc.crops import read_png, write_png
from ml.training.dfdc.layout import Layout, Video, crop_names, read_collection
from ml.training.dfdc.steps import Skip, StepReport, Task, is_whole_png_folder, run_step

STEP = "generate_diffs"
# The side of the window in which SSIM compares.
WINDOW = 7

Picture = NDArray[np.uint8]


def generate_diffs(layout: Layout, *, workers: int = 1) -> StepReport:
    """Compare the crops of each fake with those of its original."""
    collection = read_collection(layout.data)
    ready, skipped = [], list(collection.skipped)
    for video in collection.fake:
        missing = [part for part in (video.id, video.original) if not layout.crops(part).is_dir()]
        if missing:
            skipped.append(Skip(video.id, "no_crops", ", ".join(missing)))
        else:
            ready.append(video)
    task = Task(
        STEP,
        make=partial(_compare, layout),
        target=partial(_target, layout),
        is_whole=is_whole_png_folder,
        name=_name,
        reports=layout.reports,
    )
    return run_step(task, ready, settings={"window": WINDOW}, workers=workers, skipped=skipped)


def difference(one: Picture, other: Picture) -> Picture:
    """255·(1 − SSIM) of two BGR pictures (height, width, 3) as grey (height, width); 0 where they are alike.

    Where they are opposites SSIM is negative, and the value is held at 255. Raises ValueError if the sizes differ or
    are below the window of seven pixels.
    """
    # Only training needs scikit-image, which a site does not install.
    from skimage.metrics import structural_similarity

    _, similarity = structural_similarity(one, other, win_size=WINDOW, channel_axis=2, full=True)  # type: ignore[no-untyped-call]
    coloured = np.clip(255.0 * (1.0 - similarity), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def _target(layout: Layout, video: Video) -> Path:
    return layout.diffs(video.id)


def _name(video: Video) -> str:
    return video.id


def _compare(layout: Layout, video: Video, folder: Path) -> list[Skip]:
    folder.mkdir()
    skips = []
    originals = set(crop_names(layout.crops(video.original)))
    for name in crop_names(layout.crops(video.id)):
        item = f"{video.id}/{name}"
        if name not in originals:
            skips.append(Skip(item, "no_original_crop"))
            continue
        try:
            fake = read_png(layout.crops(video.id) / f"{name}.png")
            original = read_png(layout.crops(video.original) / f"{name}.png")
        except OSError as error:
            skips.append(Skip(item, "unreadable_crop", str(error)))
            continue
        if fake.shape != original.shape or min(fake.shape[:2]) < WINDOW:
            skips.append(Skip(item, "sizes_unfit", f"{fake.shape[:2]} and {original.shape[:2]}"))
            continue
        write_png(folder / f"{name}_diff.png", difference(fake, original))
    return skips

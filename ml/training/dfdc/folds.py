"""Step 5: which crops are trained on and which validate → ``folds.csv``."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ml.training.dfdc.layout import Collection, Layout, Video, crop_names, frame_and_actor, read_collection
from ml.training.dfdc.steps import Fate, Skip, StepReport, exclusive, write_atomically

STEP = "generate_folds"
SPLITS, PARTS, SEED = 16, 50, 777


@dataclass(frozen=True, slots=True)
class FoldRow:
    """One crop: ``crops/<video>/<file>``. ``label`` is 1 for fake; ``original`` is the real video's id."""

    video: str
    file: str
    label: int
    original: str
    frame: int
    fold: int


COLUMNS = tuple(column.name for column in fields(FoldRow))


def fold_of_part(part: int, *, splits: int = SPLITS, parts: int = PARTS) -> int:
    """Neighbouring parts share a fold, equally many in each, and the last fold takes what is left over.

    Raises ValueError for a part that is not in 0 … parts - 1.
    """
    if not 1 <= splits <= parts:
        raise ValueError(f"{parts} parts can't make {splits} folds")
    if not 0 <= part < parts:
        raise ValueError(f"part {part} is not in 0 to {parts - 1}")
    return min(part // (parts // splits), splits - 1)


def assign_folds(
    collection: Collection, *, splits: int = SPLITS, parts: int = PARTS
) -> tuple[dict[str, int], list[Skip]]:
    """The fold of each video id: that of its original's part, so that no fake is ever apart from its original."""
    folds: dict[str, int] = {}
    skipped: list[Skip] = []
    for video in collection.videos.values():
        part = collection.videos[video.original].part
        try:
            folds[video.id] = fold_of_part(part, splits=splits, parts=parts)
        except ValueError as error:
            skipped.append(Skip(video.id, "no_fold", str(error)))
    return folds, skipped


def generate_folds(
    layout: Layout, *, workers: int = 1, splits: int = SPLITS, parts: int = PARTS, seed: int = SEED
) -> StepReport:
    """List all crops with their fold, in an order shuffled by ``seed``. The same input gives the same file."""
    collection = read_collection(layout.data)
    folds, without = assign_folds(collection, splits=splits, parts=parts)
    report = StepReport(STEP, {"splits": splits, "parts": parts, "seed": seed})
    report.skipped = [*collection.skipped, *without]
    report.counts[Fate.FAILED] = len(report.skipped)
    videos = [collection.videos[video_id] for video_id in sorted(folds)]
    with exclusive(layout.reports / f".{STEP}.lock"):
        # Threads: the work is waiting for the file system.
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            listed = list(pool.map(lambda video: crop_names(layout.crops(video.id)), videos))
        rows: list[FoldRow] = []
        for video, names in zip(videos, listed, strict=True):
            rows += [_row(video, name, folds[video.id]) for name in names]
            if not names:
                report.skipped.append(Skip(video.id, "no_crops"))
        # Sampling does not matter for security, only that it can be repeated.
        random.Random(seed).shuffle(rows)
        text = _as_csv(rows)
        same = layout.folds.exists() and layout.folds.read_text(encoding="utf-8") == text
        if not same:
            write_atomically(layout.folds, text)
        report.counts[Fate.ALREADY if same else Fate.MADE] = len(rows)
        report.facts = _facts(collection, folds, rows)
        report.skipped.sort(key=lambda skip: (skip.item, skip.reason))
        report.write(layout.reports)
    return report


def read_folds(path: Path) -> list[FoldRow]:
    """Raises ValueError if the file has other columns, or an original and its fake are in two folds."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != COLUMNS:
            raise ValueError(f"{path} does not have the columns {','.join(COLUMNS)}")
        rows = [
            FoldRow(v, f, int(label), original, int(frame), int(fold)) for v, f, label, original, frame, fold in reader
        ]
    fold_of: dict[str, int] = {}
    for row in rows:
        if fold_of.setdefault(row.original, row.fold) != row.fold:
            raise ValueError(f"{path}: {row.original} and its fakes are in more than one fold")
    return rows


def _row(video: Video, name: str, fold: int) -> FoldRow:
    return FoldRow(video.id, f"{name}.png", int(video.is_fake), video.original, frame_and_actor(name)[0], fold)


def _as_csv(rows: Sequence[FoldRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def _facts(collection: Collection, folds: dict[str, int], rows: Sequence[FoldRow]) -> dict[str, object]:
    crops = Counter((row.fold, row.label) for row in rows)
    moved = [
        video.id
        for video in collection.fake
        if video.id in folds and video.part != collection.videos[video.original].part
    ]
    return {
        "crops": {
            str(fold): {"real": crops[fold, 0], "fake": crops[fold, 1]} for fold in sorted({r.fold for r in rows})
        },
        # Put into their original's fold, whatever their own part's is.
        "fakes_in_another_part_than_their_original": moved,
    }

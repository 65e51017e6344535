"""From ``folds.csv`` to batches. Seed, epoch and position decide a batch completely, whoever makes it."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ml.faces.geometry import fit_face
from ml.training.dfdc.augmentation import Augmenter, Crop
from ml.training.dfdc.config import DfdcConfig
from ml.training.dfdc.crops import read_png
from ml.training.dfdc.folds import FoldRow
from ml.training.dfdc.landmarks import load_landmarks
from ml.training.dfdc.layout import Layout, crop_names
from ml.training.dfdc.steps import Skip, start_process

# Validation needs no gradients, so more fits.
VALIDATION_FACTOR = 2


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """``faces`` (n, size, size, 3) uint8 RGB, ``labels`` (n,) float32 with 1 for fake, and the ``rows`` they are of.

    ``unreadable`` are crops that should be in it and could not be read.
    """

    faces: Tensor
    labels: Tensor
    rows: tuple[FoldRow, ...]
    unreadable: tuple[Skip, ...] = ()


def split_rows(rows: Sequence[FoldRow], config: DfdcConfig) -> tuple[list[FoldRow], list[FoldRow]]:
    """Rows to train on and to validate with, the latter of every ``validation_every``-th frame, both in fixed order.

    Raises ValueError where one of them lacks real or fake crops.
    """
    ordered = sorted(rows, key=lambda row: (row.video, row.frame, row.file))
    training = [row for row in ordered if row.fold != config.fold]
    validation = [row for row in ordered if row.fold == config.fold and row.frame % config.validation_every == 0]
    for name, part in (("training", training), ("validation", validation)):
        if {row.label for row in part} != {0, 1}:
            raise ValueError(f"fold {config.fold} leaves no real or no fake crops for {name}")
    return training, validation


def existing_rows(rows: Sequence[FoldRow], layout: Layout) -> tuple[list[FoldRow], list[Skip]]:
    """Rows whose crop is there, and what is missing."""
    files = {video: {f"{name}.png" for name in crop_names(layout.crops(video))} for video in {r.video for r in rows}}
    there = [row for row in rows if row.file in files[row.video]]
    missing = [Skip(f"{row.video}/{row.file}", "file_missing") for row in rows if row.file not in files[row.video]]
    return there, missing


def draw_epoch(rows: Sequence[FoldRow], *, seed: int, epoch: int) -> list[FoldRow]:
    """All real crops and as many fakes, shuffled. Fakes are drawn anew in each epoch, none twice before all were."""
    rng = np.random.default_rng([seed, 1, epoch])
    real = [row for row in rows if row.label == 0]
    fakes = [row for row in rows if row.label == 1]
    drawn: list[FoldRow] = []
    while len(drawn) < len(real):
        drawn += [fakes[int(index)] for index in rng.permutation(len(fakes))[: len(real) - len(drawn)]]
    both = real + drawn
    return [both[int(index)] for index in rng.permutation(len(both))]


def steps_per_epoch(rows: Sequence[FoldRow], config: DfdcConfig, world: int) -> int:
    """Whole batches of all processes that an epoch's crops make, ``batches_per_epoch`` at most."""
    available = 2 * sum(row.label == 0 for row in rows)
    steps = min(config.batches_per_epoch, available // (config.batch_size * world))
    if steps < 1:
        raise ValueError(f"{available} crops make no batch of {config.batch_size} for each of {world} processes")
    return steps


class EpochDataset(Dataset[Batch]):
    """Item i is this process's whole batch of step ``first + i`` of the epoch."""

    def __init__(
        self,
        rows: Sequence[FoldRow],
        layout: Layout,
        config: DfdcConfig,
        *,
        seed: int,
        epoch: int,
        first: int,
        steps: int,
        rank: int,
        world: int,
    ) -> None:
        # Only what this process needs of a list that may have a million rows, since it travels to other processes.
        drawn = draw_epoch(rows, seed=seed, epoch=epoch)
        size = config.batch_size
        starts = [(step * world + rank) * size for step in range(first, steps)]
        self.batches = [(start, drawn[start : start + size]) for start in starts]
        self.layout = layout
        self.config = config
        self.seed, self.epoch = seed, epoch
        self._augment = Augmenter(config.augmentation, config.input_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        start, rows = self.batches[index]
        faces, used, unreadable = [], [], []
        for position, row in enumerate(rows, start):
            rng = np.random.default_rng([self.seed, 2, self.epoch, position])
            try:
                crop = read_crop(row, self.layout)
            except (OSError, ValueError, EOFError) as error:
                unreadable.append(Skip(f"{row.video}/{row.file}", "unreadable", str(error)))
                continue
            faces.append(self._augment(crop, is_fake=row.label == 1, rng=rng))
            used.append(row)
        return _to_batch(faces, used, unreadable, self.config.input_size)


class ValidationDataset(Dataset[Batch]):
    """The rows in order, prepared as at inference. Item i is the i-th batch."""

    def __init__(self, rows: Sequence[FoldRow], layout: Layout, config: DfdcConfig) -> None:
        self.rows, self.layout, self.config = rows, layout, config
        self._size = config.batch_size * VALIDATION_FACTOR

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self._size)

    def __getitem__(self, index: int) -> Batch:
        faces, used, unreadable = [], [], []
        for row in self.rows[index * self._size : (index + 1) * self._size]:
            try:
                pixels = _read_rgb(row, self.layout)
            except OSError as error:
                unreadable.append(Skip(f"{row.video}/{row.file}", "unreadable", str(error)))
                continue
            faces.append(fit_face(pixels, self.config.input_size))
            used.append(row)
        return _to_batch(faces, used, unreadable, self.config.input_size)


def load(dataset: Dataset[Batch], workers: int) -> Iterator[Batch]:
    """The dataset's batches in order, made ahead by ``workers`` processes (0: by this one)."""
    if not workers:
        yield from DataLoader(dataset, batch_size=None, shuffle=False)
        return
    # A process forked from this one would wait for ever for OpenCV's threads, which stay behind. The server that forks
    # instead has loaded what is needed and has no threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    yield from DataLoader(
        dataset,
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context=context,
        worker_init_fn=_start_worker,
    )


def _start_worker(_number: int) -> None:
    start_process()


def read_crop(row: FoldRow, layout: Layout) -> Crop:
    """A crop with its difference mask and its original's landmarks, as far as there are any.

    Raises OSError, ValueError or EOFError if one of the files is broken.
    """
    pixels = _read_rgb(row, layout)
    name = row.file.removesuffix(".png")
    changed = np.zeros(pixels.shape[:2], dtype=np.uint8)
    mask = layout.diffs(row.video) / f"{name}_diff.png"
    if row.label == 1 and mask.exists():
        changed = read_png(mask, grey=True)
        if changed.shape != pixels.shape[:2]:
            raise ValueError(f"{mask} is {changed.shape}, its crop {pixels.shape[:2]}")
    landmarks = load_landmarks(layout.landmarks(row.original) / f"{name}.npy")
    return Crop(pixels, changed, None if landmarks is None else landmarks.astype(np.float32))


def _read_rgb(row: FoldRow, layout: Layout) -> NDArray[np.uint8]:
    return np.ascontiguousarray(read_png(layout.crops(row.video) / row.file)[..., ::-1])


def _to_batch(
    faces: Sequence[NDArray[np.uint8]], rows: Sequence[FoldRow], unreadable: Sequence[Skip], size: int
) -> Batch:
    stacked = np.stack(faces) if faces else np.zeros((0, size, size, 3), dtype=np.uint8)
    labels = torch.tensor([float(row.label) for row in rows], dtype=torch.float32)
    return Batch(torch.from_numpy(stacked), labels, tuple(rows), tuple(unreadable))

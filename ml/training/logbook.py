"""The figures of a run: JSON lines for programs, TensorBoard events for people."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


class Logbook:
    """Writes ``metrics.jsonl`` and, beside it, events for TensorBoard. An inactive one writes nothing.

    Lines from beyond ``first_step`` were written by a run that was killed before its next checkpoint. They are
    removed, as what they tell will happen again.
    """

    def __init__(self, folder: Path, *, first_step: int, active: bool = True) -> None:
        self.path = folder / METRICS_FILE
        self.active = active
        self._first_step = first_step
        self._file: Any = None
        self._events: Any = None

    def __enter__(self) -> Self:
        if self.active:
            # Only training needs TensorBoard, which a site does not install.
            from torch.utils.tensorboard import SummaryWriter

            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._cut()
            self._file = self.path.open("a", encoding="utf-8")
            folder = self.path.parent / TENSORBOARD_FOLDER
            self._events = SummaryWriter(str(folder), purge_step=self._first_step + 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            self._file.close()
            self._events.close()

    def write(self, kind: str, step: int, *, epoch: int, **figures: float) -> None:
        """A line of figures after ``step`` steps; what is not a number becomes null, as JSON wants it."""
        if not self.active:
            return
        numbers = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self._file.write(json.dumps({"kind": kind, "step": step, "epoch": epoch, **numbers}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._events.add_scalar(f"{kind}/{name}", value, step)

    def flush(self) -> None:
        """Bring everything written to the disk."""
        if self.active:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._events.flush()

    def has_epoch(self, epoch: int) -> bool:
        """Whether the figures of an epoch have been written."""
        return any(line["kind"] == "epoch" and line["epoch"] == epoch for line in read_metrics(self.path))

    def _cut(self) -> None:
        kept = [line for line in read_metrics(self.path) if line["step"] <= self._first_step]
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last one that a killed run left unfinished is not among them."""
    return list(_whole_lines(path))


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    for line in text[: text.rfind("\n") + 1].splitlines():
        yield json.loads(line)

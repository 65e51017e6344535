"""Runs one step of the pipeline over many items: in parallel, resumable, with a report of what was skipped and why.

An item's output is a file or a folder that appears whole or not at all: it is made under another name and renamed. So
what exists is done, and a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import json
import logging
import multiprocessing
import multiprocessing.process
import os
import shutil
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import torch
from tqdm import tqdm

from ml.contracts import AnalysisError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

PNG_END = b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class Skip:
    """Something left out: a video, a frame (``<id>/<frame>``) or a crop (``<id>/<frame>_<actor>``)."""

    item: str
    reason: str
    detail: str = ""


class Fate(StrEnum):
    """MADE now, ALREADY there, or FAILED: there is no output."""

    MADE = "made"
    ALREADY = "already_made"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Task(Generic[Item]):
    """What a step does. All functions go to other processes, so they are module-level ones or partials of those.

    ``make(item, path)`` writes the item's output to ``path``, a temporary name, and returns what it left out; it
    raises if there is no output to be had. ``target(item)`` is where the output belongs, ``is_whole(path)`` tells
    whether what lies there is complete. ``name(item)`` is the item's in reports, a plain file name.
    """

    step: str
    make: Callable[[Item, Path], Sequence[Skip]]
    target: Callable[[Item], Path]
    is_whole: Callable[[Path], bool]
    name: Callable[[Item], str]
    reports: Path


@dataclass(slots=True)
class StepReport:
    """What a step did. ``counts`` by fate; ``facts`` are whatever else the step has to say."""

    step: str
    settings: Mapping[str, Any]
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[Skip] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def some_failed(self) -> bool:
        return self.counts[Fate.FAILED] > 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "settings": dict(self.settings),
            "counts": {fate: self.counts[fate] for fate in Fate},
            "facts": self.facts,
            "reasons": dict(sorted(Counter(skip.reason for skip in self.skipped).items())),
            "skipped": [asdict(skip) for skip in self.skipped],
        }

    def as_text(self) -> str:
        counts = ", ".join(f"{self.counts[fate]} {fate.replace('_', ' ')}" for fate in Fate)
        reasons = Counter(skip.reason for skip in self.skipped)
        lines = [f"{self.step}: {counts}"]
        lines += [f"  skipped, {reason}: {count}" for reason, count in sorted(reasons.items())]
        return "\n".join(lines) + "\n"

    def write(self, reports: Path) -> None:
        write_atomically(reports / f"{self.step}.json", json.dumps(self.to_dict(), indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class _Outcome:
    name: str
    fate: Fate
    skips: tuple[Skip, ...] = ()


def run_step(
    task: Task[Item],
    items: Sequence[Item],
    *,
    settings: Mapping[str, Any],
    workers: int,
    skipped: Sequence[Skip] = (),
    facts: Mapping[str, Any] | None = None,
) -> StepReport:
    """Make what is not made yet, with ``workers`` processes (0 or 1: in this one), and write ``<step>.json``.

    ``skipped`` are items that did not even get here; they count as failed. Raises ValueError if earlier output was
    made with other ``settings``, and RuntimeError while another run of the step works in the same folder.
    """
    report = StepReport(task.step, settings, skipped=list(skipped), facts=dict(facts or {}))
    report.counts[Fate.FAILED] += len(skipped)
    with exclusive(task.reports / f".{task.step}.lock"):
        _check_settings(task.reports / f".{task.step}.settings.json", settings)
        attempt = partial(_attempt, task)
        # disable=None: no bar where nobody looks.
        with tqdm(total=len(items), desc=task.step, unit="item", file=sys.stderr, disable=None) as bar:
            for outcome in _outcomes(attempt, items, workers, task.name):
                report.counts[outcome.fate] += 1
                report.skipped.extend(outcome.skips)
                bar.update()
        report.skipped.sort(key=lambda skip: (skip.item, skip.reason))
        report.write(task.reports)
    return report


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock that the kernel takes back however the process ends. Raises RuntimeError if another holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"another run is at work in {lock.parent}") from error
        yield


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    text = json.dumps(settings, indent=1, sort_keys=True, default=str) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"earlier output was made with other settings, {path}: use those, or remove that file and the output"
        )
    write_atomically(path, text)


def _attempt(task: Task[Item], item: Item) -> _Outcome:
    """Make one item's output unless it is there. Whatever goes wrong with it is its own fate and nobody else's."""
    name = task.name(item)
    target = task.target(item)
    note = task.reports / task.step / f"{name}.json"
    if target.exists():
        if task.is_whole(target):
            return _Outcome(name, Fate.ALREADY, _read_note(note))
        remove(target)
    temporary = target.with_name(f".{target.name}.part")
    try:
        remove(temporary)
        remove(note)
        target.parent.mkdir(parents=True, exist_ok=True)
        skips = tuple(task.make(item, temporary))
        # The note first: once the output has its name, nobody would come back to write it.
        if skips:
            write_atomically(note, json.dumps([asdict(skip) for skip in skips]))
        temporary.replace(target)
    except AnalysisError as error:
        remove(temporary)
        return _Outcome(name, Fate.FAILED, (Skip(name, str(error.code), error.detail),))
    except Exception as error:
        # One file that breaks a library must not cost the others their crops.
        logger.exception("%s of %s failed", task.step, name)
        remove(temporary)
        return _Outcome(name, Fate.FAILED, (Skip(name, "internal_error", repr(error)),))
    return _Outcome(name, Fate.MADE, skips)


def _read_note(path: Path) -> tuple[Skip, ...]:
    if not path.exists():
        return ()
    return tuple(Skip(**skip) for skip in json.loads(path.read_text(encoding="utf-8")))


def _outcomes(
    attempt: Callable[[Item], _Outcome], items: Sequence[Item], workers: int, name: Callable[[Item], str]
) -> Iterator[_Outcome]:
    if workers <= 1:
        yield from map(attempt, items)
        return
    suspects: list[Item] = []
    yield from _in_processes(attempt, items, workers, suspects)
    # One of these took a process down with it. Alone, each can only take itself down.
    for item in suspects:
        died: list[Item] = []
        yield from _in_processes(attempt, [item], 1, died)
        if died:
            yield _Outcome(name(item), Fate.FAILED, (Skip(name(item), "process_died"),))


def _in_processes(
    attempt: Callable[[Item], _Outcome], items: Sequence[Item], workers: int, suspects: list[Item]
) -> Iterator[_Outcome]:
    """Outcomes as they come. Items that were under way when a process died are added to ``suspects``."""
    waiting = deque(items)
    # Forking a process with torch's threads in it can hang.
    context = multiprocessing.get_context("spawn")
    while waiting:
        running: dict[Future[_Outcome], Item] = {}
        with ProcessPoolExecutor(workers, mp_context=context, initializer=start_process) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < 2 * workers:
                        running[pool.submit(attempt, waiting[0])] = waiting[0]
                        waiting.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        outcome = future.result()
                        del running[future]
                        yield outcome
            except BrokenProcessPool:
                suspects.extend(running.values())


def start_process() -> None:
    """What a process that shares the work begins with: one core, since there are as many processes as cores."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    # Left alone when its parent is killed, it would wait for ever, or finish its item in the way of the run after.
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def remove(path: Path) -> None:
    """Remove a file or a folder; nothing if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_whole_png(path: Path) -> bool:
    """Whether a PNG has its end: a power failure may leave files without it, or empty ones."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(PNG_END), 0))
        return file.read() == PNG_END


def is_whole_png_folder(folder: Path) -> bool:
    return folder.is_dir() and all(is_whole_png(path) for path in folder.glob("*.png"))


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))

"""Scores of a folder of videos as ``filename,label`` CSV, label being the probability of a fake.

A video that can't be judged has an empty label: the reference's 0.5 would pass a failure off as a score. Each video's
result is kept beside the CSV as soon as it is there, so that a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from ml.contracts import AnalysisError, ErrorCode, MediaKind
from ml.detectors.catalog import fetched_weights
from ml.detectors.integrity import sha256_of
from ml.detectors.registry import Detector, load_detector
from ml.faces.detection import FaceDetector, ScaleRule
from ml.inference import analyze
from ml.media.frames import SAMPLED_FRAMES
from ml.media.probe import probe
from ml.training.dfdc.steps import Skip, StepReport, Task, run_step, write_atomically

COLUMNS = ("filename", "label")
# Of the winning solution.
ENSEMBLE = 7


@dataclass(frozen=True, slots=True)
class Judge:
    """Which detector looks how at the videos. ``parity`` repeats the reference: faces at half size, people pooled."""

    detector: str
    weights: tuple[Path, ...] = ()
    search: tuple[Path, ...] = ()
    frames: int = SAMPLED_FRAMES
    parity: bool = False
    device: str | None = None


def predict_folder(
    folder: Path, out: Path, judge: Judge, *, workers: int = 1, step: str = "predict_folder"
) -> StepReport:
    """Judge every video directly in ``folder`` and write the CSV, a line a file, by name.

    Results and report lie in ``<out>.results/``. Raises AnalysisError(MODEL_UNAVAILABLE) if the detector can't be
    used, FileNotFoundError if the folder holds no files.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"no videos in {folder}")
    results = out.with_name(f"{out.name}.results")
    detector = _detector(judge)
    task = Task(
        step,
        make=partial(_judge, judge),
        target=partial(_target, results),
        is_whole=partial(_is_whole, folder),
        name=_name,
        reports=results / "reports",
    )
    settings = {
        "detector": f"{detector.spec.name} {detector.spec.version}",
        "weights_sha256": detector.weights_sha256,
        "frames": judge.frames,
        "parity": judge.parity,
    }
    report = run_step(task, paths, settings=settings, workers=workers)
    write_atomically(out, _as_csv([(path.name, _label(results, path)) for path in paths]))
    return report


def predict_submission(folder: Path, out: Path, judge: Judge, *, workers: int = 1) -> StepReport:
    """Judge the folder as the winning solution did: seven networks, each one's strategy, the mean, in parity.

    Raises AnalysisError(MODEL_UNAVAILABLE) unless there are seven networks: fetched ones, or named in ``judge``.
    """
    found = judge.weights or tuple(fetched_weights(judge.detector))
    if len(found) != ENSEMBLE:
        raise AnalysisError(
            ErrorCode.MODEL_UNAVAILABLE, f"the ensemble has {ENSEMBLE} networks, and there are {len(found)} checkpoints"
        )
    whole = Judge(judge.detector, found, judge.search, judge.frames, parity=True, device=judge.device)
    return predict_folder(folder, out, whole, workers=workers, step="predict_submission")


@cache
def _detector(judge: Judge) -> Detector:
    """One for each process."""
    return load_detector(judge.detector, weights=judge.weights, search=judge.search, device=judge.device)


@cache
def _finder(parity: bool, device: str) -> FaceDetector:
    return FaceDetector(scale_rule=ScaleRule.HALF if parity else ScaleRule.WIDTH, device=device)


def _judge(judge: Judge, path: Path, target: Path) -> list[Skip]:
    info = probe(path)
    if info.kind is not MediaKind.VIDEO:
        raise AnalysisError(ErrorCode.NO_VIDEO_STREAM, "a photo")
    detector = _detector(judge)
    finder = _finder(judge.parity, str(detector.device))
    result = analyze(path, detector, info=info, face_detector=finder, frames=judge.frames, parity=judge.parity)
    content = {
        "filename": path.name,
        "sha256": sha256_of(path),
        "label": result.fake_probability,
        "outcome": result.outcome,
        "reason": result.reason,
    }
    target.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return [] if result.fake_probability is not None else [Skip(path.name, str(result.reason))]


def _target(results: Path, path: Path) -> Path:
    return results / f"{path.name}.json"


def _name(path: Path) -> str:
    return path.name


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _is_whole(folder: Path, path: Path) -> bool:
    """Whether it is the result of the video that is there now, and not of another of its name."""
    try:
        content = _read(path)
        return "label" in content and content.get("sha256") == sha256_of(folder / path.name.removesuffix(".json"))
    except (ValueError, AnalysisError):
        return False


def _label(results: Path, path: Path) -> float | None:
    target = _target(results, path)
    return _read(target)["label"] if target.exists() else None


def _as_csv(rows: Sequence[tuple[str, float | None]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((name, "" if label is None else f"{label:.6f}") for name, label in rows)
    return text.getvalue()

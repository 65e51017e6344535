"""Running a detector over labelled files: several processes, and nothing examined twice.

What an analysis gave is kept in a folder, one file each, named by a digest of everything that decides it: the bytes
of the medium, those of the weights, the detector's settings, the code of the pipeline, the libraries, and how the
medium was made worse. Thresholds are not among them, since the verdict is drawn anew from the kept scores: other
statistics cost nothing, and other thresholds only the files that get a verdict for the first time. Several processes
may share a folder; entries appear whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch

import ml
from ml.contracts import (
    AnalysisError,
    Compression,
    Copy,
    CopyScore,
    ErrorCode,
    MediaInfo,
    MediaKind,
    Outcome,
    Reason,
    Stability,
)
from ml.detectors.integrity import sha256_of
from ml.detectors.registry import Detector, load_detector
from ml.detectors.runner import chosen_precision
from ml.detectors.spec import Thresholds
from ml.engines import chosen_engine
from ml.error_rates import MediaFacts, compression_of, face_size_of
from ml.faces.detection import FaceDetector
from ml.inference import analyze, library_versions
from ml.media.frames import SAMPLED_FRAMES
from ml.training.robustness import Recoding, changes, recode
from ml.verdict import conclude, weigh_copies

logger = logging.getLogger(__name__)

LABELS = ("real", "fake")
ALL = "all"
# Fields of a detector's description that do not touch its scores.
DESCRIPTIVE = frozenset({"name", "version", "title", "thresholds", "licence", "weights_file", "weights_sha256", "card"})
# Faults of this machine and not of the file, which another run may not have.
NOT_THE_FILES = frozenset({ErrorCode.MODEL_UNAVAILABLE, ErrorCode.INTERNAL_ERROR})
# Under ml/, what no score depends on.
NOT_PIPELINE = ("training", "batch.py", "infer.py", "error_rates.py", "evidence.py")


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file under the evaluated folder. ``method`` is empty where the path names none."""

    path: Path
    label: str
    group: str
    method: str


@dataclass(frozen=True, slots=True)
class FileScore:
    """What the detector said of a file.

    ``outcome`` is an Outcome's value, or ``error:<code>`` for a file that could not be examined. The probabilities
    are None where nothing was judged. ``faces`` are the fake probabilities of all judged faces of all people,
    ``face_size`` the median wider side, in pixels, of the deciding person's.
    """

    path: str
    label: str
    group: str
    method: str
    sha256: str
    outcome: str
    reason: str | None = None
    fake_probability: float | None = None
    pooled_probability: float | None = None
    faces: tuple[float, ...] = ()
    face_size: float | None = None
    kind: str | None = None
    compression: str | None = None

    @property
    def is_judged(self) -> bool:
        """Whether somebody in the file was given a score."""
        return self.fake_probability is not None

    @property
    def is_error(self) -> bool:
        return self.outcome.startswith("error:")

    @property
    def facts(self) -> MediaFacts | None:
        """None for a file that could not be examined."""
        if self.kind is None:
            return None
        return MediaFacts(
            MediaKind(self.kind),
            None if self.compression is None else Compression(self.compression),
            None if self.face_size is None else face_size_of(self.face_size),
        )


def find_labelled(root: Path) -> list[LabelledFile]:
    """All files with ``real`` or ``fake`` among their folders, sorted. Raises FileNotFoundError if there is none.

    What stands before that folder names the group (codec, data set), what stands between it and the file the method.
    """
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        label_at = next((i for i, part in enumerate(parts[:-1]) if part in LABELS), None)
        if label_at is None or not path.is_file() or path.name.startswith("."):
            continue
        found.append(
            LabelledFile(path, parts[label_at], "/".join(parts[:label_at]) or ALL, "/".join(parts[label_at + 1 : -1]))
        )
    if not found:
        raise FileNotFoundError(f"nothing labelled under {root}: expected <group>/real/… and <group>/fake/<method>/…")
    return found


class ScoreCache:
    """A folder of what analyses gave: ``get`` and ``put`` of plain JSON objects by digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def put(self, key: str, value: dict[str, Any]) -> None:
        target = self._path(key)
        target.parent.mkdir(exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        partial.write_text(json.dumps(value), encoding="utf-8")
        partial.replace(target)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


@cache
def pipeline_digest() -> str:
    """SHA-256 over the code that scores go through."""
    digest = hashlib.sha256()
    root = Path(ml.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in NOT_PIPELINE:
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class Scorer:
    """A detector with everything that its scores depend on, and the folder of what it said before, if any."""

    def __init__(self, detector: Detector, cache_folder: Path | None = None) -> None:
        self.spec = detector.spec
        self.weights_sha256 = detector.weights_sha256
        self._detector = detector
        self._finder = FaceDetector(device=detector.device)
        self._cache = None if cache_folder is None else ScoreCache(cache_folder)
        self._settings = scoring_settings(detector)

    def score(self, file: LabelledFile, root: Path, recoding: Recoding | None = None) -> FileScore | None:
        """What the detector says of a file, or of its worse copy; None if `recoding` would not change the file.

        A file that can't be examined gets its error code and no score.
        """
        digest = sha256_of(file.path)
        found = self._remembered(digest, None, lambda: self._examine(file.path))
        if recoding is not None:
            result = found.get("result")
            if result is None:
                return None
            info, size = _info_of(result), deciding_face_size(result)
            if not changes(recoding, info.kind, size):
                return None
            found = self._remembered(digest, recoding, lambda: self._examine_worse(file.path, recoding, info, size))
        return as_score(found, file, root, digest, self.spec.thresholds)

    def _remembered(
        self, digest: str, recoding: Recoding | None, examine: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        if self._cache is None:
            return examine()
        described = {"media": digest, "recoding": recoding and recoding.name, **self._settings}
        if recoding is not None:
            described["recoder"] = _source_digest(Path(__file__).with_name("robustness.py"))
        key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        found = self._cache.get(key)
        if found is None or ("result" in found and verdict_at(found["result"], self.spec.thresholds) is None):
            found = examine()
            if found.get("error") not in NOT_THE_FILES:
                self._cache.put(key, found)
        return found

    def _examine(self, path: Path) -> dict[str, Any]:
        """``{"result": AnalysisResult.to_dict()}`` or ``{"error": code}``."""
        try:
            result = analyze(path, self._detector, face_detector=self._finder)
        except AnalysisError as error:
            logger.warning("%s: %s", path.name, error)
            return {"error": str(error.code)}
        return {"result": result.to_dict()}

    def _examine_worse(self, path: Path, recoding: Recoding, info: MediaInfo, size: float | None) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="sentinel-evaluate-") as folder:
            try:
                copy = recode(path, Path(folder), recoding, info, size)
            except AnalysisError as error:
                logger.warning("%s, %s: %s", path.name, recoding.name, error)
                return {"error": str(error.code)}
            return self._examine(copy)


def scoring_settings(detector: Detector) -> dict[str, Any]:
    """Everything besides the medium that decides its scores, as plain JSON values."""
    spec = {name: value for name, value in asdict(detector.spec).items() if name not in DESCRIPTIVE}
    return {
        "detector": spec,
        "weights_sha256": list(detector.weights_sha256),
        "frames": SAMPLED_FRAMES,
        "device": detector.device.type,
        "engine": chosen_engine().value,
        "precision": chosen_precision().value,
        "pipeline": pipeline_digest(),
        "versions": library_versions(),
    }


@cache
def _source_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verdict_at(result: dict[str, Any], thresholds: Thresholds) -> tuple[Outcome, Reason | None] | None:
    """The verdict that the pipeline draws at other thresholds from the scores of a result as stored.

    None where it would first judge worse copies of some faces, which it had no cause for at the thresholds of then.
    """
    probability = result["fake_probability"]
    if probability is None or result["settings"]["thresholds"] == asdict(thresholds):
        reason = result["reason"]
        return Outcome(result["outcome"]), None if reason is None else Reason(reason)
    halves = result["settings"]["interleaved_halves"]
    verdict = conclude(probability, None if halves is None else (halves[0], halves[1]), thresholds)
    if verdict.outcome is not Outcome.INCONCLUSIVE:
        kept = result["stability"]
        if kept is None:
            return None
        copies = tuple(CopyScore(Copy(copy["copy"]), copy["fake_probability"]) for copy in kept["copies"])
        verdict = weigh_copies(verdict, Stability(**{**kept, "copies": copies}), thresholds)
    return verdict.outcome, verdict.reason


def deciding_face_size(result: dict[str, Any]) -> float | None:
    """Median wider side, in pixels, of the faces of the person with the highest fake probability."""
    worst = max(result["tracks"], key=lambda track: track["fake_probability"], default=None)
    if worst is None:
        return None
    return float(median(max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (face["box"] for face in worst["faces"])))


def _info_of(result: dict[str, Any]) -> MediaInfo:
    return MediaInfo(**{**result["media"], "kind": MediaKind(result["media"]["kind"])})


def as_score(found: dict[str, Any], file: LabelledFile, root: Path, digest: str, thresholds: Thresholds) -> FileScore:
    """The verdict at `thresholds` and the facts about a file from what its examination gave."""
    name = file.path.relative_to(root).as_posix()
    named: dict[str, Any] = {
        "path": name,
        "label": file.label,
        "group": file.group,
        "method": file.method,
        "sha256": digest,
    }
    if "error" in found:
        return FileScore(**named, outcome=f"error:{found['error']}")
    result = found["result"]
    verdict = verdict_at(result, thresholds)
    if verdict is None:
        raise ValueError(f"{name} has to be examined again at these thresholds")
    outcome, reason = verdict
    info = _info_of(result)
    return FileScore(
        **named,
        outcome=outcome.value,
        reason=None if reason is None else reason.value,
        fake_probability=result["fake_probability"],
        pooled_probability=result["pooled_probability"],
        faces=tuple(face["fake_probability"] for track in result["tracks"] for face in track["faces"]),
        face_size=deciding_face_size(result),
        kind=info.kind.value,
        compression=compression_of(info),
    )


@dataclass(frozen=True, slots=True)
class Task:
    """One file to score, worse or as it is."""

    file: LabelledFile
    recoding: Recoding | None = None


@dataclass(frozen=True, slots=True)
class ScorerRecipe:
    """What a process needs to make its own scorer."""

    detector: str
    search: tuple[Path, ...]
    device: str | None
    cache_folder: Path | None

    def make(self) -> Scorer:
        """Raises AnalysisError(MODEL_UNAVAILABLE) if there is no such detector."""
        return Scorer(load_detector(self.detector, search=self.search, device=self.device), self.cache_folder)


# The scorer of a worker process, which serves one evaluation.
_scorers: list[Scorer] = []


def _start_worker(recipe: ScorerRecipe) -> None:
    # The processes share the cores already.
    torch.set_num_threads(1)
    _scorers.append(recipe.make())


def _score_in_worker(task: Task, root: Path) -> FileScore | None:
    return _scorers[-1].score(task.file, root, task.recoding)


def score_all(
    tasks: Sequence[Task], root: Path, recipe: ScorerRecipe, *, workers: int = 1
) -> Iterator[tuple[Task, FileScore | None]]:
    """The tasks in their order, each with its score as soon as it is there; see :meth:`Scorer.score` for None."""
    if workers <= 1:
        scorer = recipe.make()
        for task in tasks:
            yield task, scorer.score(task.file, root, task.recoding)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(recipe,)
    ) as pool:
        yield from zip(tasks, pool.map(_score_in_worker, tasks, [root] * len(tasks)), strict=True)


def media_digest(scores: Iterable[FileScore]) -> str:
    """SHA-256 that names a set of labelled files, whatever they are called and wherever they lie."""
    lines = sorted(f"{score.sha256} {score.label}" for score in scores)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

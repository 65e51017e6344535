"""Examining a file again as it was examined before, and comparing every score.

The detector must be the very same: its weights are compared by SHA-256. The number of threads, the engine and the
machine may be others; what they move is far below :data:`TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ml import __version__
from ml.contracts import AnalysisError, AnalysisResult, Box, ErrorCode, ProgressCallback
from ml.detectors.registry import Detector, load_detector
from ml.faces.detection import FaceDetector, ScaleRule
from ml.inference import analyze, library_versions
from ml.media.frames import SAMPLED_FRAMES

# Largest difference in a fake probability that counts as the same.
TOLERANCE = 1e-3
# Intersection over union of a face's boxes then and now.
SAME_PLACE = 0.9
# Settings that decide what is judged and how; the others say by what means.
DECIDING = (
    *("parity", "face_scale_rule", "face_thresholds", "smallest_face", "input_size", "padding_divisor"),
    *("architecture", "networks", "mirrored", "aggregation", "verdict_from", "stability", "thresholds", "precision"),
)


class Refusal(StrEnum):
    """Why an examination cannot be repeated on this machine."""

    NOT_RECORDED = "not_recorded"
    DETECTOR_MISSING = "detector_missing"
    OTHER_VERSION = "other_version"
    OTHER_WEIGHTS = "other_weights"
    OTHER_SETTINGS = "other_settings"
    UNREADABLE_MEDIA = "unreadable_media"


class NotReproducible(Exception):
    """``refusal`` is for programs, ``detail`` tells people more; it may name paths."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal = refusal
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Difference:
    """A score then and now; None where there was, or is, none. ``what`` names it: a face, a person, the file."""

    what: str
    then: float | None
    now: float | None

    @property
    def size(self) -> float:
        """1 where either is missing: as far as scores can be apart."""
        if self.then is None and self.now is None:
            return 0.0
        return 1.0 if self.then is None or self.now is None else abs(self.then - self.now)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``differences`` of all scores, the largest first; ``faces`` counts those of single faces.

    ``other_software`` are the name, then and now, of each library that has another version here.
    """

    verdict_then: tuple[str, str]
    verdict_now: tuple[str, str]
    faces: int
    differences: tuple[Difference, ...]
    other_software: tuple[tuple[str, str, str], ...]

    @property
    def largest(self) -> float:
        return self.differences[0].size if self.differences else 0.0

    @property
    def same(self) -> bool:
        return self.verdict_then == self.verdict_now and self.largest <= TOLERANCE


def reproduce(
    path: Path,
    recorded: Mapping[str, Any],
    *,
    software_version: str = "",
    weights: Sequence[Path] = (),
    on_progress: ProgressCallback | None = None,
) -> Comparison:
    """Examine the file at `path` as the result `recorded` (:meth:`AnalysisResult.to_dict`) says that it was.

    `weights` are checkpoints of the recorded detector that lie elsewhere than it expects. Raises
    :class:`NotReproducible`.
    """
    settings: Mapping[str, Any] = recorded.get("settings") or {}
    missing = [name for name in DECIDING if name not in settings]
    if missing:
        raise NotReproducible(Refusal.NOT_RECORDED, f"the result does not say {', '.join(missing)}")
    detector = _same_detector(recorded, weights)
    rule = ScaleRule(settings["face_scale_rule"])
    finder = FaceDetector(scale_rule=rule, device=detector.device)
    # Now and not while faces are searched: torch can't trace two networks at once, and would then do all the work.
    precision = detector.runner.precision
    if precision != settings["precision"]:
        raise NotReproducible(
            Refusal.OTHER_SETTINGS, f"precision was {settings['precision']!r}, here it is {precision!r}"
        )
    try:
        result = analyze(
            path,
            detector,
            face_detector=finder,
            on_progress=on_progress,
            frames=int(settings.get("frames_requested", SAMPLED_FRAMES)),
            parity=bool(settings["parity"]),
            stability=bool(settings["stability"]),
        )
    except AnalysisError as error:
        if error.code is ErrorCode.MODEL_UNAVAILABLE:
            raise NotReproducible(Refusal.DETECTOR_MISSING, error.detail) from error
        raise NotReproducible(Refusal.UNREADABLE_MEDIA, str(error)) from error
    return compare(recorded, result, software_version=software_version)


def compare(recorded: Mapping[str, Any], result: AnalysisResult, *, software_version: str = "") -> Comparison:
    """A result that was recorded beside one just found. Raises :class:`NotReproducible` for other settings."""
    now = result.to_dict()
    for name in DECIDING:
        before, here = recorded["settings"][name], now["settings"][name]
        if before != here:
            raise NotReproducible(Refusal.OTHER_SETTINGS, f"{name} was {before!r}, here it is {here!r}")
    faces = _pair_faces(recorded, now)
    others_then, others_now = _other_scores(recorded), _other_scores(now)
    others = [Difference(what, others_then.get(what), others_now.get(what)) for what in {**others_then, **others_now}]
    return Comparison(
        verdict_then=(recorded["outcome"], recorded["reason"] or ""),
        verdict_now=(now["outcome"], now["reason"] or ""),
        faces=len(faces),
        differences=tuple(sorted([*others, *faces], key=lambda difference: -difference.size)),
        other_software=_other_software(recorded, software_version),
    )


def _same_detector(recorded: Mapping[str, Any], weights: Sequence[Path]) -> Detector:
    """The detector of the result. Raises :class:`NotReproducible` where this machine has another one, or none."""
    name, version = recorded["detector"], recorded["detector_version"]
    try:
        detector = load_detector(name, weights=weights)
    except AnalysisError as error:
        raise NotReproducible(Refusal.DETECTOR_MISSING, error.detail or str(error)) from error
    if detector.spec.version != version:
        raise NotReproducible(Refusal.OTHER_VERSION, f"{name} was {version}, here it is {detector.spec.version}")
    if sorted(detector.weights_sha256) != sorted(recorded["weights_sha256"]):
        raise NotReproducible(
            Refusal.OTHER_WEIGHTS,
            f"{name} had the weights {', '.join(recorded['weights_sha256'])}, "
            f"here {', '.join(detector.weights_sha256)}",
        )
    return detector


def _pair_faces(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Each face with itself: the same person's in the same frame, at the same place but for a rounded pixel or two."""
    left = {key: list(faces) for key, faces in _faces(now).items()}
    pairs = []
    for (person, frame), faces in _faces(then).items():
        there = left.get((person, frame), [])
        for face in faces:
            box = Box(*face["box"])
            again = max(there, key=lambda other: box.iou(Box(*other["box"])), default=None)
            if again is None or box.iou(Box(*again["box"])) < SAME_PLACE:
                pairs.append(Difference(f"person {person}, frame {frame}", face["fake_probability"], None))
                continue
            there.remove(again)
            pairs.append(
                Difference(f"person {person}, frame {frame}", face["fake_probability"], again["fake_probability"])
            )
    pairs += [
        Difference(f"person {person}, frame {frame}", None, face["fake_probability"])
        for (person, frame), faces in left.items()
        for face in faces
    ]
    return pairs


def _faces(found: Mapping[str, Any]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """The faces of a result by person, from 1, and frame; several only where all people are one track."""
    by_place: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for track in found["tracks"]:
        for face in track["faces"]:
            by_place.setdefault((track["index"] + 1, face["frame"]), []).append(face)
    return by_place


def _other_scores(found: Mapping[str, Any]) -> dict[str, float]:
    copies: list[dict[str, Any]] = (found.get("stability") or {}).get("copies", [])
    scores = {
        "the file": found["fake_probability"],
        "all faces together": found["pooled_probability"],
        **{f"person {track['index'] + 1}": track["fake_probability"] for track in found["tracks"]},
        **{f"copies {copy['copy']}": copy["fake_probability"] for copy in copies},
    }
    return {what: score for what, score in scores.items() if score is not None}


def _other_software(recorded: Mapping[str, Any], software_version: str) -> tuple[tuple[str, str, str], ...]:
    then: dict[str, str] = dict(recorded["settings"].get("versions") or {})
    now: dict[str, str] = library_versions()
    if software_version:
        then, now = {"sentinel": software_version, **then}, {"sentinel": __version__, **now}
    return tuple((name, version, now.get(name, "")) for name, version in then.items() if version != now.get(name, ""))

"""From a file to an AnalysisResult: read, find faces, follow people, judge, conclude.

Memory stays flat: at any time there are a few decoded frames, the face crops of the sample, and, if a sink wants
them, one JPEG for each sampled frame.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from av import library_versions as ffmpeg_versions
from numpy.typing import NDArray

from ml.contracts import (
    AnalysisError,
    AnalysisResult,
    ErrorCode,
    FaceScore,
    MediaInfo,
    MediaKind,
    Outcome,
    ProgressCallback,
    Reason,
    SampledFrame,
    Stage,
    TrackResult,
)
from ml.detectors.aggregation import aggregate_networks, fake_stretches, merge_stretches
from ml.detectors.registry import BATCH_SIZE, Detector
from ml.detectors.spec import DetectorSpec
from ml.error_rates import error_rates_for, facts_of
from ml.evidence import (
    CROP_SIZE,
    HEAT_MAP_SIZE,
    KEY_FRAME_SIZE,
    KEY_FRAMES,
    PREVIEW_SIZE,
    EvidenceSink,
    JudgedFace,
    from_jpeg,
    overlay,
    shrink,
    to_jpeg,
)
from ml.faces.detection import FaceDetector, ScaleRule
from ml.faces.geometry import crop_face, resize_isotropically
from ml.faces.tracks import (
    MIN_FACE_SIZE,
    People,
    Sighting,
    Track,
    find_people,
    find_people_in_photo,
    looks_of,
    needed_faces,
)
from ml.media.frames import SAMPLED_FRAMES, FrameSampler, VideoPicture
from ml.media.photos import read_photo
from ml.media.probe import probe
from ml.verdict import conclude, interleaved_halves

Scores = NDArray[np.float32]

# A video of which less decodes than this share of its frames is not judged on the rest.
USABLE_SHARE = 0.25
# Shares of the whole at which the stages end, for the progress.
READ_DONE, CONCLUDING_FROM = 0.02, 0.98
# Networks with more parameters take most of the time, smaller ones less than finding the faces.
LARGE_NETWORK = 15_000_000


@dataclass(slots=True, eq=False)
class _Looked:
    """A sampled frame that was searched for faces. ``crops`` belong to ``sightings``, in the same order."""

    frame: SampledFrame
    sightings: list[Sighting]
    crops: list[NDArray[np.uint8]]
    picture: bytes | None


@dataclass(slots=True)
class _Sample:
    """All sampled frames in order, and what reading the file showed."""

    looked: list[_Looked]
    facts: dict[str, Any] = field(default_factory=dict)
    usable: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """A face to be judged. ``rank`` is the position of its frame in the sample."""

    track: int
    rank: int
    sighting: Sighting
    crop: NDArray[np.uint8]


class _Progress:
    """Reports to the callback, never backwards."""

    def __init__(self, callback: ProgressCallback | None, parameters: int) -> None:
        self._callback = callback
        self._latest = 0.0
        self.faces_done = 0.3 if parameters > LARGE_NETWORK else 0.75

    def report(self, stage: Stage, share: float) -> None:
        self._latest = min(max(self._latest, share), 1.0)
        if self._callback is not None:
            self._callback(stage, self._latest)

    def report_part(self, stage: Stage, start: float, end: float, share: float) -> None:
        self.report(stage, start + (end - start) * min(share, 1.0))


@dataclass(slots=True, eq=False)
class _Job:
    """One analysis under way: what it works with and for whom."""

    detector: Detector
    finder: FaceDetector
    info: MediaInfo
    progress: _Progress
    evidence: EvidenceSink | None
    started: float
    parity: bool


def analyze(
    path: Path | str,
    detector: Detector,
    *,
    info: MediaInfo | None = None,
    face_detector: FaceDetector | None = None,
    on_progress: ProgressCallback | None = None,
    evidence: EvidenceSink | None = None,
    frames: int = SAMPLED_FRAMES,
    parity: bool = False,
) -> AnalysisResult:
    """Judge a video or a photo, told apart by content (`frames` is for videos).

    Arguments and errors as for :func:`analyze_video`.
    """
    info = info or probe(path)
    if info.kind is MediaKind.IMAGE:
        return analyze_image(
            path,
            detector,
            info=info,
            face_detector=face_detector,
            on_progress=on_progress,
            evidence=evidence,
            parity=parity,
        )
    return analyze_video(
        path,
        detector,
        info=info,
        face_detector=face_detector,
        on_progress=on_progress,
        evidence=evidence,
        frames=frames,
        parity=parity,
    )


def analyze_video(
    path: Path | str,
    detector: Detector,
    *,
    info: MediaInfo | None = None,
    face_detector: FaceDetector | None = None,
    on_progress: ProgressCallback | None = None,
    evidence: EvidenceSink | None = None,
    frames: int = SAMPLED_FRAMES,
    parity: bool = False,
) -> AnalysisResult:
    """Judge the people in a video of any length by `frames` evenly spread frames.

    `info` saves probing again. `on_progress` gets the stage and the share done, rising to 1; `evidence` gets pictures;
    both may raise to stop. `face_detector` can be reused between calls. `parity` repeats the reference: faces searched
    at half size, none dropped, all people pooled into one track, which decides.
    Raises AnalysisError: what :func:`ml.media.probe.probe` raises, and NO_VIDEO_STREAM for a photo.
    """
    started = time.monotonic()
    path = Path(path)
    progress = _Progress(on_progress, detector.parameters)
    progress.report(Stage.READING, 0.0)
    info = info or probe(path)
    if info.kind is not MediaKind.VIDEO:
        raise AnalysisError(ErrorCode.NO_VIDEO_STREAM, "a photo")
    finder = face_detector or FaceDetector(scale_rule=_rule(parity), device=detector.device)
    sampler = FrameSampler(path, frames, claimed=info.frame_count)
    expected = max(min(frames, info.frame_count), 1)
    progress.report(Stage.FINDING_FACES, READ_DONE)
    looked: dict[int, _Looked] = {}
    for batch in _batches(sampler, finder):
        for found in _look(batch, finder, detector.spec, keep_picture=evidence is not None):
            looked[found.frame.index] = found
        progress.report_part(Stage.FINDING_FACES, READ_DONE, progress.faces_done, len(looked) / expected)
    sample = _Sample(
        [looked[index] for index in sampler.indices if index in looked],
        {
            "frames_requested": frames,
            "claimed_frames": info.frame_count,
            "frames_in_file": sampler.total,
            "decoding": sampler.decoding,
            "decoded_frames": sampler.decoded,
            "damaged_packets": sampler.damaged,
        },
        usable=sampler.total >= USABLE_SHARE * info.frame_count,
    )
    for rank, found in enumerate(sample.looked):
        found.sightings = [Sighting(rank, seen.detection, seen.looks) for seen in found.sightings]
    sightings = [found.sightings for found in sample.looked]
    people = _everyone(sightings) if parity else find_people(sightings)
    return _judge(_Job(detector, finder, info, progress, evidence, started, parity), sample, people)


def analyze_image(
    path: Path | str,
    detector: Detector,
    *,
    info: MediaInfo | None = None,
    face_detector: FaceDetector | None = None,
    on_progress: ProgressCallback | None = None,
    evidence: EvidenceSink | None = None,
    parity: bool = False,
) -> AnalysisResult:
    """Judge the people in a photo. Arguments as for :func:`analyze_video`.

    Raises AnalysisError: what :func:`ml.media.probe.probe` raises, and UNSUPPORTED_TYPE for a video.
    """
    started = time.monotonic()
    path = Path(path)
    progress = _Progress(on_progress, detector.parameters)
    progress.report(Stage.READING, 0.0)
    info = info or probe(path)
    if info.kind is not MediaKind.IMAGE:
        raise AnalysisError(ErrorCode.UNSUPPORTED_TYPE, "not a photo")
    finder = face_detector or FaceDetector(scale_rule=_rule(parity), device=detector.device)
    picture = VideoPicture(0, 0.0, read_photo(path))
    progress.report(Stage.FINDING_FACES, READ_DONE)
    sample = _Sample(list(_look([picture], finder, detector.spec, keep_picture=evidence is not None)))
    progress.report(Stage.FINDING_FACES, progress.faces_done)
    sightings = sample.looked[0].sightings
    people = _everyone([sightings]) if parity else find_people_in_photo(sightings)
    return _judge(_Job(detector, finder, info, progress, evidence, started, parity), sample, people)


def _rule(parity: bool) -> ScaleRule:
    return ScaleRule.HALF if parity else ScaleRule.WIDTH


def _batches(pictures: Iterable[VideoPicture], finder: FaceDetector) -> Iterator[list[VideoPicture]]:
    """Group frames of one size into batches that the face detector can hold; a clip may change its size midway."""
    batch: list[VideoPicture] = []
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        if batch and batch[0].pixels.shape != picture.pixels.shape:
            yield batch
            batch = []
        batch.append(picture)
        if len(batch) >= finder.batch_size(width, height):
            yield batch
            batch = []
    if batch:
        yield batch


def _look(
    pictures: Sequence[VideoPicture], finder: FaceDetector, spec: DetectorSpec, *, keep_picture: bool
) -> Iterator[_Looked]:
    """Search frames for faces and cut the faces out, so that the frames can go."""
    size, divisor = spec.preprocessing.input_size, spec.preprocessing.padding_divisor
    for picture, detections in zip(pictures, finder.detect([p.pixels for p in pictures]), strict=True):
        crops = []
        for detection in detections:
            crop = crop_face(picture.pixels, detection.box, divisor)
            # A crop is kept no larger than the network's input, which this resize is the first step to; and a
            # copy, since a view would keep the whole frame.
            crops.append(resize_isotropically(crop, size) if max(crop.shape) > size else crop.copy())
        yield _Looked(
            SampledFrame(picture.index, picture.time),
            [Sighting(0, detection, looks_of(picture.pixels, detection)) for detection in detections],
            crops,
            to_jpeg(shrink(picture.pixels, KEY_FRAME_SIZE)) if keep_picture else None,
        )


def _everyone(frames: Sequence[Sequence[Sighting]]) -> People:
    """All faces as one track, several a frame if need be: what the reference judges."""
    sightings = [seen for frame in frames for seen in frame]
    return People([Track(sightings)] if sightings else [], [], 0)


def _judge(job: _Job, sample: _Sample, people: People) -> AnalysisResult:
    spec, progress = job.detector.spec, job.progress
    settings = _settings(job) | {
        **sample.facts,
        "frames_sampled": len(sample.looked),
        "people_too_small": len(people.too_small),
        "frames_with_fleeting_faces": people.fleeting,
    }
    frames = tuple(found.frame for found in sample.looked)
    reason = _not_assessable(sample, people)
    faces = [] if reason else _faces(sample, people)
    progress.report(Stage.JUDGING, progress.faces_done)
    scores, judged = _score(job, sample, faces)
    progress.report(Stage.CONCLUDING, CONCLUDING_FROM)

    tracks: list[TrackResult] = []
    track_scores: list[Scores] = []
    for index in range(len(people.tracks) if faces else 0):
        columns = [place for place, face in enumerate(faces) if face.track == index]
        track_scores.append(scores[:, columns])
        own = tuple(judged[place].face for place in columns)
        tracks.append(
            TrackResult(
                index=index,
                fake_probability=aggregate_networks(track_scores[-1], spec.aggregation),
                faces=own,
                timestamps=_timestamps(own, frames, job),
                best_frame=max(own, key=lambda face: face.fake_probability).frame,
            )
        )
    if job.evidence is not None:
        _show_worst(job.detector, job.evidence, sample, faces, judged)
    called = {face.frame: False for track in tracks for face in track.faces}
    for track in tracks:
        for face in track.faces:
            called[face.frame] |= face.fake_probability > spec.thresholds.frame
    probability = pooled = confidence = None
    outcome = Outcome.NOT_ASSESSABLE
    if tracks:
        worst = max(tracks, key=lambda track: track.fake_probability)
        probability = worst.fake_probability
        pooled = aggregate_networks(scores, spec.aggregation)
        halves = interleaved_halves(track_scores[worst.index], spec.aggregation)
        verdict = conclude(probability, halves, spec.thresholds)
        outcome, reason, confidence = verdict.outcome, verdict.reason, verdict.confidence
        settings["interleaved_halves"] = halves
    progress.report(Stage.CONCLUDING, 1.0)
    return AnalysisResult(
        outcome=outcome,
        reason=reason,
        fake_probability=probability,
        pooled_probability=pooled,
        confidence=confidence,
        tracks=tuple(tracks),
        timestamps=tuple(merge_stretches([stretch for track in tracks for stretch in track.timestamps])),
        frames=frames,
        real_frames=sum(not is_fake for is_fake in called.values()),
        fake_frames=sum(called.values()),
        media=job.info,
        detector=spec.name,
        detector_version=spec.version,
        weights_sha256=job.detector.weights_sha256,
        seconds=time.monotonic() - job.started,
        settings=settings,
        error_rates=(
            error_rates_for(spec, job.detector.weights_sha256, facts_of(job.info, tracks), settings) if tracks else None
        ),
    )


def _not_assessable(sample: _Sample, people: People) -> Reason | None:
    """Why nobody can be judged, or None."""
    if not sample.usable:
        return Reason.TOO_FEW_FRAMES
    if people.tracks:
        return None
    if people.too_small:
        return Reason.FACES_TOO_SMALL
    # Faces beyond doubt in enough frames, but of nobody who stays.
    if people.fleeting >= needed_faces(len(sample.looked)):
        return Reason.TOO_FEW_FRAMES
    return Reason.NO_FACE


def _faces(sample: _Sample, people: People) -> list[_Face]:
    """The faces to judge, in order of time, so that a live view can follow."""
    crops = {id(seen): crop for found in sample.looked for seen, crop in zip(found.sightings, found.crops, strict=True)}
    faces = [
        _Face(index, seen.position, seen, crops[id(seen)])
        for index, track in enumerate(people.tracks)
        for seen in track.sightings
    ]
    return sorted(faces, key=lambda face: (face.rank, face.track))


def _score(job: _Job, sample: _Sample, faces: list[_Face]) -> tuple[Scores, list[JudgedFace]]:
    """Judge the faces batch by batch → scores (networks, faces), and each face with its mean over the networks.

    Frames go to the sink as soon as their last face is judged.
    """
    scores = np.zeros((len(job.detector.networks), len(faces)), dtype=np.float32)
    judged: list[JudgedFace] = []
    shown = 0
    for start in range(0, len(faces), BATCH_SIZE):
        batch = faces[start : start + BATCH_SIZE]
        scores[:, start : start + len(batch)] = job.detector.score([face.crop for face in batch])
        for place, face in enumerate(batch, start):
            frame = sample.looked[face.rank].frame
            detection = face.sighting.detection
            probability = float(scores[:, place].mean())
            score = FaceScore(frame.index, frame.time, detection.box, detection.probability, probability)
            judged.append(JudgedFace(face.track, score))
        complete = faces[len(judged)].rank if len(judged) < len(faces) else shown
        _show(job.evidence, sample, range(shown, complete), faces, judged)
        shown = complete
        job.progress.report_part(
            Stage.JUDGING, job.progress.faces_done, CONCLUDING_FROM, len(judged) / max(len(faces), 1)
        )
    _show(job.evidence, sample, range(shown, len(sample.looked)), faces, judged)
    return scores, judged


def _show(
    evidence: EvidenceSink | None, sample: _Sample, ranks: range, faces: list[_Face], judged: list[JudgedFace]
) -> None:
    if evidence is None:
        return
    for rank in ranks:
        found = sample.looked[rank]
        places = [place for place, face in enumerate(faces) if face.rank == rank]
        if found.picture is not None:
            preview = to_jpeg(shrink(from_jpeg(found.picture), PREVIEW_SIZE))
            evidence.add_frame(found.frame, preview, [judged[place] for place in places])
        for place in places:
            crop = to_jpeg(shrink(faces[place].crop, CROP_SIZE))
            evidence.add_crop(faces[place].track, found.frame.index, crop)


def _show_worst(
    detector: Detector, evidence: EvidenceSink, sample: _Sample, faces: list[_Face], judged: list[JudgedFace]
) -> None:
    """Hand over the most suspicious frames, each with the heat map of its most suspicious face."""
    places = sorted(range(len(faces)), key=lambda place: -judged[place].face.fake_probability)
    shown: set[int] = set()
    for place in places:
        found = sample.looked[faces[place].rank]
        if found.frame.index in shown or found.picture is None:
            continue
        shown.add(found.frame.index)
        evidence.add_key_frame(found.frame.index, found.picture)
        crop = faces[place].crop
        heat = overlay(crop, detector.heat_map(crop))
        evidence.add_heat_map(faces[place].track, found.frame.index, to_jpeg(shrink(heat, HEAT_MAP_SIZE)))
        if len(shown) == KEY_FRAMES:
            return


def _timestamps(
    faces: Sequence[FaceScore], frames: Sequence[SampledFrame], job: _Job
) -> tuple[tuple[float, float], ...]:
    threshold = job.detector.spec.thresholds.frame
    called = {face.frame for face in faces if face.fake_probability > threshold}
    times = [frame.time for frame in frames]
    return tuple(fake_stretches(times, [frame.index in called for frame in frames], job.info.duration))


def _settings(job: _Job) -> dict[str, Any]:
    """What somebody needs to repeat the analysis."""
    detector, finder, info = job.detector, job.finder, job.info
    spec = detector.spec
    return {
        "parity": job.parity,
        "face_scale_rule": finder.scale_rule,
        "face_scale": finder.scale_for(info.width, info.height),
        "face_thresholds": list(finder.thresholds),
        "smallest_face": MIN_FACE_SIZE,
        "input_size": spec.preprocessing.input_size,
        "padding_divisor": spec.preprocessing.padding_divisor,
        "architecture": spec.architecture,
        "networks": len(detector.networks),
        "aggregation": spec.aggregation,
        "verdict_from": "pooled" if job.parity else "worst_track",
        "thresholds": {"fake": spec.thresholds.fake, "real": spec.thresholds.real, "frame": spec.thresholds.frame},
        "precision": "float32",
        "device": str(detector.device),
        "versions": library_versions(),
    }


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that scores depend on."""
    names = ("torch", "timm", "facenet-pytorch", "numpy", "opencv-python-headless", "av", "pillow", "scipy")
    ffmpeg = ".".join(str(part) for part in ffmpeg_versions["libavcodec"])
    return {name: version(name) for name in names} | {"libavcodec": ffmpeg, "cuda": str(torch.version.cuda or "")}

"""From a file to an AnalysisResult: read, find faces, follow people, judge, conclude.

Frames are decoded in the caller's thread, searched for faces in others and judged in one more, side by side; callbacks
are called in the caller's thread only. Memory stays flat: at any time there are a few decoded frames, the face crops of
the sample, and, if a sink wants them, one JPEG for each sampled frame.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
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
    FaceDetection,
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
from ml.detectors.aggregation import aggregate_networks, count_votes, fake_stretches, merge_stretches
from ml.detectors.registry import Detector
from ml.engines import side_by_side
from ml.error_rates import error_rates_for, facts_of
from ml.events import Concluded, Event, EventCallback, FaceScored, FrameSearched, MediaRead, PersonFound
from ml.evidence import (
    CROP_SIZE,
    HEAT_MAP_SIZE,
    KEY_FRAME_SIZE,
    KEY_FRAMES,
    PREVIEW_SIZE,
    SAMPLE_QUALITY,
    SAMPLE_SIZE,
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
from ml.labelling import LABELLED_SIZE, LabelledFace, label_faces
from ml.media.frames import SAMPLED_FRAMES, VideoPicture
from ml.media.sandbox import FrameSampler, probe, read_facts, read_photo
from ml.stability import check_stability
from ml.verdict import call, conclude, interleaved_halves, weigh_copies

Scores = NDArray[np.float32]
Crop = NDArray[np.uint8]

# A video of which less decodes than this share of its frames is not judged on the rest.
USABLE_SHARE = 0.25
# Shares of the whole at which the stages end, for the progress. Searching and judging run side by side; of a photo's
# time the search is most.
READ_DONE, SEARCH_DONE, CONCLUDING_FROM = 0.02, 0.9, 0.98
PHOTO_SEARCHED = 0.9
# Faces that are surer and larger are judged as soon as they are found, before it is known who stays.
JUDGE_AT_ONCE = 0.95
# So many wait until they are judged together.
FACES_AT_ONCE = 8
# Bytes of decoded frames that may wait to be searched: two of 8K, ten of 4K.
FRAMES_WAITING = 1 << 28


@dataclass(slots=True, eq=False)
class _Looked:
    """A sampled frame that was searched for faces. ``crops`` belong to ``sightings``, in the same order.

    ``picture`` is a JPEG for the evidence, ``preview`` one for a live view, each only if wanted.
    """

    frame: SampledFrame
    sightings: list[Sighting]
    crops: list[NDArray[np.uint8]]
    picture: bytes | None
    preview: bytes | None


@dataclass(slots=True)
class _Sample:
    """All sampled frames in order, and what reading the file showed. ``photo`` is kept to be labelled."""

    looked: list[_Looked]
    facts: dict[str, Any] = field(default_factory=dict)
    usable: bool = True
    photo: Crop | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """A face to be judged. ``rank`` is the position of its frame in the sample."""

    track: int
    rank: int
    sighting: Sighting
    crop: NDArray[np.uint8]


class _Progress:
    """Reports to the callback, never backwards, neither the share nor the stage."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._latest = 0.0
        self._stage = Stage.READING

    def report(self, stage: Stage, share: float) -> None:
        self._latest = min(max(self._latest, share), 1.0)
        stages = list(Stage)
        self._stage = max(self._stage, stage, key=stages.index)
        if self._callback is not None:
            self._callback(self._stage, self._latest)

    def report_part(self, stage: Stage, start: float, end: float, share: float) -> None:
        self.report(stage, start + (end - start) * min(share, 1.0))


class _Scorer:
    """Judges faces in batches, in the order in which they come, in a thread of its own, and remembers the scores.

    To be closed at the end, also of a failed analysis.
    """

    def __init__(self, detector: Detector, tell: EventCallback, *, photo: bool) -> None:
        self._detector = detector
        self._tell = tell
        self._photo = photo
        self._queue: list[tuple[SampledFrame, FaceDetection, Crop]] = []
        # By the crop's identity, and the crop itself, so that no other can come to have it.
        self._known: dict[int, Crop] = {}
        self._scores: dict[int, Scores] = {}
        self._thread = ThreadPoolExecutor(1, "judging")
        self._running: deque[tuple[list[tuple[SampledFrame, FaceDetection, Crop]], Future[Scores]]] = deque()
        # The first faces go alone, so that a live view has something to show.
        self._batch_size = 1

    @property
    def has_scores(self) -> bool:
        return bool(self._scores)

    @property
    def share(self) -> float:
        """How many of the faces that came are judged."""
        return len(self._scores) / len(self._known) if self._known else 1.0

    def add(self, frame: SampledFrame, detection: FaceDetection, crop: Crop) -> None:
        """Have a face judged, with the next ones if need be."""
        if id(crop) in self._known:
            return
        self._known[id(crop)] = crop
        self._queue.append((frame, detection, crop))
        if len(self._queue) >= self._batch_size:
            self._start()
            self._batch_size = min(2 * self._batch_size, FACES_AT_ONCE)

    def _start(self) -> None:
        batch, self._queue = self._queue, []
        if batch:
            crops = [crop for _, _, crop in batch]
            self._running.append((batch, self._thread.submit(self._detector.score, crops, photo=self._photo)))

    def collect(self) -> None:
        """Tell what is judged by now. Raises what judging raised."""
        while self._running and self._running[0][1].done():
            self._take()

    def finish(self) -> Iterator[float]:
        """Wait for all faces; gives the share judged from time to time."""
        self._start()
        while self._running:
            self._take()
            yield self.share

    def _take(self) -> None:
        batch, scores = self._running.popleft()
        for column, (frame, detection, crop) in zip(scores.result().T, batch, strict=True):
            self._scores[id(crop)] = column
            self._tell(FaceScored(_face_score(frame, detection, column)))

    def scores_of(self, crop: Crop) -> Scores:
        """One score for each network."""
        return self._scores[id(crop)]

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def _face_score(frame: SampledFrame, detection: FaceDetection, scores: Scores) -> FaceScore:
    return FaceScore(frame.index, frame.time, detection.box, detection.probability, float(scores.mean()))


def _ignore(_event: Event) -> None:
    """For those who did not ask."""


@dataclass(slots=True, eq=False)
class _Job:
    """One analysis under way: what it works with and for whom."""

    path: Path
    detector: Detector
    finder: FaceDetector
    info: MediaInfo
    progress: _Progress
    evidence: EvidenceSink | None
    scorer: _Scorer
    tell: EventCallback
    started: float
    parity: bool
    check_stability: bool


def analyze(
    path: Path | str,
    detector: Detector,
    *,
    info: MediaInfo | None = None,
    face_detector: FaceDetector | None = None,
    on_progress: ProgressCallback | None = None,
    on_event: EventCallback | None = None,
    evidence: EvidenceSink | None = None,
    frames: int = SAMPLED_FRAMES,
    parity: bool = False,
    stability: bool = True,
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
            on_event=on_event,
            evidence=evidence,
            parity=parity,
            stability=stability,
        )
    return analyze_video(
        path,
        detector,
        info=info,
        face_detector=face_detector,
        on_progress=on_progress,
        on_event=on_event,
        evidence=evidence,
        frames=frames,
        parity=parity,
        stability=stability,
    )


def analyze_video(
    path: Path | str,
    detector: Detector,
    *,
    info: MediaInfo | None = None,
    face_detector: FaceDetector | None = None,
    on_progress: ProgressCallback | None = None,
    on_event: EventCallback | None = None,
    evidence: EvidenceSink | None = None,
    frames: int = SAMPLED_FRAMES,
    parity: bool = False,
    stability: bool = True,
) -> AnalysisResult:
    """Judge the people in a video of any length by `frames` evenly spread frames.

    `info` saves probing again. `on_progress` gets the stage and the share done, rising to 1; `on_event` each frame, box
    and score as soon as it is known (:mod:`ml.events`); `evidence` gets pictures at the end; all may raise to stop.
    `face_detector` can be reused between calls. `parity` repeats the reference: faces searched at half size, none
    dropped, all people pooled into one track, which decides. `stability` judges compressed copies of a few faces again
    and lets a verdict that turns with them become INCONCLUSIVE (:mod:`ml.stability`).
    Raises AnalysisError: what :func:`ml.media.probe.probe` raises, and NO_VIDEO_STREAM for a photo.
    """
    job = _start(
        path,
        detector,
        info=info,
        face_detector=face_detector,
        on_progress=on_progress,
        on_event=on_event,
        evidence=evidence,
        parity=parity,
        stability=stability,
    )
    if job.info.kind is not MediaKind.VIDEO:
        raise AnalysisError(ErrorCode.NO_VIDEO_STREAM, "a photo")
    with closing(job.scorer):
        return _judge_video(job, frames)


def _judge_video(job: _Job, frames: int) -> AnalysisResult:
    info, progress, scorer = job.info, job.progress, job.scorer
    sampler = FrameSampler(job.path, frames, claimed=info.frame_count, duration=info.duration)
    expected = max(min(frames, info.frame_count), 1)
    job.tell(MediaRead(info, expected))
    progress.report(Stage.FINDING_FACES, READ_DONE)
    looked: dict[int, _Looked] = {}
    for found in _search(sampler, job):
        looked[found.frame.index] = found
        _tell_and_judge(found, job)
        stage = Stage.JUDGING if scorer.has_scores else Stage.FINDING_FACES
        progress.report_part(stage, READ_DONE, SEARCH_DONE, len(looked) / expected * scorer.share)
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
    people = _everyone(sightings) if job.parity else find_people(sightings)
    return _judge(job, sample, people)


def analyze_image(
    path: Path | str,
    detector: Detector,
    *,
    info: MediaInfo | None = None,
    face_detector: FaceDetector | None = None,
    on_progress: ProgressCallback | None = None,
    on_event: EventCallback | None = None,
    evidence: EvidenceSink | None = None,
    parity: bool = False,
    stability: bool = True,
) -> AnalysisResult:
    """Judge the people in a photo. Arguments as for :func:`analyze_video`.

    Raises AnalysisError: what :func:`ml.media.probe.probe` raises, and UNSUPPORTED_TYPE for a video.
    """
    job = _start(
        path,
        detector,
        info=info,
        face_detector=face_detector,
        on_progress=on_progress,
        on_event=on_event,
        evidence=evidence,
        parity=parity,
        stability=stability,
    )
    if job.info.kind is not MediaKind.IMAGE:
        raise AnalysisError(ErrorCode.UNSUPPORTED_TYPE, "not a photo")
    with closing(job.scorer):
        picture = VideoPicture(0, 0.0, read_photo(job.path))
        job.tell(MediaRead(job.info, 1))
        job.progress.report(Stage.FINDING_FACES, READ_DONE)
        (found,) = _look([picture], job)
        _tell_and_judge(found, job)
        job.progress.report(Stage.FINDING_FACES, PHOTO_SEARCHED)
        sample = _Sample([found], photo=shrink(picture.pixels, LABELLED_SIZE) if evidence is not None else None)
        people = _everyone([found.sightings]) if parity else find_people_in_photo(found.sightings)
        return _judge(job, sample, people)


def _start(
    path: Path | str,
    detector: Detector,
    *,
    info: MediaInfo | None,
    face_detector: FaceDetector | None,
    on_progress: ProgressCallback | None,
    on_event: EventCallback | None,
    evidence: EvidenceSink | None,
    parity: bool,
    stability: bool,
) -> _Job:
    started = time.monotonic()
    progress = _Progress(on_progress)
    progress.report(Stage.READING, 0.0)
    info = info or probe(path)
    tell = on_event or _ignore
    finder = face_detector or FaceDetector(scale_rule=_rule(parity), device=detector.device)
    return _Job(
        Path(path),
        detector,
        finder,
        info,
        progress,
        evidence,
        _Scorer(detector, tell, photo=info.kind is MediaKind.IMAGE),
        tell,
        started,
        parity,
        stability,
    )


def _rule(parity: bool) -> ScaleRule:
    return ScaleRule.HALF if parity else ScaleRule.WIDTH


def _batches(pictures: Iterable[VideoPicture], finder: FaceDetector) -> Iterator[list[VideoPicture]]:
    """Frames as the face detector takes them: one by one, or grouped by size; a clip may change its size midway.

    The first frame goes alone and the next batches grow, so that a live view soon has something to show.
    """
    batch: list[VideoPicture] = []
    most = 1
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        if batch and batch[0].pixels.shape != picture.pixels.shape:
            yield batch
            batch = []
        batch.append(picture)
        if len(batch) >= min(finder.batch_size(width, height) if finder.batches else 1, most):
            yield batch
            batch, most = [], 2 * most
    if batch:
        yield batch


def _search(pictures: Iterable[VideoPicture], job: _Job) -> Iterator[_Looked]:
    """Search frames side by side while the next are decoded: what was found, in the order of the frames."""
    waiting: deque[Future[list[_Looked]]] = deque()
    with ThreadPoolExecutor(side_by_side(), "faces") as pool:
        try:
            for batch in _batches(pictures, job.finder):
                height, width = batch[0].pixels.shape[:2]
                # One more than are searched, for the next to be there at once, unless frames are huge.
                fitting = FRAMES_WAITING // sum(picture.pixels.nbytes for picture in batch) - 1
                ahead = min(job.finder.threads(width, height) + 1, max(fitting, 0))
                waiting.append(pool.submit(_look, batch, job))
                while waiting and (len(waiting) > ahead or waiting[0].done()):
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _look(pictures: Sequence[VideoPicture], job: _Job) -> list[_Looked]:
    """Search frames for faces and cut the faces out, so that the frames can go."""
    settings = job.detector.spec.preprocessing
    size, divisor = settings.input_size, settings.padding_divisor
    looked = []
    for picture, detections in zip(pictures, job.finder.detect([p.pixels for p in pictures]), strict=True):
        crops = []
        for detection in detections:
            crop = crop_face(picture.pixels, detection.box, divisor)
            # A crop is kept no larger than the network's input, which this resize is the first step to; and a
            # copy, since a view would keep the whole frame.
            crops.append(resize_isotropically(crop, size) if max(crop.shape) > size else crop.copy())
        looked.append(
            _Looked(
                SampledFrame(picture.index, picture.time),
                [Sighting(0, detection, looks_of(picture.pixels, detection)) for detection in detections],
                crops,
                to_jpeg(shrink(picture.pixels, KEY_FRAME_SIZE)) if job.evidence is not None else None,
                to_jpeg(shrink(picture.pixels, PREVIEW_SIZE)) if job.tell is not _ignore else None,
            )
        )
    return looked


def _tell_and_judge(found: _Looked, job: _Job) -> None:
    """Tell of a frame that was searched, and have its faces judged that are beyond doubt."""
    if found.preview is not None:
        job.tell(FrameSearched(found.frame, tuple(seen.detection for seen in found.sightings), found.preview))
        found.preview = None
    for seen, crop in zip(found.sightings, found.crops, strict=True):
        if job.parity or (seen.detection.probability >= JUDGE_AT_ONCE and seen.size >= MIN_FACE_SIZE):
            job.scorer.add(found.frame, seen.detection, crop)
    job.scorer.collect()


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
    progress.report(Stage.JUDGING, READ_DONE)
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
                voting=count_votes(track_scores[-1], spec.aggregation),
            )
        )
    if job.evidence is not None:
        _show_worst(job.detector, job.evidence, sample, faces, judged)
    called = {face.frame: False for track in tracks for face in track.faces}
    for track in tracks:
        for face in track.faces:
            called[face.frame] |= face.fake_probability > spec.thresholds.frame
    probability = pooled = confidence = stability = None
    outcome = Outcome.NOT_ASSESSABLE
    if tracks:
        worst = max(tracks, key=lambda track: track.fake_probability)
        probability = worst.fake_probability
        pooled = aggregate_networks(scores, spec.aggregation)
        halves = interleaved_halves(track_scores[worst.index], spec.aggregation)
        verdict = conclude(probability, halves, spec.thresholds)
        if job.check_stability and verdict.outcome is not Outcome.INCONCLUSIVE:
            own_faces = [face for face in faces if face.track == worst.index]
            stability = check_stability(
                job.detector,
                [face.crop for face in own_faces],
                track_scores[worst.index],
                probability,
                photo=job.info.kind is MediaKind.IMAGE,
            )
            verdict = weigh_copies(verdict, stability, spec.thresholds)
        outcome, reason, confidence = verdict.outcome, verdict.reason, verdict.confidence
        settings["interleaved_halves"] = halves
    _label(job, sample, tracks, outcome)
    for track in tracks:
        job.tell(PersonFound(track))
    result = AnalysisResult(
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
        pooled_voting=count_votes(scores, spec.aggregation) if tracks else None,
        stability=stability,
        facts=read_facts(job.path, job.info),
    )
    progress.report(Stage.CONCLUDING, 1.0)
    job.tell(Concluded(result))
    return result


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
    """Judge the faces not judged yet → scores (networks, faces), and each face with its mean over the networks."""
    for face in faces:
        job.scorer.add(sample.looked[face.rank].frame, face.sighting.detection, face.crop)
    for share in job.scorer.finish():
        job.progress.report_part(Stage.JUDGING, READ_DONE, CONCLUDING_FROM, share)
    columns = [job.scorer.scores_of(face.crop) for face in faces]
    judged = [
        JudgedFace(face.track, _face_score(sample.looked[face.rank].frame, face.sighting.detection, column))
        for face, column in zip(faces, columns, strict=True)
    ]
    _show(job.evidence, sample, faces, judged)
    networks = len(job.detector.networks)
    return np.stack(columns, axis=1) if columns else np.zeros((networks, 0), dtype=np.float32), judged


def _show(evidence: EvidenceSink | None, sample: _Sample, faces: list[_Face], judged: list[JudgedFace]) -> None:
    if evidence is None:
        return
    for rank, found in enumerate(sample.looked):
        places = [place for place, face in enumerate(faces) if face.rank == rank]
        if found.picture is not None:
            small = to_jpeg(shrink(from_jpeg(found.picture), SAMPLE_SIZE), SAMPLE_QUALITY)
            evidence.add_frame(found.frame, small, [judged[place] for place in places])
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


def _label(job: _Job, sample: _Sample, tracks: Sequence[TrackResult], outcome: Outcome) -> None:
    """Hand over the labelled picture of a photo. It never says more of a face than the verdict `outcome` does."""
    if job.evidence is None or sample.photo is None:
        return
    worst = max(tracks, key=lambda track: track.fake_probability, default=None)
    faces = []
    for track in tracks:
        called = outcome if track is worst else call(track.fake_probability, job.detector.spec.thresholds)
        if called is Outcome.FAKE and outcome is not Outcome.FAKE:
            called = Outcome.INCONCLUSIVE
        faces += [LabelledFace(track.index + 1, face.box, face.fake_probability, called) for face in track.faces]
    scale = sample.photo.shape[1] / job.info.width
    job.evidence.add_labelled(to_jpeg(label_faces(sample.photo, faces, scale=scale)))


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
        "mirrored": spec.mirrored_photos and info.kind is MediaKind.IMAGE,
        "aggregation": spec.aggregation,
        "verdict_from": "pooled" if job.parity else "worst_track",
        "stability": job.check_stability,
        "thresholds": {"fake": spec.thresholds.fake, "real": spec.thresholds.real, "frame": spec.thresholds.frame},
        "precision": detector.runner.precision,
        "engine": detector.runner.engine,
        "face_engine": finder.engine,
        "device": str(detector.device),
        "versions": library_versions(),
    }


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that scores depend on."""
    names = ("torch", "timm", "facenet-pytorch", "numpy", "opencv-python-headless", "openvino", "av", "pillow", "scipy")
    ffmpeg = ".".join(str(part) for part in ffmpeg_versions["libavcodec"])
    return {name: version(name) for name in names} | {"libavcodec": ffmpeg, "cuda": str(torch.version.cuda or "")}

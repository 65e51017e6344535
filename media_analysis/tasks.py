"""The job: examine one file. The only place where the web application meets torch, and only the worker imports it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from django.conf import settings

from accounts import correlation
from accounts.errors import Code, SentinelError
from accounts.outages import insist
from media_analysis import evidence, health, live, scratch, services
from media_analysis.models import Analysis, Media
from media_analysis.progress import AnalysisTaken, ProgressReporter
from media_analysis.storage import StorageTrouble
from ml.contracts import AnalysisError, SampledFrame
from ml.detectors.registry import Detector, load_detector
from ml.evidence import JudgedFace
from ml.faces.detection import FaceDetector
from ml.inference import analyze

logger = logging.getLogger(__name__)

T = TypeVar("T")
Stage = Analysis.Stage

# So long a worker waits, with its claim, for a storage that is away or a scratch folder that is full. Then it gives the
# analysis back, for whoever has better luck.
PATIENCE_SECONDS = 45.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
# Pixels; large enough for the search for faces to go through its first network.
WARM_UP_SIDE = 256


def run_next() -> None:
    """Examine whatever is next for this worker, if anything. Safe to deliver more than once, or too often."""
    # One that is about to end leaves it to others.
    if not health.is_draining() and (analysis := _insist(services.claim_next)):
        run_claimed(analysis)


def run_analysis(pk: int) -> None:
    """Examine the analysis with this key, unless another worker has it or had it."""
    analysis = _insist(lambda: services.claim_analysis(pk))
    if analysis is None:
        logger.info("Analysis %s is not waiting: nothing to do", pk)
        return
    run_claimed(analysis)


def run_claimed(analysis: Analysis) -> None:
    """Examine an analysis that this process has claimed, and write down what came of it."""
    work = correlation.Work(request_id=analysis.request_id, analysis=analysis.public_id)
    # This process has one analysis at a time, and several threads at work on it.
    with correlation.working_on(work, whole_process=True), correlation.span("examine", cause=analysis.trace_context):
        _run(analysis)


def _run(analysis: Analysis) -> None:
    try:
        with ProgressReporter(analysis) as report_progress:
            result, pictures = examine(analysis, report_progress)
            patiently(
                lambda: services.finish_analysis(analysis, result, pictures),
                lambda: report_progress(Stage.CONCLUDING, 1.0),
            )
    except AnalysisTaken:
        logger.info("Analysis %s was taken away or deleted: stopped", analysis)
        # What cannot be removed now is swept later.
        with suppress(StorageTrouble):
            evidence.discard_try(analysis)
    except StorageTrouble as error:
        logger.warning("Analysis %s goes back into the queue: %s", analysis, error)
        _insist(lambda: services.release_analysis(analysis, Code.INTERNAL_ERROR, counted=False))
    except SentinelError as error:
        logger.warning("Analysis %s failed: %s", analysis, error)
        refused = error.code
        _insist(lambda: services.fail_analysis(analysis, refused))
    except AnalysisError as error:
        logger.warning("Analysis %s failed: %s", analysis, error)
        code = Code(error.code)
        _insist(lambda: services.fail_analysis(analysis, code))
    except Exception:
        logger.exception("Analysis %s broke off on try %s", analysis, analysis.attempts)
        _insist(lambda: services.release_analysis(analysis, Code.INTERNAL_ERROR))
    live.nudge(analysis)


def _insist(work: Callable[[], T]) -> T:
    return insist(work, seconds=services.DATABASE_PATIENCE_SECONDS, what="The worker")


def examine(analysis: Analysis, report_progress: ProgressReporter) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Run the chosen detector over the file; returns the result as stored, and the evidence pictures by name."""
    detector = chosen_detector()
    pictures = Pictures(samples=analysis.media.kind == Media.Kind.VIDEO)
    thresholds = detector.spec.thresholds
    shown = live.ThresholdsPayload(fake=thresholds.fake, real=thresholds.real, frame=thresholds.frame)
    with ExitStack() as held:
        path = patiently(
            lambda: held.enter_context(scratch.local_file(analysis.media)),
            lambda: report_progress(Stage.READING, 0.0),
        )
        tell = held.enter_context(live.LiveStream(analysis, shown))
        result = analyze(
            path,
            detector,
            face_detector=face_detector(),
            on_progress=report_progress,
            on_event=tell,
            evidence=pictures,
            stability=settings.SENTINEL_STABILITY_CHECK,
        )
    return result.to_dict(), pictures.by_name


def patiently(work: Callable[[], T], check: Callable[[], object]) -> T:
    """What `work` gives: while the storage is away or full, tried again with growing pauses, for some time.

    `check` is called before each further try and raises where there is no point in it any more. Raises the last
    :class:`StorageTrouble` in the end.
    """
    end, pause = time.monotonic() + PATIENCE_SECONDS, FIRST_PAUSE_SECONDS
    while True:
        try:
            return work()
        except StorageTrouble as error:
            if time.monotonic() + pause > end:
                raise
            logger.warning("Waiting %.1f s for the storage: %s", pause, error)
        time.sleep(pause)
        check()
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


@lru_cache(maxsize=1)
def chosen_detector() -> Detector:
    """The detector of the settings, loaded once in the life of a worker process."""
    detector = load_detector(
        settings.SENTINEL_DETECTOR, weights=[Path(path) for path in settings.SENTINEL_DETECTOR_WEIGHTS]
    )
    health.announce_detector(detector.spec.name, detector.spec.version)
    return detector


@lru_cache(maxsize=1)
def face_detector() -> FaceDetector:
    return FaceDetector(device=chosen_detector().device)


def warm_up() -> None:
    """Load everything and use it once, so that the first file in the life of a worker process is not the slowest.

    What is wrong with the detector is told by the first analysis, as ever.
    """
    began = time.monotonic()
    health.announce_start()
    picture = np.zeros((WARM_UP_SIDE, WARM_UP_SIDE, 3), dtype=np.uint8)
    try:
        detector = chosen_detector()
        detector.score([picture])
        detector.heat_map(picture)
        face_detector().detect([picture])
    except AnalysisError:
        logger.exception("The detector could not be warmed up")
        return
    logger.info("Warmed up in %.1f s", time.monotonic() - began)


class Pictures:
    """Collects what a result page shows: an :class:`ml.evidence.EvidenceSink`. A photo needs no `samples` of itself."""

    def __init__(self, *, samples: bool) -> None:
        self._samples = samples
        self.by_name: dict[str, bytes] = {}

    def add_frame(self, frame: SampledFrame, jpeg: bytes, faces: Sequence[JudgedFace]) -> None:
        if self._samples:
            self.by_name[evidence.sample_name(frame.index)] = jpeg

    def add_crop(self, track: int, frame: int, jpeg: bytes) -> None:
        self.by_name[evidence.crop_name(track, frame)] = jpeg

    def add_key_frame(self, frame: int, jpeg: bytes) -> None:
        self.by_name[evidence.frame_name(frame)] = jpeg

    def add_heat_map(self, track: int, frame: int, jpeg: bytes) -> None:
        self.by_name[evidence.heat_name(track, frame)] = jpeg

    def add_labelled(self, jpeg: bytes) -> None:
        self.by_name[evidence.LABELLED_NAME] = jpeg

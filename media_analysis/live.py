"""What a running analysis tells those who watch it: written by its worker, read by web processes.

Each try of an analysis has one stream of :class:`LiveEvent` rows, named by the try's claim. The worker's thread only
puts what happened into a queue; a second thread writes it, so that a slow database or storage never holds up an
analysis. What has to wait loses its pictures first, and nothing else ever. docs/live.md describes what watchers get.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, NotRequired, TypedDict

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, IntegrityError, connection
from django.db.models import Q
from django.utils import timezone
from redis.exceptions import RedisError

from media_analysis import evidence
from media_analysis.models import Analysis, LiveEvent
from media_analysis.storage import StorageTrouble
from ml.contracts import Box, FaceScore
from ml.events import Concluded, Event, FaceScored, FrameSearched, MediaRead, PersonFound

logger = logging.getLogger(__name__)

# Writing more often than this makes nothing look smoother.
MIN_INTERVAL_SECONDS = 0.1
# So many sampled frames wait to be written, of about 50 kB each; the oldest then goes on without its picture.
MAX_WAITING_PICTURES = 12
# Pictures of one batch may take so long to store before the rest of them is dropped.
PICTURES_SECONDS = 0.5
# At the end of a try the rest is waited for, at most so long.
FLUSH_SECONDS = 3.0
RETRY_SECONDS = 0.5
# As in the result, so that the same score is the same number.
DIGITS = 6

Corners = tuple[int, int, int, int]


class ThresholdsPayload(TypedDict):
    """On fake probabilities, as :class:`ml.detectors.spec.Thresholds`."""

    fake: float
    real: float
    frame: float


class MediaPayload(TypedDict):
    """The file is readable. Sizes in pixels as displayed; ``frames`` is how many will be looked at, as far as known."""

    media: Literal["video", "image"]
    width: int
    height: int
    duration: float
    frames: int
    thresholds: ThresholdsPayload


class FoundFace(TypedDict):
    """``box`` is x1, y1, x2, y2 in pixels of the upright frame; ``detection`` how sure it is that it is a face."""

    box: Corners
    detection: float


class FramePayload(TypedDict):
    """A frame was searched. ``picture`` says whether a picture of it was kept."""

    frame: int
    time: float
    faces: list[FoundFace]
    picture: bool


class FacePayload(TypedDict):
    """A face was judged, before it is known whose it is."""

    frame: int
    time: float
    box: Corners
    fake_probability: float


class PersonPayload(TypedDict):
    """Somebody who stays, counted from 1, with all faces: holds over what was told of them before."""

    person: int
    fake_probability: float
    faces: list[FacePayload]


class ConcludedPayload(TypedDict):
    """Everything is known; the verdict comes with the result page."""


Payload = MediaPayload | FramePayload | FacePayload | PersonPayload | ConcludedPayload


class LiveMessage(TypedDict):
    """An event as watchers get it: ``number`` counts from 0 without a gap in each stream."""

    number: int
    kind: str
    payload: Any
    # Where the frame's picture can be fetched, if there is one.
    url: NotRequired[str]


@dataclass(slots=True)
class _Waiting:
    kind: LiveEvent.Kind
    payload: Any
    jpeg: bytes | None = None


class LiveStream:
    """The stream of one claimed analysis while it is entered: an :data:`ml.events.EventCallback` that never blocks.

    ``thresholds`` are the detector's. Leaving it waits a moment for what is not yet written.
    """

    def __init__(self, analysis: Analysis, thresholds: ThresholdsPayload) -> None:
        self._analysis = analysis
        self._thresholds = thresholds
        self._waiting: deque[_Waiting] = deque()
        self._pictures_waiting = 0
        self._changed = threading.Condition()
        self._closed = False
        self._broken = False
        self._next_number = 0
        self._thread = threading.Thread(target=self._write_all, name="live", daemon=True)

    def __call__(self, event: Event) -> None:
        waiting = _describe(event, self._thresholds)
        with self._changed:
            if self._broken:
                return
            if waiting.jpeg is not None:
                if self._pictures_waiting >= MAX_WAITING_PICTURES:
                    oldest = next(earlier for earlier in self._waiting if earlier.jpeg is not None)
                    oldest.jpeg = None
                    self._pictures_waiting -= 1
                self._pictures_waiting += 1
            self._waiting.append(waiting)
            self._changed.notify()

    def __enter__(self) -> LiveStream:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(FLUSH_SECONDS)
        if self._thread.is_alive():
            logger.warning("Analysis %s is done before its live view was written", self._analysis)
            with self._changed:
                self._broken = True

    def _write_all(self) -> None:
        try:
            discard_streams(self._analysis, but_of=self._analysis.claim_token)
            while batch := self._take():
                started = time.monotonic()
                if not self._write(batch):
                    break
                nudge(self._analysis)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, MIN_INTERVAL_SECONDS + started - time.monotonic())
        except Exception:
            # Whatever it was, the analysis goes on; its watchers see the result.
            logger.exception("The live view of analysis %s broke off", self._analysis)
        finally:
            with self._changed:
                self._broken = True
                self._waiting.clear()
            # This thread's own connection: nobody else would close it.
            connection.close()

    def _take(self) -> list[_Waiting]:
        """Everything that waits, as soon as anything does. Empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch = list(self._waiting)
            self._waiting.clear()
            self._pictures_waiting = 0
        return batch

    def _write(self, batch: Sequence[_Waiting]) -> bool:
        """Write pictures, then rows. False when nobody will read them: the analysis is deleted, or given up."""
        deadline = time.monotonic() + PICTURES_SECONDS
        for waiting in batch:
            if waiting.jpeg is None:
                continue
            if time.monotonic() < deadline:
                try:
                    evidence.store_preview(self._analysis, waiting.payload["frame"], waiting.jpeg)
                    waiting.payload["picture"] = True
                except StorageTrouble as error:
                    logger.warning("Watchers of analysis %s get no pictures: %s", self._analysis, error)
                    deadline = 0.0
            waiting.jpeg = None
        rows = [
            LiveEvent(
                analysis=self._analysis,
                stream=self._analysis.claim_token,
                number=number,
                kind=waiting.kind,
                payload=waiting.payload,
            )
            for number, waiting in enumerate(batch, start=self._next_number)
        ]
        self._next_number += len(rows)
        while not self._broken:
            try:
                LiveEvent.objects.bulk_create(rows)
            except IntegrityError:
                # Deleted, or what seemed to fail before had been written.
                if not self._is_there():
                    return False
                rows = self._missing(rows)
            except DatabaseError:
                logger.warning("Analysis %s: the live view waits for the database", self._analysis, exc_info=True)
                connection.close()
                time.sleep(RETRY_SECONDS)
            else:
                if connection.features.supports_foreign_keys or self._is_there():
                    return True
                # What no foreign key has refused, nobody else would delete before it is old.
                LiveEvent.objects.filter(analysis=self._analysis).delete()
                return False
        return False

    def _is_there(self) -> bool:
        return Analysis.objects.filter(pk=self._analysis.pk).exists()

    def _missing(self, rows: list[LiveEvent]) -> list[LiveEvent]:
        there = LiveEvent.objects.filter(analysis=self._analysis, stream=self._analysis.claim_token)
        numbers = set(there.values_list("number", flat=True))
        return [row for row in rows if row.number not in numbers]


def _describe(event: Event, thresholds: ThresholdsPayload) -> _Waiting:
    kinds = LiveEvent.Kind
    match event:
        case MediaRead(info, frames):
            payload: Payload = MediaPayload(
                media=info.kind.value,
                width=info.width,
                height=info.height,
                duration=info.duration,
                frames=frames,
                thresholds=thresholds,
            )
            return _Waiting(kinds.MEDIA, payload)
        case FrameSearched(frame, faces, jpeg):
            payload = FramePayload(
                frame=frame.index,
                time=round(frame.time, DIGITS),
                faces=[FoundFace(box=_corners(face.box), detection=round(face.probability, DIGITS)) for face in faces],
                picture=False,
            )
            return _Waiting(kinds.FRAME, payload, jpeg)
        case FaceScored(face):
            return _Waiting(kinds.FACE, _face(face))
        case PersonFound(track):
            payload = PersonPayload(
                person=track.index + 1,
                fake_probability=round(track.fake_probability, DIGITS),
                faces=[_face(face) for face in track.faces],
            )
            return _Waiting(kinds.PERSON, payload)
        case Concluded():
            return _Waiting(kinds.CONCLUDED, ConcludedPayload())


def _face(face: FaceScore) -> FacePayload:
    return FacePayload(
        frame=face.frame,
        time=round(face.time, DIGITS),
        box=_corners(face.box),
        fake_probability=round(face.fake_probability, DIGITS),
    )


def _corners(box: Box) -> Corners:
    return (box.x1, box.y1, box.x2, box.y2)


def read_events(analysis_pk: int, stream: str, start: int) -> list[LiveEvent]:
    """What a stream holds from number ``start`` on, in order and without a gap."""
    events = LiveEvent.objects.filter(analysis_id=analysis_pk, stream=stream, number__gte=start)
    return list(events.order_by("number"))


def read_picture(public_id: str, stream: str, frame: int) -> bytes | None:
    """The JPEG of a sampled frame, None where none was kept, it is gone, or the storage is away."""
    try:
        with default_storage.open(evidence.preview_path(public_id, stream, frame)) as picture:
            return bytes(picture.read())
    except FileNotFoundError:
        return None
    except StorageTrouble as error:
        logger.warning("Watchers of analysis %s get no picture: %s", public_id, error)
        return None


def discard_streams(analysis: Analysis, *, but_of: str = "") -> None:
    """Delete events and sampled frames of all tries, `but_of` the one with this claim."""
    streams = LiveEvent.objects.filter(analysis=analysis).exclude(stream=but_of)
    if streams.exists():
        evidence.discard_previews(analysis, but_of=but_of)
        streams.delete()


def discard_finished() -> int:
    """Delete the streams of analyses that ended some time ago; returns of how many.

    Streams older than any analysis takes go too, in whatever state their analysis is.
    """
    keep = timedelta(seconds=settings.SENTINEL_LIVE_KEEP_SECONDS)
    longest = timedelta(seconds=settings.SENTINEL_ANALYSIS_TIMEOUT_SECONDS)
    now = timezone.now()
    # From the few that have a stream, and not from all that ever ended.
    streams = LiveEvent.objects.order_by()
    watched = list(streams.values_list("analysis_id", flat=True).distinct())
    old = list(streams.filter(created_at__lt=now - keep - longest).values_list("analysis_id", flat=True).distinct())
    analyses = Analysis.objects.filter(Q(pk__in=watched, finished_at__lt=now - keep) | Q(pk__in=old))
    for analysis in analyses:
        discard_streams(analysis)
    # Of analyses that were deleted while their last events were written.
    LiveEvent.objects.filter(created_at__lt=now - keep - longest).delete()
    return len(analyses)


def group_name(public_id: str) -> str:
    """The group of the channel layer that is told when an analysis has something new."""
    return f"analysis.{public_id}"


def nudge(analysis: Analysis) -> None:
    """Tell web processes that there is something to read, if there is a channel layer; else they look by themselves."""
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(group_name(analysis.public_id), {"type": "live.nudge"})
    except (RedisError, OSError):
        # They look by themselves too, only less often.
        logger.warning("Watchers of analysis %s could not be told", analysis, exc_info=True)

"""One reader for everybody who watches: what a web process knows of the analyses that are watched through it.

While anybody watches, one task reads what is new from the database, every 0.15 seconds, or, with a channel layer, when
a worker nudges. What it reads lies in memory once for each analysis, and each watcher has only a place in it: nobody
misses an event or gets it twice, a slow watcher costs no memory and holds up nobody, and another watcher costs
no query. Everything here runs in one event loop; only reading happens in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer
from django.db import Error, connection
from django.urls import reverse
from redis.exceptions import RedisError

from media_analysis import estimates, health, live
from media_analysis.estimates import Outlook
from media_analysis.live import LiveMessage
from media_analysis.models import Analysis, LiveEvent

logger = logging.getLogger(__name__)

READ_EVERY_SECONDS = 0.15
# With a channel layer, only what nobody is nudged about is found so: a place in the queue, a lost worker.
READ_NUDGED_EVERY_SECONDS = 1.0
OUTLOOK_EVERY_SECONDS = 1.0
# At most one second in so many is spent on looking ahead.
OUTLOOK_SHARE = 10
AFTER_ERROR_SECONDS = 1.0
# The newest pictures that are kept for watchers who are a little behind; those further behind skip some.
PICTURES_KEPT = 24
# Events in one message.
EVENTS_AT_ONCE = 100
# So many pictures a second are sent to all watchers together: the more watch, the more pictures each skips, so that
# watching never takes the processor from examining.
PICTURES_A_SECOND = 100.0
# Less often than this, or more pictures behind than this: the newest, not the next.
NEXT_WITHIN_SECONDS = 0.15
NEXT_WITHIN_PICTURES = 12

FINISHED = {Analysis.Status.DONE, Analysis.Status.FAILED}


class State(TypedDict):
    """Where an analysis stands. ``seconds_left`` until its result is an estimate, null if there is nothing to go by.

    ``served`` is false while it waits and no worker lives that could examine it.
    """

    status: str
    stage: str
    progress: int
    position: int
    seconds_left: float | None
    served: bool


class StateMessage(State):
    type: Literal["state"]


class BeginMessage(State):
    """A stream, from event ``number`` on, which is 0 unless it goes on where the watcher had been."""

    type: Literal["begin"]
    stream: str
    number: int
    events: list[LiveMessage]


class EventsMessage(TypedDict):
    type: Literal["events"]
    events: list[LiveMessage]


class FinishedMessage(TypedDict):
    type: Literal["finished"]
    status: str
    url: str


class GoneMessage(TypedDict):
    """Never sent: the socket is closed."""

    type: Literal["gone"]


class HeartbeatMessage(TypedDict):
    type: Literal["heartbeat"]


Message = StateMessage | BeginMessage | EventsMessage | FinishedMessage | GoneMessage | HeartbeatMessage | bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """``sequence`` counts the pictures of a stream as they were read."""

    sequence: int
    frame: int
    jpeg: bytes

    def message(self) -> bytes:
        """The frame's number in four bytes, the most significant first, then the JPEG."""
        return self.frame.to_bytes(4, "big") + self.jpeg


@dataclass(slots=True, eq=False)
class Stream:
    """What one try told so far. Without a name: nothing runs."""

    name: str
    events: list[LiveMessage] = field(default_factory=list)
    pictures: deque[Picture] = field(default_factory=lambda: deque(maxlen=PICTURES_KEPT))
    pictures_read: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read of one analysis: its stream from number ``start`` on."""

    pk: int
    stream: str
    start: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read; ``stream`` is the one that ``events`` belong to."""

    status: Analysis.Status
    stage: str
    progress: int
    stream: str
    events: Sequence[LiveEvent]


def read(wanted: Iterable[Wanted]) -> dict[int, Reading]:
    """The rows as they are, with the events that are new. What is not there any more is left out.

    The row is read before the events: whoever sees that a try has ended has all of it.
    """
    by_pk = {each.pk: each for each in wanted}
    rows = Analysis.objects.filter(pk__in=by_pk, media__deleted_at__isnull=True)
    found = {}
    for pk, status, stage, progress, claim in rows.values_list("pk", "status", "stage", "progress", "claim_token"):
        each = by_pk[pk]
        # The claim is taken off a finished analysis, but the rest of its stream is wanted.
        stream = each.stream if status in FINISHED else claim
        start = each.start if stream == each.stream else 0
        events = live.read_events(pk, stream, start) if stream else []
        found[pk] = Reading(Analysis.Status(status), stage, progress, stream, events)
    return found


def read_outlooks(pks: list[int]) -> dict[int, Outlook]:
    """What those that wait or run have to expect."""
    return estimates.outlooks(pks, health.workers_state().abilities)


def close_connection() -> None:
    """The one of the thread that this runs in."""
    connection.close()


class Watched:
    """One analysis that somebody watches."""

    def __init__(self, pk: int, public_id: str) -> None:
        self.pk = pk
        self.public_id = public_id
        self.watchers: set[Watcher] = set()
        self.state: State | None = None
        self.stream = Stream("")
        self.gone = False

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.pk, self.stream.name, len(self.stream.events))

    @property
    def is_finished(self) -> bool:
        return self.state is not None and self.state["status"] in FINISHED

    def take(self, reading: Reading | None, outlook: Outlook | None) -> list[int]:
        """Bring up to date by what was read; returns the frames whose pictures are new."""
        if reading is None:
            self.gone = True
            return []
        if reading.stream != self.stream.name:
            self.stream = Stream(reading.stream)
        running_or_waiting = reading.status not in FINISHED
        self.state = State(
            status=reading.status.value,
            stage=reading.stage,
            progress=reading.progress,
            position=outlook.position if outlook and running_or_waiting else 0,
            seconds_left=outlook.seconds_left if outlook and running_or_waiting else None,
            served=outlook.served if outlook and running_or_waiting else True,
        )
        frames = []
        for event in reading.events:
            message = LiveMessage(number=event.number, kind=event.kind, payload=event.payload)
            if event.kind == LiveEvent.Kind.FRAME and event.payload["picture"]:
                frame = event.payload["frame"]
                message["url"] = reverse("media_analysis:live_picture", args=[self.public_id, self.stream.name, frame])
                frames.append(frame)
            self.stream.events.append(message)
        return frames

    def wake(self) -> None:
        for watcher in self.watchers:
            watcher.awake.set()


class Watcher:
    """One who watches: a place in what is known of an analysis.

    ``has_stream`` and ``has_events`` say what the watcher has already, from an earlier connection.
    """

    def __init__(self, watched: Watched, hub: Hub, has_stream: str = "", has_events: int = 0) -> None:
        self.awake = asyncio.Event()
        self.watched = watched
        self._hub = hub
        self._has_stream = has_stream
        self._has_events = has_events
        self._stream: Stream | None = None
        self._next_event = 0
        self._next_picture = 0
        self._picture_due = 0.0
        self._state: State | None = None

    def next_message(self, now: float) -> tuple[Message | None, float | None]:
        """What to send next, at ``now`` on the monotonic clock; else None and in how many seconds to ask again."""
        watched = self.watched
        if watched.gone:
            return GoneMessage(type="gone"), None
        if watched.state is None:
            return None, None
        if self._stream is not watched.stream:
            return self._begin(watched.stream, watched.state), None
        if message := self._news(watched.stream, watched.state):
            return message, None
        return self._picture(watched.stream, now)

    def _news(self, stream: Stream, state: State) -> Message | None:
        """Events before the end, so that nothing is missing then; pictures only if there is neither."""
        if self._next_event < len(stream.events):
            return EventsMessage(type="events", events=self._take_events(stream))
        if state["status"] in FINISHED:
            url = reverse("reports:result", args=[self.watched.public_id])
            return FinishedMessage(type="finished", status=state["status"], url=url)
        if self._state != state:
            self._state = state
            return StateMessage(type="state", **state)
        return None

    def _begin(self, stream: Stream, state: State) -> BeginMessage:
        goes_on = self._stream is None and stream.name and stream.name == self._has_stream
        self._stream, self._state = stream, state
        self._next_event = min(self._has_events, len(stream.events)) if goes_on else 0
        # Of those shown before, only the newest is sent unasked.
        self._next_picture = max(stream.pictures_read - 1, 0)
        number = self._next_event
        return BeginMessage(type="begin", stream=stream.name, number=number, events=self._take_events(stream), **state)

    def _take_events(self, stream: Stream) -> list[LiveMessage]:
        events = stream.events[self._next_event : self._next_event + EVENTS_AT_ONCE]
        self._next_event += len(events)
        return events

    def _picture(self, stream: Stream, now: float) -> tuple[bytes | None, float | None]:
        waiting = [picture for picture in stream.pictures if picture.sequence >= self._next_picture]
        if not waiting:
            return None, None
        if now < self._picture_due:
            return None, self._picture_due - now
        interval = self._hub.picture_interval
        skips = interval > NEXT_WITHIN_SECONDS or len(waiting) > NEXT_WITHIN_PICTURES
        picture = waiting[-1] if skips else waiting[0]
        self._next_picture = picture.sequence + 1
        self._picture_due = now + interval
        return picture.message(), None


class Hub:
    """All that is watched through this process. Bound to the event loop that it was made in."""

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._nudged = asyncio.Event()
        self._outlooks: dict[int, Outlook] = {}
        self._outlooks_due = float("-inf")
        # A thread of its own keeps its database connection, where others open one for each question.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live")
        self._ear = Ear(self._nudged) if get_channel_layer() is not None else None

    @property
    def picture_interval(self) -> float:
        """Seconds between two pictures for one watcher."""
        return self._watchers / PICTURES_A_SECOND

    async def join(self, pk: int, public_id: str, *, has_stream: str = "", has_events: int = 0) -> Watcher:
        watched = self._watched.get(pk)
        if watched is None:
            watched = self._watched[pk] = Watched(pk, public_id)
        watcher = Watcher(watched, self, has_stream, has_events)
        watched.watchers.add(watcher)
        self._watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        if self._ear is not None:
            await self._ear.listen_for(public_id)
        self._nudged.set()
        return watcher

    async def leave(self, watcher: Watcher) -> None:
        watched = watcher.watched
        if watcher not in watched.watchers:
            return
        watched.watchers.discard(watcher)
        self._watchers -= 1
        if not watched.watchers and self._watched.get(watched.pk) is watched:
            del self._watched[watched.pk]
            if self._ear is not None:
                await self._ear.forget(watched.public_id)
        self._nudged.set()

    async def _run(self) -> None:
        """Read as long as anybody watches."""
        # Asked again after the last pause: whoever came meanwhile has found this task at work.
        while self._watched:
            try:
                await self._read_on()
            finally:
                await self._in_thread(close_connection)

    async def _read_on(self) -> None:
        while self._watched:
            self._nudged.clear()
            pause = READ_EVERY_SECONDS if self._ear is None else READ_NUDGED_EVERY_SECONDS
            try:
                await self._read()
            except Error:
                logger.warning("The live view cannot reach the database", exc_info=True)
                await self._in_thread(close_connection)
                await asyncio.sleep(AFTER_ERROR_SECONDS)
            try:
                await asyncio.wait_for(self._nudged.wait(), pause)
            except TimeoutError:
                continue
            # Nudges of one moment are answered together.
            await asyncio.sleep(READ_EVERY_SECONDS / 5)

    async def _read(self) -> None:
        watched = {pk: each for pk, each in self._watched.items() if not (each.is_finished or each.gone)}
        if not watched:
            return
        readings = await self._in_thread(read, [each.wanted for each in watched.values()])
        now = time.monotonic()
        if now >= self._outlooks_due:
            self._outlooks = await self._in_thread(read_outlooks, list(watched))
            # In a very long queue it takes its time, which is then asked for less often.
            took = time.monotonic() - now
            self._outlooks_due = now + max(OUTLOOK_EVERY_SECONDS, OUTLOOK_SHARE * took)
        pictures: list[tuple[Watched, int]] = []
        for pk, each in watched.items():
            frames = each.take(readings.get(pk), self._outlooks.get(pk))
            pictures += [(each, frame) for frame in frames[-PICTURES_KEPT:]]
            each.wake()
        for each, frame in pictures:
            stream = each.stream
            jpeg = await self._in_thread(live.read_picture, each.public_id, stream.name, frame)
            if jpeg is not None:
                stream.pictures.append(Picture(stream.pictures_read, frame, jpeg))
                stream.pictures_read += 1
                each.wake()

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


class Ear:
    """Hears nudges for this process through the channel layer, whose failures it survives."""

    def __init__(self, nudged: asyncio.Event) -> None:
        self._nudged = nudged
        self._layer: Any = get_channel_layer()
        self._channel = ""
        self._public_ids: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def listen_for(self, public_id: str) -> None:
        if public_id in self._public_ids:
            return
        self._public_ids.add(public_id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        elif self._channel:
            await self._try(self._layer.group_add(live.group_name(public_id), self._channel))

    async def forget(self, public_id: str) -> None:
        self._public_ids.discard(public_id)
        if self._channel:
            await self._try(self._layer.group_discard(live.group_name(public_id), self._channel))

    async def _listen(self) -> None:
        while True:
            try:
                self._channel = await self._layer.new_channel()
                for public_id in list(self._public_ids):
                    await self._layer.group_add(live.group_name(public_id), self._channel)
                # Between the first look and now, nobody was heard.
                self._nudged.set()
                while True:
                    await self._layer.receive(self._channel)
                    self._nudged.set()
            except (RedisError, OSError):
                logger.warning("The channel layer is not there: watchers see news later", exc_info=True)
                await asyncio.sleep(AFTER_ERROR_SECONDS)

    async def _try(self, call: Any) -> None:
        try:
            await call
        except (RedisError, OSError):
            # The listening task will meet the same and start anew.
            logger.warning("The channel layer is not there: watchers see news later", exc_info=True)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]

"""Whether this installation can take work: its database, its queue, its workers, the detector they have loaded.

Workers say that they live in :class:`WorkerState`. The process that guards the queue has a row under its host and
number, which it renews as long as the queue's processes run, and which says what they can do. Each process that
examines files has one below that, from when it has loaded the detector, which a thread of its own renews: when it is
killed, its word goes stale with it.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.db import DatabaseError, Error, connection
from django.db.models import Count, Min, Q

from accounts import clock
from accounts.models import User
from media_analysis import scheduling
from media_analysis.models import Analysis, WorkerState
from media_analysis.scheduling import Ability

logger = logging.getLogger(__name__)

# A worker that was not heard of for longer does not count.
ALIVE_FOR = timedelta(seconds=30)
# Much shorter than that, so that one late word changes nothing.
BEAT_SECONDS = 5.0
# What is older tells nobody anything any more.
FORGOTTEN_AFTER = timedelta(hours=1)
DATABASE_SECONDS = 2.0
# Between the name of a queue's guard and the number of one of its processes.
BELOW = "/"

# Bounded, so that a database that hangs does not gather threads.
_askers = ThreadPoolExecutor(2, thread_name_prefix="health")
# Until when the last answer holds, on the monotonic clock.
_there_until = 0.0


class QueueFigure(NamedTuple):
    """What there is to do in a lane under a priority, whose name is in lower case."""

    lane: str
    priority: str
    waiting: int
    running: int
    # For how long the oldest has waited; None when none waits.
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class LaneState:
    """How much waits and runs in a lane, for how long the oldest has waited, and how many workers serve it."""

    lane: str
    waiting: int
    running: int
    oldest_waiting_seconds: float | None
    workers: int


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many analyses wait and run, and for how long the oldest has waited.

    ``unserved`` are those waiting that no worker that lives can do.
    """

    waiting: int
    running: int
    oldest_waiting_seconds: float | None
    unserved: int
    lanes: list[LaneState]


@dataclass(frozen=True, slots=True)
class WorkersState:
    """How many queues are alive, when one was last heard of, and which detector their processes have loaded, if any.

    ``abilities`` are those of the ones that still take something.
    """

    alive: int
    last_seen: datetime | None
    detector: str
    detector_version: str
    abilities: tuple[Ability, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """Everything at one moment; `queue` and `workers` are None where the database did not tell in time."""

    database_seconds: float | None
    queue: QueueState | None
    workers: WorkersState | None

    @property
    def fit(self) -> bool:
        """Whether new work can be taken and will be done."""
        return self.workers is not None and self.workers.alive > 0


def check_health() -> Health:
    """Ask the database, for DATABASE_SECONDS at most."""
    begun = time.monotonic()
    try:
        queue, workers = _askers.submit(_ask).result(timeout=DATABASE_SECONDS)
    except (Error, TooLate) as error:
        logger.error("The database did not tell how things are: %r", error)
        return Health(database_seconds=None, queue=None, workers=None)
    return Health(database_seconds=time.monotonic() - begun, queue=queue, workers=workers)


async def database_is_there() -> bool:
    """Whether the database answers, asked for DATABASE_SECONDS at most, and no more than once a second."""
    global _there_until  # noqa: PLW0603 -- one for each process
    now = time.monotonic()
    if now < _there_until:
        return True
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            await asyncio.wrap_future(_askers.submit(_reach_database))
    except (Error, TimeoutError) as error:
        logger.warning("The database is away, so no files are taken: %r", error)
        return False
    _there_until = now + 1.0
    return True


def _reach_database() -> None:
    try:
        connection.ensure_connection()
        # Not only the connection: the database may be starting up, or be read-only.
        User.objects.order_by().values_list("pk", flat=True)[:1].get()
    except User.DoesNotExist:
        return
    finally:
        # This thread's own connection: nobody else would close it.
        connection.close()


def queue_figures() -> list[QueueFigure]:
    """How much there is to do, by lane and priority; each lane that is known is there with each priority."""
    states = Analysis.Status
    unfinished = Analysis.objects.filter(status__in=[states.QUEUED, states.RUNNING]).exclude(lane="")
    rows = unfinished.order_by().values_list("lane", "priority", "status").annotate(Count("pk"), Min("queued_at"))
    counts: dict[tuple[str, int, str], int] = {}
    oldest: dict[tuple[str, int], datetime] = {}
    for lane, priority, status, count, since in rows:
        counts[lane, priority, status] = count
        if status == states.QUEUED:
            oldest[lane, priority] = since
    now = clock.now()
    lanes = sorted({*scheduling.known_lanes(), *(lane for lane, _priority, _status in counts)})
    return [
        QueueFigure(
            lane,
            priority.name.lower(),
            counts.get((lane, priority, states.QUEUED), 0),
            counts.get((lane, priority, states.RUNNING), 0),
            _age(oldest.get((lane, priority)), now),
        )
        for lane in lanes
        for priority in Analysis.Priority
    ]


def queue_state(abilities: tuple[Ability, ...] = ()) -> QueueState:
    """What there is to do, and how much of it workers of these abilities can do."""
    figures = queue_figures()
    by_lane: dict[str, list[QueueFigure]] = {}
    for figure in figures:
        by_lane.setdefault(figure.lane, []).append(figure)
    return QueueState(
        waiting=sum(figure.waiting for figure in figures),
        running=sum(figure.running for figure in figures),
        oldest_waiting_seconds=_longest(figures),
        unserved=_count_unserved(abilities),
        lanes=[
            LaneState(
                lane=lane,
                waiting=sum(figure.waiting for figure in of_lane),
                running=sum(figure.running for figure in of_lane),
                oldest_waiting_seconds=_longest(of_lane),
                workers=sum(lane in ability.lanes for ability in abilities),
            )
            for lane, of_lane in by_lane.items()
        ],
    )


def is_served(analysis: Analysis) -> bool:
    """Whether a worker lives that can do what this analysis waits for."""
    return any(ability.can_do(analysis.lane, analysis.wanted_detector) for ability in workers_state().abilities)


def workers_state() -> WorkersState:
    alive = list(WorkerState.objects.filter(seen_at__gt=clock.now() - ALIVE_FOR).order_by("started_at"))
    guards = [worker for worker in alive if BELOW not in worker.name]
    # Which have it now; after a change of detector, the one that was loaded last.
    loaded = [worker for worker in alive if BELOW in worker.name and worker.detector][-1:]
    return WorkersState(
        alive=len(guards),
        last_seen=max((worker.seen_at for worker in guards), default=None),
        detector=loaded[0].detector if loaded else "",
        detector_version=loaded[0].detector_version if loaded else "",
        abilities=tuple(Ability(tuple(guard.lanes), guard.detector) for guard in guards if not guard.draining),
    )


def _count_unserved(abilities: tuple[Ability, ...]) -> int:
    rows = Analysis.objects.filter(status=Analysis.Status.QUEUED).exclude(lane="").order_by()
    kinds = rows.values_list("lane", "wanted_detector").annotate(Count("pk"))
    return sum(count for lane, wanted, count in kinds if not any(ability.can_do(lane, wanted) for ability in abilities))


def _longest(figures: list[QueueFigure]) -> float | None:
    return max((figure.oldest_seconds for figure in figures if figure.oldest_seconds is not None), default=None)


def _age(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else max((now - since).total_seconds(), 0.0)


class WorkerBeat:
    """What one worker says about itself: made by the guard of a queue, inherited by the processes it forks."""

    # That of this process, None where files are examined outside of a worker: on the command line, in tests.
    current: ClassVar[WorkerBeat | None] = None

    def __init__(self) -> None:
        self.name = host_and_number()
        # Set once the worker takes nothing more; its processes see it.
        self._draining = multiprocessing.Event()
        # What a process that examines files says of itself; its own after the fork.
        self._known: dict[str, str] = {}

    @classmethod
    def begin(cls) -> WorkerBeat:
        """In the guard, before it forks."""
        cls.current = cls()
        return cls.current

    def alive(self) -> None:
        """The queue's processes run: renew the guard's row."""
        ability = scheduling.own_ability()
        self._say(self.name, lanes=list(ability.lanes), detector=ability.detector, draining=self.is_draining)

    def drain(self) -> None:
        """From now on nothing more is taken: seen by the processes at once, by everybody with the next word."""
        self._draining.set()

    @property
    def is_draining(self) -> bool:
        return self._draining.is_set()

    def starting(self) -> None:
        """This process is to examine files, and begins to load what it needs: say so for as long as it lives."""
        self._begin({"detector": "", "detector_version": ""})

    def loaded(self, detector: str, version: str) -> None:
        """This process has loaded a detector: say so from now on, for as long as it lives."""
        self._begin({"detector": detector, "detector_version": version})

    def _begin(self, known: dict[str, str]) -> None:
        begun = bool(self._known)
        # Read by the thread at its next word.
        self._known = known
        name = f"{self.name}{BELOW}{os.getpid()}"
        if not begun:
            threading.Thread(target=self._keep_saying, args=(name,), name="worker-state", daemon=True).start()
        else:
            self._try_to_say(name)

    def stopped(self) -> None:
        """The queue has ended, and its processes with it."""
        try:
            WorkerState.objects.filter(Q(name=self.name) | Q(name__startswith=self.name + BELOW)).delete()
        except DatabaseError:
            # Their last words go stale by themselves.
            logger.exception("Could not say that the worker stopped")

    def _keep_saying(self, name: str) -> None:
        while True:
            try:
                self._try_to_say(name)
            finally:
                connection.close()
            time.sleep(BEAT_SECONDS)

    def _try_to_say(self, name: str) -> None:
        try:
            self._say(name, **self._known)
        except DatabaseError:
            # It may be away for a moment; what depends on it notices by itself.
            logger.exception("Could not say that the worker lives")

    @staticmethod
    def _say(name: str, **known: Any) -> None:
        WorkerState.objects.update_or_create(name=name, defaults={"seen_at": clock.now(), **known})


def host_and_number() -> str:
    """This process among those of all hosts."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}"


def process_name() -> str:
    """This process, below the worker that answers for it if there is one."""
    beat = WorkerBeat.current
    return host_and_number() if beat is None else f"{beat.name}{BELOW}{os.getpid()}"


def worker_name() -> str:
    """What the names of this worker's processes begin with; empty outside of one."""
    return f"{WorkerBeat.current.name}{BELOW}" if WorkerBeat.current is not None else ""


def is_draining() -> bool:
    """Whether the worker that this process belongs to takes nothing more."""
    return WorkerBeat.current is not None and WorkerBeat.current.is_draining


def announce_start() -> None:
    """Tell that this process begins to load what it needs, if it is a worker's."""
    if WorkerBeat.current is not None:
        WorkerBeat.current.starting()


def is_starting() -> bool:
    """Whether a process that is to examine files still loads what it needs, for no longer than an examination takes."""
    now = clock.now()
    recent = now - timedelta(seconds=settings.SENTINEL_ANALYSIS_TIMEOUT_SECONDS)
    starting = WorkerState.objects.filter(name__contains=BELOW, detector="", started_at__gt=recent)
    return starting.filter(seen_at__gt=now - ALIVE_FOR).exists()


def announce_detector(name: str, version: str) -> None:
    """Tell that this process has loaded a detector, if it is a worker's."""
    if WorkerBeat.current is not None:
        WorkerBeat.current.loaded(name, version)


def sweep_workers() -> int:
    """Delete the last words of workers that are long gone; returns how many."""
    deleted, _ = WorkerState.objects.filter(seen_at__lt=clock.now() - FORGOTTEN_AFTER).delete()
    return deleted


def _ask() -> tuple[QueueState, WorkersState]:
    try:
        workers = workers_state()
        return queue_state(workers.abilities), workers
    finally:
        # This thread's own connection: nobody else would close it.
        connection.close()

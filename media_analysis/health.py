"""Whether this installation can take work: its database, its queue, its workers, the detector they have loaded.

Workers say that they live in :class:`WorkerState`. The process that guards the queue has a row under its host and
number, which it renews as long as the queue's processes run. Each process that examines files has one below that, from
when it has loaded the detector, which a thread of its own renews: when it is killed, its word goes stale with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import DatabaseError, Error, connection
from django.db.models import Count, Max, Min, Q
from django.utils import timezone

from accounts.models import User
from media_analysis.models import Analysis, WorkerState

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


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many analyses wait and run, and since when the oldest waits."""

    waiting: int
    running: int
    oldest_waiting: datetime | None

    @property
    def oldest_waiting_seconds(self) -> float | None:
        if self.oldest_waiting is None:
            return None
        return max((timezone.now() - self.oldest_waiting).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class WorkersState:
    """How many queues are alive, when one was last heard of, and which detector their processes have loaded, if any."""

    alive: int
    last_seen: datetime | None
    detector: str
    detector_version: str


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


def queue_state() -> QueueState:
    waiting = Q(status=Analysis.Status.QUEUED)
    unfinished = Analysis.objects.filter(status__in=[Analysis.Status.QUEUED, Analysis.Status.RUNNING])
    # What is still being fetched waits for its site, not for us.
    counted = unfinished.exclude(stage=Analysis.Stage.FETCHING).aggregate(
        waiting=Count("pk", filter=waiting),
        running=Count("pk", filter=~waiting),
        oldest_waiting=Min("created_at", filter=waiting),
    )
    return QueueState(**counted)


def workers_state() -> WorkersState:
    alive = WorkerState.objects.filter(seen_at__gt=timezone.now() - ALIVE_FOR)
    guards = alive.exclude(name__contains=BELOW).aggregate(alive=Count("pk"), last_seen=Max("seen_at"))
    # Which have it now; after a change of detector, the one that was loaded last.
    loaded = alive.exclude(detector="").order_by("-started_at").first()
    return WorkersState(
        alive=guards["alive"],
        last_seen=guards["last_seen"],
        detector=loaded.detector if loaded else "",
        detector_version=loaded.detector_version if loaded else "",
    )


class WorkerBeat:
    """What one worker says about itself: made by the guard of a queue, inherited by the processes it forks."""

    # That of this process, None where files are examined outside of a worker: on the command line, in tests.
    current: ClassVar[WorkerBeat | None] = None

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()[:100]}:{os.getpid()}"
        # What a process that examines files says of itself; its own after the fork.
        self._known: dict[str, str] = {}

    @classmethod
    def begin(cls) -> WorkerBeat:
        """In the guard, before it forks."""
        cls.current = cls()
        return cls.current

    def alive(self) -> None:
        """The queue's processes run: renew the guard's row."""
        self._say(self.name)

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
    def _say(name: str, **known: str) -> None:
        WorkerState.objects.update_or_create(name=name, defaults={"seen_at": timezone.now(), **known})


def announce_start() -> None:
    """Tell that this process begins to load what it needs, if it is a worker's."""
    if WorkerBeat.current is not None:
        WorkerBeat.current.starting()


def is_starting() -> bool:
    """Whether a process that is to examine files still loads what it needs, for no longer than an examination takes."""
    now = timezone.now()
    recent = now - timedelta(seconds=settings.SENTINEL_ANALYSIS_TIMEOUT_SECONDS)
    starting = WorkerState.objects.filter(name__contains=BELOW, detector="", started_at__gt=recent)
    return starting.filter(seen_at__gt=now - ALIVE_FOR).exists()


def announce_detector(name: str, version: str) -> None:
    """Tell that this process has loaded a detector, if it is a worker's."""
    if WorkerBeat.current is not None:
        WorkerBeat.current.loaded(name, version)


def sweep_workers() -> int:
    """Delete the last words of workers that are long gone; returns how many."""
    deleted, _ = WorkerState.objects.filter(seen_at__lt=timezone.now() - FORGOTTEN_AFTER).delete()
    return deleted


def _ask() -> tuple[QueueState, WorkersState]:
    try:
        return queue_state(), workers_state()
    finally:
        # This thread's own connection: nobody else would close it.
        connection.close()

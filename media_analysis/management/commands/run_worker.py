from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, connections
from django.utils.module_loading import import_string
from django_q.cluster import Cluster
from django_q.signals import post_spawn

from accounts.services import forget_ended
from media_analysis import deliveries, fetching, health, housekeeping, services, signals, signs_of_life
from ml.detectors.loaded import was_loaded

logger = logging.getLogger("sentinel.worker")

# sysexits.h: what a supervisor should not, and should, answer with a new start.
EXIT_CONFIGURATION = 78
EXIT_TRY_AGAIN = 75
TIDY_SECONDS = 5.0
ENDING_SECONDS = 1.0
SWEEP_SECONDS = 600.0
PR_SET_PDEATHSIG = 1
WARM_UP = "media_analysis.tasks.warm_up"


class Command(BaseCommand):
    help = "Run the worker: takes analyses from the queue, and looks after those that got lost."

    def handle(self, *args: Any, **options: Any) -> None:
        if not detector_loads():
            # It has said why on stderr. Never run without its weights.
            sys.exit(EXIT_CONFIGURATION)
        if sys.platform == "linux":
            os.register_at_fork(after_in_child=die_with_parent)
        post_spawn.connect(warm_up, dispatch_uid="media_analysis.run_worker")
        # A connection must not be shared with the processes that are forked now.
        connections.close_all()
        beat = health.WorkerBeat.begin()
        cluster = Cluster()
        # In place of the cluster's own answer to signals.
        ending = Ending()
        cluster.start()
        signs_of_life.show("READY=1")
        lanes = ", ".join(settings.SENTINEL_WORKER_LANES)
        self.stdout.write(f"Worker ready with detector {settings.SENTINEL_DETECTOR} for {lanes}.")
        # Threads of this process, which forks no more: see media_analysis.deliveries for why not jobs in the queue.
        sender, fetcher = deliveries.Sender(), fetching.Fetcher()
        sender.start()
        fetcher.start()
        others: list[Any] = [thread for _receiver, thread in signals.worker_starts.send(sender=Command) if thread]
        watch = housekeeping.IdleWatch()
        next_sweep = 0.0
        while cluster.sentinel.is_alive() or (ending.is_asked and fetcher.is_busy):
            if ending.is_asked and not beat.is_draining:
                self.stdout.write(f"Ending: what runs has {settings.SENTINEL_DRAIN_SECONDS:g} s to finish.")
                signs_of_life.show("STOPPING=1")
                beat.drain()
                fetcher.drain()
                # Its guard ends it once every process is through with what it has.
                cluster.stop_event.set()
            if ending.is_due:
                break
            signs_of_life.show()
            next_sweep, stuck = look_after(beat, watch, next_sweep)
            if stuck and not ending.is_asked:
                logger.critical("Analyses wait and this worker takes none: starting anew")
                os.kill(cluster.sentinel.pid, signal.SIGKILL)
                beat.stopped()
                sys.exit(EXIT_TRY_AGAIN)
            wait(cluster, ending)
        if ending.is_asked:
            give_back(beat, cluster)
        for thread in (*others, fetcher, sender):
            thread.stop()
        beat.stopped()
        signs_of_life.gone()
        if not ending.is_asked:
            logger.critical("The queue's guard died: starting anew")
            sys.exit(EXIT_TRY_AGAIN)


class Ending:
    """Notes that this process is asked to end, by SIGTERM or Ctrl-C; asked again, it does so without waiting."""

    def __init__(self) -> None:
        self._due_at: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        # What takes time is not for a signal's handler.
        patience = settings.SENTINEL_DRAIN_SECONDS if self._due_at is None else 0.0
        self._due_at = time.monotonic() + patience

    @property
    def is_asked(self) -> bool:
        return self._due_at is not None

    @property
    def is_due(self) -> bool:
        """Whether what is still in hand has to be given back now."""
        return self._due_at is not None and time.monotonic() >= self._due_at


def give_back(beat: health.WorkerBeat, cluster: Cluster) -> None:
    """What did not get through in time waits again for other workers, and our processes end."""
    try:
        if given := services.give_back_running(beat.name):
            logger.warning("%s analyses were given back to the queue, unfinished", given)
    except Error:
        # Then it is noticed when their heartbeats stand still.
        logger.exception("What was unfinished could not be given back")
    if cluster.sentinel.is_alive():
        os.kill(cluster.sentinel.pid, signal.SIGKILL)


def look_after(beat: health.WorkerBeat, watch: housekeeping.IdleWatch, next_sweep: float) -> tuple[float, bool]:
    """One round of housekeeping, and a sign of life.

    Returns when the next sweep is due, on the monotonic clock, and whether the workers are stuck.
    """
    stuck = False
    try:
        beat.alive()
        housekeeping.tidy_up()
        stuck = watch.is_stuck()
        if time.monotonic() >= next_sweep:
            housekeeping.sweep_abandoned_files()
            housekeeping.sweep_expired()
            forget_ended()
            next_sweep = time.monotonic() + SWEEP_SECONDS
    except Error:
        # The database may be away for a moment; the next round tries again.
        logger.exception("Housekeeping could not reach the database")
        housekeeping.database_was_away()
    finally:
        connections.close_all()
    return next_sweep, stuck


def wait(cluster: Cluster, ending: Ending) -> None:
    """Sleep until the next round; not on as soon as this process is asked to end, and shortly while it ends."""
    was_asked = ending.is_asked
    end = time.monotonic() + (ENDING_SECONDS if was_asked else TIDY_SECONDS)
    while time.monotonic() < end and cluster.sentinel.is_alive() and ending.is_asked == was_asked:
        time.sleep(0.2)


def detector_loads() -> bool:
    """Whether the chosen detector can be loaded, tried in a process of its own unless it was before.

    This process must stay free of torch, whose thread pools do not survive the forks by which the queue makes its
    workers.
    """
    weights = [Path(path) for path in settings.SENTINEL_DETECTOR_WEIGHTS]
    if was_loaded(settings.SENTINEL_DETECTOR, weights):
        return True
    command = [sys.executable, "-m", "ml.detectors.check", settings.SENTINEL_DETECTOR, *map(str, weights)]
    return subprocess.run(command, cwd=settings.BASE_DIR, check=False).returncode == 0  # noqa: S603 -- our own module


def warm_up(**_of_the_signal: Any) -> None:
    """In a process that will examine files, before it takes the first: only there may torch be imported."""
    import_string(WARM_UP)()


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that happens.

    Otherwise the workers of a killed queue would go on next to those of its successor.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

"""Fetching what `links` accepted: by threads beside the queue, so that a slow site never keeps a file waiting.

`downloads` does the fetching; here its progress, its file or its failure are written down. Whatever goes wrong ends as
an error code with a problem, and what was spent is given back.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType

from django.conf import settings
from django.db import Error, connections

from accounts.errors import SentinelError, is_disk_full
from media_analysis import links, live
from media_analysis.downloads import CODES, Wanted, Watch, fetch_file, temporary_folder
from media_analysis.heartbeat import Heartbeat
from media_analysis.models import Analysis, LinkSource
from media_analysis.room import lacks_room
from media_analysis.storage import StorageTrouble
from media_analysis.video_sites import SiteError
from ml.contracts import MediaKind

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Writing more often than this makes nothing look smoother.
MIN_INTERVAL_SECONDS = 0.5
# After a storage that is away, or a full disk.
PAUSE_SECONDS = 5.0


class Stopped(Exception):
    """This process is asked to end."""


class ClaimWatch(Watch):
    """Keeps the claim on a link alive while it is entered, and tells its analysis how far the file is.

    Calling it raises also :class:`links.Lost` once the claim is lost, and :class:`Stopped` when the process is asked to
    end.
    """

    def __init__(self, analysis: Analysis, stopped: threading.Event) -> None:
        super().__init__(self._report)
        self._analysis = analysis
        self._stopped = stopped
        self._percent = 0
        self._told_at = 0.0
        self._heartbeat = Heartbeat(f"link of analysis {analysis}", lambda: links.report_progress(analysis))

    def __call__(self, share: float | None = None) -> None:
        if self._stopped.is_set():
            raise Stopped
        if self._heartbeat.is_lost:
            raise links.Lost
        super().__call__(share)

    def _report(self, share: float) -> None:
        now, percent = time.monotonic(), int(100 * share)
        if percent == self._percent or now - self._told_at < MIN_INTERVAL_SECONDS:
            return
        self._percent, self._told_at = percent, now
        if not links.report_progress(self._analysis, percent):
            raise links.Lost
        live.nudge(self._analysis)

    def __enter__(self) -> ClaimWatch:
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()


def fetch(analysis: Analysis, stopped: threading.Event) -> None:
    """Fetch the file of a claimed analysis, and have it examined; or write down why there is none."""
    if analysis.media.file:
        links.hand_over(analysis)
        return
    try:
        with temporary_folder() as folder, ClaimWatch(analysis, stopped) as watch:
            fetched = fetch_file(_wanted(analysis.media.link), folder, watch, partial(links.note_origin, analysis))
            links.finish_fetch(analysis, fetched.staged, fetched.info, **fetched.origin)
    except Stopped:
        links.release_fetch(analysis, broken=False)
    except links.Lost:
        logger.info("Analysis %s was taken away or deleted while its link was fetched", analysis)
    except SiteError as error:
        # What a link into our own network was refused for is for the log alone.
        level = logging.WARNING if error.detail else logging.INFO
        logger.log(level, "The link of analysis %s: %s %s", analysis, error.problem, error.detail)
        links.fail_fetch(analysis, CODES[error.problem], error.problem)
    except StorageTrouble as error:
        # What was fetched has no place now: later once more, and that is no fault of the link.
        logger.warning("The link of analysis %s waits for the storage: %s", analysis, error)
        stopped.wait(PAUSE_SECONDS)
        links.release_fetch(analysis, broken=False)
    except SentinelError as error:
        logger.info("The file at the link of analysis %s: %s", analysis, error.code)
        links.fail_fetch(analysis, error.code)
    except Exception as error:
        logger.exception("Fetching the link of analysis %s broke off on try %s", analysis, analysis.attempts)
        if is_disk_full(error):
            stopped.wait(PAUSE_SECONDS)
        links.release_fetch(analysis, broken=not is_disk_full(error))
    live.nudge(analysis)


def _wanted(link: LinkSource) -> Wanted:
    return Wanted(link.url, links.cut_of(link), MediaKind(link.wanted_kind) if link.wanted_kind else None)


class Fetcher(threading.Thread):
    """Fetches what waits, a few links at a time, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(name="fetcher", daemon=True)
        self._stopped = threading.Event()
        self._told = False
        self._draining = False
        self._free = threading.Semaphore(settings.SENTINEL_LINK_FETCHERS)
        self._running: set[Future[None]] = set()

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    def drain(self) -> None:
        """Take nothing more; what is being fetched goes on."""
        self._draining = True

    def stop(self) -> None:
        """Ask it to end, and wait until it has let go of what it had in hand."""
        self._stopped.set()
        self.join(settings.SENTINEL_HEARTBEAT_SECONDS + 1)

    def run(self) -> None:
        if not settings.SENTINEL_LINK_FETCHERS:
            return
        try:
            with ThreadPoolExecutor(settings.SENTINEL_LINK_FETCHERS, thread_name_prefix="fetcher") as pool:
                while not self._stopped.is_set():
                    self._try_to_fetch(pool)
                    self._stopped.wait(POLL_SECONDS)
        finally:
            connections.close_all()

    def _takes_more(self) -> bool:
        return not (self._stopped.is_set() or self._draining or self._lacks_room())

    def _try_to_fetch(self, pool: ThreadPoolExecutor) -> None:
        """One round, whatever goes wrong: nobody would start this thread again, and all links would lie."""
        try:
            self._fetch_waiting(pool)
        except Error:
            logger.exception("Links could not be read from the database")
            connections.close_all()
        except Exception:
            logger.exception("The fetcher goes on after a round that broke off")

    def _fetch_waiting(self, pool: ThreadPoolExecutor) -> None:
        # Only what a thread is free for: what another process could fetch now must not lie here.
        while self._takes_more() and self._free.acquire(blocking=False):
            running = None
            try:
                if (analysis := links.claim_waiting()) is not None:
                    running = pool.submit(_fetch_here, analysis, self._stopped)
            finally:
                if running is None:
                    self._free.release()
            if running is None:
                return
            self._watch(running)

    def _lacks_room(self) -> bool:
        """Whether another file would not find room here: then links are left to other hosts, or wait."""
        if not lacks_room(settings.SENTINEL_MAX_UPLOAD_BYTES):
            self._told = False
            return False
        if not self._told:
            logger.error("No links are fetched: the disks of this host are nearly full")
            self._told = True
        return True

    def _watch(self, running: Future[None]) -> None:
        def ended(done: Future[None]) -> None:
            self._free.release()
            self._running.discard(done)
            if error := done.exception():
                logger.error("A fetcher broke off", exc_info=error)

        self._running.add(running)
        running.add_done_callback(ended)


def _fetch_here(analysis: Analysis, stopped: threading.Event) -> None:
    try:
        fetch(analysis, stopped)
    finally:
        # This thread's own.
        connections.close_all()

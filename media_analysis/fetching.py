"""Fetching what `links` accepted: by threads beside the queue, so that a slow site never keeps a file waiting.

A link to a site of the settings goes through yt-dlp, which says where the video is; any other has to be a file. Files
themselves are always fetched by our own client (streams in pieces excepted), so that what the server said is known.
Whatever goes wrong ends as an error code with a problem, and what was spent is given back.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import DatabaseError, connection, connections

from accounts.errors import Code, SentinelError
from media_analysis import links, live, safe_http, validators, video_sites
from media_analysis.fetch_proxy import FetchProxy
from media_analysis.models import Analysis, LinkSource
from media_analysis.uploads import StagedFile, clean_name
from media_analysis.video_sites import LIMITED_RUN, MEMORY_BYTES, Rendition, SiteError, Video
from ml import __version__
from ml.contracts import MediaKind
from ml.media import cut as cutting

logger = logging.getLogger(__name__)

Problem = LinkSource.Problem

POLL_SECONDS = 0.5
# Writing more often than this makes nothing look smoother.
MIN_INTERVAL_SECONDS = 0.5
FOLDER_PREFIX = "link-"
CUT_SECONDS = 60
# Beside the file itself, pages and scripts come through the proxy.
EXTRA_BYTES = 64 * 1024 * 1024
# A lasting statement of the server about the file; the rest of its headers is about the connection.
KEPT_HEADERS = (
    *("content-type", "content-length", "content-range", "last-modified", "etag", "date", "server", "via", "age"),
    *("content-disposition", "cache-control", "expires", "content-md5", "digest", "repr-digest", "content-digest"),
)
MAX_HEADER_LENGTH = 500
CODES: dict[LinkSource.Problem, Code] = {
    Problem.NOT_FOUND: Code.LINK_UNREACHABLE,
    Problem.UNREACHABLE: Code.LINK_UNREACHABLE,
    Problem.TOO_SLOW: Code.LINK_UNREACHABLE,
    Problem.PRIVATE: Code.LINK_NOT_SUPPORTED,
    Problem.REFUSED: Code.LINK_NOT_SUPPORTED,
    Problem.LIVE: Code.LINK_NOT_SUPPORTED,
    Problem.PLAYLIST: Code.LINK_NOT_SUPPORTED,
    Problem.NO_MEDIA: Code.LINK_NOT_SUPPORTED,
    Problem.OUTSIDE_CUT: Code.INVALID_FIELD,
}
STATUS_PROBLEMS = {
    **dict.fromkeys((401, 407), Problem.PRIVATE),
    **dict.fromkeys((403, 429, 451), Problem.REFUSED),
    **dict.fromkeys((404, 410), Problem.NOT_FOUND),
}


class Stopped(Exception):
    """This process is asked to end."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in our folder, and what is known of it."""

    staged: StagedFile
    origin: dict[str, Any]


class Watch:
    """Keeps the claim on a link alive while it is entered, and tells how far its file is.

    Calling it raises :class:`links.Lost` once the claim is lost, :class:`Stopped` when the process is asked to end, and
    SiteError once the time for one link is over.
    """

    def __init__(self, analysis: Analysis, stopped: threading.Event) -> None:
        self._analysis = analysis
        self._stopped = stopped
        self._lost = threading.Event()
        self._left = threading.Event()
        self._deadline: float = time.monotonic() + settings.SENTINEL_LINK_TIMEOUT_SECONDS
        self._percent = 0
        self._told_at = 0.0
        self._thread = threading.Thread(target=self._beat, name="link-heartbeat", daemon=True)

    @property
    def seconds_left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)

    def __call__(self, share: float | None = None) -> None:
        if self._stopped.is_set():
            raise Stopped
        if self._lost.is_set():
            raise links.Lost
        if not self.seconds_left:
            raise SiteError(Problem.TOO_SLOW)
        now = time.monotonic()
        percent = self._percent if share is None else int(100 * share)
        if percent == self._percent or now - self._told_at < MIN_INTERVAL_SECONDS:
            return
        self._percent, self._told_at = percent, now
        if not links.report_progress(self._analysis, percent):
            raise links.Lost
        live.nudge(self._analysis)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def _beat(self) -> None:
        try:
            while not self._left.wait(settings.SENTINEL_HEARTBEAT_SECONDS):
                if not links.report_progress(self._analysis):
                    self._lost.set()
                    return
        finally:
            # This thread's own connection: nobody else would close it.
            connection.close()


def fetch(analysis: Analysis, stopped: threading.Event) -> None:
    """Fetch the file of a claimed analysis, and have it examined; or write down why there is none."""
    if analysis.media.file:
        links.hand_over(analysis)
        return
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=settings.FILE_UPLOAD_TEMP_DIR))
    try:
        with Watch(analysis, stopped) as watch:
            fetched = _fetch(analysis, folder, watch)
            wanted = analysis.media.link.wanted_kind
            info = validators.probe_media(fetched.staged, kind=MediaKind(wanted) if wanted else None)
            watch()
            links.finish_fetch(analysis, fetched.staged, info, **fetched.origin)
    except Stopped:
        links.release_fetch(analysis, broken=False)
    except links.Lost:
        logger.info("Analysis %s was taken away or deleted while its link was fetched", analysis)
    except SiteError as error:
        logger.info("The link of analysis %s: %s", analysis, error.problem)
        links.fail_fetch(analysis, CODES[error.problem], error.problem)
    except SentinelError as error:
        logger.info("The file at the link of analysis %s: %s", analysis, error.code)
        links.fail_fetch(analysis, error.code)
    except Exception:
        logger.exception("Fetching the link of analysis %s broke off on try %s", analysis, analysis.attempts)
        links.release_fetch(analysis, broken=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    live.nudge(analysis)


def _fetch(analysis: Analysis, folder: Path, watch: Watch) -> Fetched:
    link = analysis.media.link
    if video_sites.is_video_site(link.url):
        return _from_site(analysis, link.url, folder, watch)
    answer = _download(link.url, folder / "file", watch, link)
    if isinstance(answer, str):
        # A short link that leads to a site.
        return _from_site(analysis, answer, folder, watch)
    name = clean_name(_sent_name(answer.headers) or unquote(urlsplit(answer.url).path).rpartition("/")[2] or link.url)
    origin = {**answer.origin, "fetched_with": f"Sentinel {__version__}", "site": urlsplit(answer.url).hostname or ""}
    links.note_origin(analysis, name=name, **origin)
    return _cut_out(link, answer.path, name, origin, watch)


def _from_site(analysis: Analysis, url: str, folder: Path, watch: Watch) -> Fetched:
    link = analysis.media.link
    most = _most_bytes(link)
    with FetchProxy(links.fence(), max_bytes=most + EXTRA_BYTES, timeout=watch.seconds_left) as proxy:
        try:
            video = video_sites.look_up(url, proxy, folder, watch)
        except SiteError as error:
            if proxy.refused and error.problem is Problem.UNREACHABLE:
                logger.warning("The link of analysis %s leads to %s", analysis, proxy.refused)
            raise
        _note_video(analysis, video)
        _check_length(link, video.duration)
        rendition = video_sites.choose(
            video.renditions, max_bytes=most, max_frame_rate=settings.SENTINEL_MAX_FRAME_RATE
        )
        if rendition is None:
            small = any(each.size is None or each.size <= most for each in video.renditions)
            raise SentinelError(Code.FPS_TOO_HIGH if small else Code.FILE_TOO_LARGE)
        name = clean_name(f"{video.title or video.site}.{rendition.extension or 'mp4'}")
        origin: dict[str, Any] = {"fetched_with": video_sites.version()}
        if rendition.streamed:
            path = video_sites.download_stream(video, rendition, proxy, folder, watch)
            if proxy.exhausted or path.stat().st_size > most:
                raise SentinelError(Code.FILE_TOO_LARGE)
            origin["file_url"] = rendition.url[:4096]
        else:
            answer = _download(rendition.url, folder / "file", watch, link, rendition)
            if isinstance(answer, str):
                raise SiteError(Problem.REFUSED)
            path = answer.path
            origin |= answer.origin
    return _cut_out(link, path, name, origin, watch)


def _note_video(analysis: Analysis, video: Video) -> None:
    links.note_origin(
        analysis,
        name=video.title,
        canonical_url=video.canonical_url,
        site=video.site,
        title=video.title,
        uploader=video.uploader,
        uploader_url=video.uploader_url,
        uploaded=video.uploaded,
        duration=video.duration,
    )


def _check_length(link: LinkSource, duration: float | None) -> None:
    """Say at once what the site's own word on the duration rules out."""
    if duration is None:
        return
    if link.cut_start is not None:
        if link.cut_start >= duration:
            raise SiteError(Problem.OUTSIDE_CUT)
    elif int(duration) > settings.SENTINEL_MAX_DURATION_SECONDS:
        raise SentinelError(Code.VIDEO_TOO_LONG)


def _most_bytes(link: LinkSource) -> int:
    return int(settings.SENTINEL_LINK_MAX_BYTES if link.is_cut else settings.SENTINEL_MAX_UPLOAD_BYTES)


@dataclass(frozen=True, slots=True)
class _Download:
    path: Path
    url: str
    headers: Mapping[str, str]
    origin: dict[str, Any]


def _download(
    url: str, path: Path, watch: Watch, link: LinkSource, rendition: Rendition | None = None
) -> _Download | str:
    """The file at `url`; or, where a redirect led to a page of a video site, the address of that.

    Raises SiteError and ``file_too_large``.
    """
    most, piece = _most_bytes(link), rendition.piece if rendition else 0
    headers = rendition.headers if rendition else {}
    done, total = 0, rendition.size if rendition else None
    first: safe_http.Answer | None = None
    try:
        with path.open("wb") as file:
            while True:
                sent = {**headers, "Range": f"bytes={done}-{done + piece - 1}"} if piece else headers
                with safe_http.get(url, fence=links.fence(), timeout=watch.seconds_left, headers=sent) as answer:
                    if first is None and _is_page(answer):
                        if rendition is None and answer.url != url and video_sites.is_video_site(answer.url):
                            return answer.url
                        raise SiteError(Problem.NO_MEDIA)
                    _check_status(answer)
                    first = first or answer
                    total = _total(answer) or total
                    if (_total(answer) or 0) > most:
                        raise SentinelError(Code.FILE_TOO_LARGE)
                    before = done
                    for content in answer.pieces():
                        done += len(content)
                        if done > most:
                            raise SentinelError(Code.FILE_TOO_LARGE)
                        file.write(content)
                        watch(done / total if total else None)
                    if answer.status != 206 or done == before or done >= (_total(answer) or 0):
                        break
    except safe_http.Refused as error:
        # The same as for a host that is not there: nobody learns what names mean inside our network.
        logger.warning("The link of %s leads to an address that is not asked: %s", link.media_id, error.reason)
        raise SiteError(Problem.UNREACHABLE) from error
    except safe_http.BadAnswer as error:
        raise SiteError(Problem.UNREACHABLE) from error
    except TimeoutError as error:
        raise SiteError(Problem.TOO_SLOW) from error
    except (OSError, ssl.SSLError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            # Our own disk.
            raise
        raise SiteError(Problem.UNREACHABLE) from error
    origin = {
        "file_url": first.url[:4096],
        "server_address": first.address,
        "headers": {name: first.headers[name][:MAX_HEADER_LENGTH] for name in KEPT_HEADERS if name in first.headers},
    }
    return _Download(path=path, url=first.url, headers=first.headers, origin=origin)


def _is_page(answer: safe_http.Answer) -> bool:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return answer.status == 200 and kind in {"text/html", "application/xhtml+xml"}


def _check_status(answer: safe_http.Answer) -> None:
    if answer.status not in {200, 206}:
        raise SiteError(STATUS_PROBLEMS.get(answer.status, Problem.UNREACHABLE))


def _total(answer: safe_http.Answer) -> int | None:
    """Bytes of the whole file, as far as the server says."""
    ranged = re.fullmatch(r"bytes \d+-\d+/(\d{1,15})", answer.headers.get("content-range", ""))
    if answer.status == 206:
        return int(ranged[1]) if ranged else None
    length = answer.headers.get("content-length", "")
    return int(length) if re.fullmatch(r"\d{1,15}", length) else None


def _sent_name(headers: Mapping[str, str]) -> str:
    """The name in a Content-Disposition header, empty without one."""
    named = re.search(r'filename="([^"]+)"', headers.get("content-disposition", ""))
    return named[1] if named else ""


def _cut_out(link: LinkSource, path: Path, name: str, origin: dict[str, Any], watch: Watch) -> Fetched:
    """The file as it shall be examined: itself, or the part of it that was asked for."""
    if link.cut_start is None or link.cut_end is None:
        return Fetched(_stage(path, name), origin)
    whole = _stage(path, name)
    part = path.with_name("part.mkv")
    # A little less than a second more: whoever asks for a whole minute gets its last picture too.
    longest = settings.SENTINEL_MAX_DURATION_SECONDS + 0.5
    limits = [str(MEMORY_BYTES), str(CUT_SECONDS), str(settings.SENTINEL_MAX_UPLOAD_BYTES)]
    arguments = [str(path), str(part), str(link.cut_start), str(link.cut_end), str(longest)]
    command = [sys.executable, "-I", str(LIMITED_RUN), *limits, str(Path(cutting.__file__)), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 -- our own program
            command, cwd=path.parent, env={}, capture_output=True, timeout=max(watch.seconds_left, 1), check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SiteError(Problem.TOO_SLOW) from error
    if done.returncode == cutting.EXIT_OUTSIDE:
        raise SiteError(Problem.OUTSIDE_CUT)
    if done.returncode == -signal.SIGXFSZ:
        raise SentinelError(Code.FILE_TOO_LARGE)
    if done.returncode != 0:
        logger.warning("The part could not be cut out: %s", done.stderr[-500:].decode(errors="replace"))
        raise SentinelError(Code.UNREADABLE_MEDIA)
    begins, ends = (float(each) for each in done.stdout.split())
    stem = name.rpartition(".")[0] or name
    cut_origin = {"cut_from": begins, "cut_to": ends, "whole_sha256": whole.sha256, "whole_size": whole.size}
    return Fetched(_stage(part, f"{stem[:240]}.mkv"), {**origin, **cut_origin})


def _stage(path: Path, name: str) -> StagedFile:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while content := file.read(1 << 20):
            sha256.update(content)
            md5.update(content)
            size += len(content)
    return StagedFile(path=path, name=name, size=size, sha256=sha256.hexdigest(), md5=md5.hexdigest())


class Fetcher(threading.Thread):
    """Fetches what waits, a few links at a time, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(name="fetcher", daemon=True)
        self._stopped = threading.Event()
        self._free = threading.Semaphore(settings.SENTINEL_LINK_FETCHERS)

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
                    self._fetch_waiting(pool)
                    self._stopped.wait(POLL_SECONDS)
        finally:
            connections.close_all()

    def _fetch_waiting(self, pool: ThreadPoolExecutor) -> None:
        # Only what a thread is free for: what another process could fetch now must not lie here.
        while not self._stopped.is_set() and self._free.acquire(blocking=False):
            analysis: Analysis | None = None
            try:
                analysis = links.claim_waiting()
            except DatabaseError:
                logger.exception("Links could not be read from the database")
                connections.close_all()
            if analysis is None:
                self._free.release()
                return
            self._watch(pool.submit(_fetch_here, analysis, self._stopped))

    def _watch(self, running: Future[None]) -> None:
        def ended(done: Future[None]) -> None:
            self._free.release()
            if error := done.exception():
                logger.error("A fetcher broke off", exc_info=error)

        running.add_done_callback(ended)


def _fetch_here(analysis: Analysis, stopped: threading.Event) -> None:
    try:
        fetch(analysis, stopped)
    finally:
        # This thread's own.
        connections.close_all()

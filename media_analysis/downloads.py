"""Files of links, fetched into a folder: looked up, downloaded, cut, hashed and judged at the door, with their origin.

A link to a site of the settings goes through yt-dlp, which says where the video is; any other has to be a file. Files
themselves are always fetched by our own client (streams in pieces excepted), so that what the server said is known.
Nothing here knows an account or the database: the worker (`fetching`) and the command line (`classify`) share it.
"""

from __future__ import annotations

import errno
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
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.utils import timezone

from accounts.errors import Code, SentinelError
from accounts.texts import clean_text
from media_analysis import safe_http, validators, video_sites
from media_analysis.fetch_proxy import FetchProxy
from media_analysis.link_addresses import Cut, fence
from media_analysis.models import LinkSource
from media_analysis.uploads import StagedFile, clean_name, name_of
from media_analysis.video_sites import Rendition, SiteError, Video
from ml import __version__
from ml.contracts import MediaInfo, MediaKind
from ml.media import cut as cutting
from ml.media.confinement import environment

logger = logging.getLogger(__name__)

Problem = LinkSource.Problem

FOLDER_PREFIX = "link-"
# Beside the file itself, pages and scripts come through the proxy.
EXTRA_BYTES = 64 * 1024 * 1024
# A lasting statement of the server about the file; the rest of its headers is about the connection.
KEPT_HEADERS = (
    *("content-type", "content-length", "content-range", "last-modified", "etag", "date", "server", "via", "age"),
    *("content-disposition", "cache-control", "expires", "content-md5", "digest", "repr-digest", "content-digest"),
)
MAX_HEADER_LENGTH = 500
# Of our own disk, not of the network.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
# Hosts can be longer; as long as the column.
MAX_SITE_LENGTH = 64
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be fetched: of the file at `url` the part `cut`, or all of it; only a file of this `kind`, if any."""

    url: str
    cut: Cut | None = None
    kind: MediaKind | None = None

    @property
    def most_bytes(self) -> int:
        """Largest file that is fetched for it: of a part, the whole comes first."""
        return int(settings.SENTINEL_LINK_MAX_BYTES if self.cut else settings.SENTINEL_MAX_UPLOAD_BYTES)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in the folder, the decoder's word on it, and where it comes from: fields of :class:`LinkSource`."""

    staged: StagedFile
    info: MediaInfo
    origin: dict[str, Any]


class Note(Protocol):
    """Hears what is known of the origin, fields of :class:`LinkSource`, and of its name, as soon as it is."""

    def __call__(self, *, name: str = "", **origin: Any) -> None: ...


class Watch:
    """The time that one link may take. Called all along, with the share that has come where that is known.

    Raises SiteError once the time is over.
    """

    def __init__(self, told: Callable[[float], None] | None = None) -> None:
        self._told = told
        self._deadline: float = time.monotonic() + settings.SENTINEL_LINK_TIMEOUT_SECONDS

    @property
    def seconds_left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)

    def __call__(self, share: float | None = None) -> None:
        if not self.seconds_left:
            raise SiteError(Problem.TOO_SLOW)
        if self._told is not None and share is not None:
            self._told(share)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Where the files of one link lie while they are needed. What a kill leaves of it, housekeeping sweeps up."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=settings.FILE_UPLOAD_TEMP_DIR))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch_file(wanted: Wanted, folder: Path, watch: Watch, note: Note) -> Fetched:
    """Fetch what is `wanted` into an empty `folder`, under the limits of uploads.

    Raises SiteError where there is no file to be had, SentinelError for a file that may not come in, what `watch`
    raises, and OSError of our own disk.
    """
    known: dict[str, Any] = {}

    def keep(*, name: str = "", **origin: Any) -> None:
        known.update(origin)
        note(name=name, **origin)

    staged, cut_origin = _fetch(wanted, folder, watch, keep)
    info = validators.probe_media(staged, kind=wanted.kind)
    watch()
    return Fetched(staged, info, {**known, **cut_origin, "fetched_at": timezone.now()})


def _fetch(wanted: Wanted, folder: Path, watch: Watch, note: Note) -> tuple[StagedFile, dict[str, Any]]:
    """The file as it shall be examined, and what its cut adds to the origin."""
    if video_sites.is_video_site(wanted.url):
        return _from_site(wanted, wanted.url, folder, watch, note)
    answer = _download(wanted.url, folder / "file", watch, wanted)
    if isinstance(answer, str):
        # A short link that leads to a site.
        return _from_site(wanted, answer, folder, watch, note)
    name = clean_name(_sent_name(answer.headers) or unquote(urlsplit(answer.url).path).rpartition("/")[2] or wanted.url)
    note(
        name=name,
        **answer.origin,
        fetched_with=f"Sentinel {__version__}",
        site=(urlsplit(answer.url).hostname or "")[:MAX_SITE_LENGTH],
    )
    return _cut_out(wanted, answer.path, name, watch)


def _from_site(wanted: Wanted, url: str, folder: Path, watch: Watch, note: Note) -> tuple[StagedFile, dict[str, Any]]:
    most = wanted.most_bytes
    with FetchProxy(fence(), max_bytes=most + EXTRA_BYTES, timeout=watch.seconds_left) as proxy:
        try:
            video = video_sites.look_up(url, proxy, folder, watch)
        except SiteError as error:
            if proxy.refused and error.problem is Problem.UNREACHABLE:
                raise SiteError(error.problem, f"it leads to {proxy.refused}") from error
            raise
        _note_video(video, note)
        _check_length(wanted, video.duration)
        rendition = video_sites.choose(
            video.renditions, max_bytes=most, max_frame_rate=settings.SENTINEL_MAX_FRAME_RATE
        )
        if rendition is None:
            small = any(each.size is None or each.size <= most for each in video.renditions)
            raise SentinelError(Code.FPS_TOO_HIGH if small else Code.FILE_TOO_LARGE)
        name = name_of(f"{video.title or video.site}.{rendition.extension or 'mp4'}")
        origin: dict[str, Any] = {"fetched_with": video_sites.version()}
        if rendition.streamed:
            path = video_sites.download_stream(video, rendition, proxy, folder, watch)
            if proxy.exhausted or path.stat().st_size > most:
                raise SentinelError(Code.FILE_TOO_LARGE)
            origin["file_url"] = rendition.url[:4096]
        else:
            answer = _download(rendition.url, folder / "file", watch, wanted, rendition)
            if isinstance(answer, str):
                raise SiteError(Problem.REFUSED)
            path = answer.path
            origin |= answer.origin
        note(**origin)
    return _cut_out(wanted, path, name, watch)


def _note_video(video: Video, note: Note) -> None:
    note(
        name=video.title,
        canonical_url=video.canonical_url,
        site=video.site,
        title=video.title,
        uploader=video.uploader,
        uploader_url=video.uploader_url,
        uploaded=video.uploaded,
        duration=video.duration,
    )


def _check_length(wanted: Wanted, duration: float | None) -> None:
    """Say at once what the site's own word on the duration rules out."""
    if duration is None:
        return
    if wanted.cut is not None:
        if wanted.cut.start >= duration:
            raise SiteError(Problem.OUTSIDE_CUT)
    elif int(duration) > settings.SENTINEL_MAX_DURATION_SECONDS:
        raise SentinelError(Code.VIDEO_TOO_LONG)


@dataclass(frozen=True, slots=True)
class _Download:
    path: Path
    url: str
    headers: Mapping[str, str]
    origin: dict[str, Any]


def _download(
    url: str, path: Path, watch: Watch, wanted: Wanted, rendition: Rendition | None = None
) -> _Download | str:
    """The file at `url`; or, where a redirect led to a page of a video site, the address of that.

    Raises SiteError and ``file_too_large``.
    """
    most, piece = wanted.most_bytes, rendition.piece if rendition else 0
    headers = rendition.headers if rendition else {}
    done, total = 0, rendition.size if rendition else None
    first: safe_http.Answer | None = None
    try:
        with path.open("wb") as file:
            while True:
                sent = {**headers, "Range": f"bytes={done}-{done + piece - 1}"} if piece else headers
                with safe_http.get(url, fence=fence(), timeout=watch.seconds_left, headers=sent) as answer:
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
        raise SiteError(Problem.UNREACHABLE, f"it leads to an address that is not asked: {error.reason}") from error
    except safe_http.BadAnswer as error:
        raise SiteError(Problem.UNREACHABLE) from error
    except TimeoutError as error:
        raise SiteError(Problem.TOO_SLOW) from error
    except (OSError, ssl.SSLError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK_ERRORS):
            raise
        raise SiteError(Problem.UNREACHABLE) from error
    origin = {
        "file_url": first.url[:4096],
        "server_address": first.address,
        "headers": {
            name: clean_text(first.headers[name])[:MAX_HEADER_LENGTH] for name in KEPT_HEADERS if name in first.headers
        },
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


def _cut_out(wanted: Wanted, path: Path, name: str, watch: Watch) -> tuple[StagedFile, dict[str, Any]]:
    """The file as it shall be examined, itself or the part of it that was asked for, with what that is of the whole."""
    if wanted.cut is None:
        return _stage(path, name), {}
    whole = _stage(path, name)
    part = path.with_name("part.mkv")
    # A little less than a second more: whoever asks for a whole minute gets its last picture too.
    longest = settings.SENTINEL_MAX_DURATION_SECONDS + 0.5
    most = str(settings.SENTINEL_MAX_UPLOAD_BYTES)
    files = [str(each.resolve()) for each in (path, part)]
    command = [sys.executable, "-m", cutting.__name__, *files, str(wanted.cut.start), str(wanted.cut.end)]
    try:
        done = subprocess.run(  # noqa: S603 -- our own program
            [*command, str(longest), most],
            cwd=settings.BASE_DIR,
            env=environment(),
            capture_output=True,
            timeout=max(watch.seconds_left, 1),
            check=False,
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
    return _stage(part, f"{stem[:240]}.mkv"), cut_origin


def _stage(path: Path, name: str) -> StagedFile:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while content := file.read(1 << 20):
            sha256.update(content)
            md5.update(content)
            size += len(content)
    return StagedFile(path=path, name=name, size=size, sha256=sha256.hexdigest(), md5=md5.hexdigest())

"""Handing out an original file, whole or a range of it, piece by piece: it is never read whole.

Range requests follow RFC 9110, section 14. Asked for several ranges, it answers with the whole file, as any server may.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import custody
from media_analysis.models import Media
from media_analysis.storage import Part, media_storage

PIECE_BYTES = 1 << 18
# Their own, so that players on a slow storage never take the threads that others wait for.
_READERS = ThreadPoolExecutor(32, thread_name_prefix="pieces")
# A player asks for many ranges of one file. So long after the first, they are still the same playback or download.
ONE_EVENT = timedelta(minutes=5)

ANY_TYPE = "application/octet-stream"
# What browsers show by themselves and what can hold no script, by the container that the probe found.
TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "matroska": "video/x-matroska",
    "ogg": "video/ogg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
# FFmpeg tells WebM from its parent format by nothing; these are its pictures.
WEBM, WEBM_CODECS = "video/webm", {"vp8", "vp9", "av1"}
# Opened by itself in a tab, the file may run nothing and be shown in no frame. Without its own origin, Chromium would
# not even let the tab read the video that it shows.
POLICY = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; media-src 'self'; frame-ancestors 'none'"
# Computers are shared, and the original is the most private thing here.
CACHE = "private, no-store"

# More digits than any file has bytes, and fewer than Python refuses to read.
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,20})-([0-9]{0,20})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` to `end`, both included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1


class Pieces:
    """The bytes of a part, read in other threads: neither disk nor network holds up the event loop. Closes the part."""

    def __init__(self, part: Part, length: int) -> None:
        self._part = part
        self._left = length

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        loop = asyncio.get_running_loop()
        piece = await loop.run_in_executor(_READERS, self._part.read, min(self._left, PIECE_BYTES))
        if not piece:
            # The length is said already: only a broken connection tells the other side.
            raise OSError(f"the stored file ends {self._left} bytes early")
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._part.close()


def answer_with_file(request: HttpRequest, media: Media, *, actor: User | None, download: bool) -> HttpResponseBase:
    """The original of `media`, which `actor` may see, as a download or to be shown.

    Recorded in the custody log, once for all the ranges of a playback or download. Raises ``not_found`` where the file
    is gone, ``range_not_satisfiable`` and ``storage_unavailable``.
    """
    if not media.file:
        # Still to be fetched from where it is, or never to be had there.
        raise SentinelError(Code.NOT_FOUND)
    content_type = content_type_of(media)
    download = download or content_type == ANY_TYPE
    headers = {
        "Content-Disposition": content_disposition_header(download, file_name(media)) or "attachment",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": CACHE,
    }
    event = custody.Event.DOWNLOADED if download else custody.Event.VIEWED
    if prefix := settings.SENTINEL_ACCEL_PREFIX:
        # The proxy in front reads the file, and knows about ranges and tags itself.
        _record(request, media, actor, event)
        accel = {"X-Accel-Redirect": prefix + quote(str(media.file))}
        return HttpResponse(content_type=content_type, headers=headers | accel)
    if seconds := settings.SENTINEL_MEDIA_LINK_SECONDS * (not media_storage().on_disk):
        # The storage's server sends it, with its own ranges and tags, to whoever has the link.
        _record(request, media, actor, event)
        return _answer_with_link(media, seconds, content_type, headers["Content-Disposition"])
    return answer_stored(
        request,
        str(media.file),
        etag=f'"{media.sha256}"',
        content_type=content_type,
        headers=headers,
        note=lambda: _record(request, media, actor, event),
    )


def answer_stored(
    request: HttpRequest,
    name: str,
    *,
    etag: str,
    content_type: str,
    headers: Mapping[str, str],
    note: Callable[[], None],
) -> HttpResponseBase:
    """What the storage has under this name, whole or the range that is asked for.

    ``note`` writes down that it is handed out, and is called before any byte is. Raises ``not_found`` where it is gone,
    ``range_not_satisfiable`` and ``storage_unavailable``.
    """
    sent = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    unchanged = get_conditional_response(request, etag=etag)
    if unchanged is not None:
        for header, value in sent.items():
            unchanged[header] = value
        return unchanged
    try:
        whole = ByteRange(0, media_storage().size(name) - 1)
        asked = _asked_range(request, etag, whole.length)
        wanted = asked or whole
        sent["Content-Length"] = str(wanted.length)
        if asked:
            sent["Content-Range"] = f"bytes {asked.start}-{asked.end}/{whole.length}"
        status = 206 if asked else 200
        if request.method == "HEAD":
            return HttpResponse(status=status, content_type=content_type, headers=sent)
        part = media_storage().open_part(name, wanted.start, wanted.length)
    except FileNotFoundError as error:
        raise SentinelError(Code.NOT_FOUND) from error
    try:
        note()
        pieces = Pieces(part, wanted.length)
        return StreamingHttpResponse(pieces, status=status, content_type=content_type, headers=sent)
    except BaseException:
        part.close()
        raise


def read_in_pieces(media: Media) -> Pieces:
    """The whole original, for an answer of its own. Raises FileNotFoundError and ``storage_unavailable``."""
    return Pieces(media_storage().open_part(str(media.file), 0, media.size), media.size)


def _answer_with_link(media: Media, seconds: int, content_type: str, disposition: str) -> HttpResponse:
    storage: Any = media_storage()
    url = storage.link(
        str(media.file), seconds=seconds, content_type=content_type, disposition=disposition, cache=CACHE
    )
    return HttpResponse(
        status=302,
        # The link is as good as the file: nobody keeps it, and no other site is told of it.
        headers={"Location": url, "Cache-Control": CACHE, "Referrer-Policy": "no-referrer"},
    )


def content_type_of(media: Media) -> str:
    """By what the probe found in the file, never by its name."""
    if media.container == "matroska" and media.codec in WEBM_CODECS:
        return WEBM
    return TYPES.get(media.container, ANY_TYPE)


def file_name(media: Media) -> str:
    """The name as received, for the header to quote: without folders and without what names cannot hold."""
    name = PurePosixPath(media.original_name.replace("\\", "/")).name
    return "".join(letter for letter in name if letter.isprintable()) or media.public_id


def parse_range(header: str, size: int) -> ByteRange | None:
    """The one range that a ``Range`` header asks for; None where it asks for nothing that one has to understand.

    Raises ``range_not_satisfiable`` where none of it lies within `size` bytes.
    """
    match = _RANGE.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
    if start > end:
        raise SentinelError(Code.RANGE_NOT_SATISFIABLE, headers={"Content-Range": f"bytes */{size}"})
    return ByteRange(start, end)


def _asked_range(request: HttpRequest, etag: str, size: int) -> ByteRange | None:
    """None for the whole file: also where the client's part is of another file than this one."""
    # Ranges are defined for GET alone.
    if request.method != "GET" or request.headers.get("If-Range", etag).strip() != etag:
        return None
    return parse_range(request.headers.get("Range", ""), size)


def _record(request: HttpRequest, media: Media, actor: User | None, event: custody.Event) -> None:
    """Each whole file; of ranges the first in a while, whichever it is, so that no choice of them goes unseen."""
    if request.method != "GET":
        return
    if "Range" in request.headers:
        lately = custody.events_of(media.public_id).filter(
            event=event,
            actor=actor.public_id if actor else "",
            address=custody.current_address(),
            at__gte=timezone.now() - ONE_EVENT,
        )
        # Looked at here: not every database can search in JSON.
        if any(seen.details.get("what") == custody.What.ORIGINAL for seen in lately):
            return
    custody.record(media.public_id, event, actor=actor, what=str(custody.What.ORIGINAL))

"""Refusing request bodies before they are read, cutting off endless ones, and keeping parts that break off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from accounts.errors import Code, is_disk_full
from media_analysis.middleware import OVERSIZED_FLAG, REFUSED_FLAG

# What a multipart body holds beside the file: the other fields and the boundaries. Also the most that any other body
# may be, since those are held in memory whole.
SLACK_BYTES = 1024 * 1024
# Bodies that files come in: Django and we write these to disk as they come.
FILE_TYPES = (b"multipart/", b"application/offset+octet-stream")

# Of a body that a client stops sending, nothing more is waited for after so long.
SILENCE_SECONDS = 30.0
# One that comes at all has to come faster than this, on average from the end of the first minute on: a tenth of what
# the slowest mobile network gives.
SLOWEST_BYTES_A_SECOND, FIRST_SECONDS = 500, 60.0

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

# A part of a resumable upload: as much of it as came is worth keeping, unless it was to be checked as a whole.
PART_TYPE = b"application/offset+octet-stream"
CHECKSUM_HEADER = b"upload-checksum"

BODY_HEADERS = {b"content-length", b"content-type", b"transfer-encoding"}


# Given to Django in place of what a slow client sends: it stops reading.
TOO_SLOW: Message = {"type": "http.disconnect"}


class LimitBody:
    """ASGI application around Django that never lets it read a body larger than an upload may be.

    Django writes a whole body to a temporary file before any of its code runs. Here, a body that is announced as
    too large is not read at all, and one that grows too large on the way is cut off. Django then sees a request
    without a body, and a mark on its scope by which :class:`media_analysis.middleware.OversizedBodyMiddleware` gives
    the usual refusal.

    A part of a resumable upload whose sender is cut off ends where it was cut off: Django would otherwise throw away
    all that came of it, and a phone would send the same again and again. One that stops coming ends the same way, and
    any other body that does is answered 408.

    Before a file is read, ``is_ready`` is asked whether there is a database to accept it: nobody shall send 100 MB in
    vain. The answer is then that of :class:`sentinel_site.outage.Outage`. ``lacks_room`` is asked whether there is no
    room for so many bytes, those of all bodies under way together, ``on_file`` is told of each body that is let in.
    """

    def __init__(
        self,
        application: Application,
        *,
        max_upload_bytes: int,
        is_ready: Callable[[], Awaitable[bool]] | None = None,
        lacks_room: Callable[[int], bool] = lambda size: False,
        on_file: Callable[[], None] = lambda: None,
    ) -> None:
        self.application = application
        self.limit = max_upload_bytes + SLACK_BYTES
        self.is_ready = is_ready
        self.lacks_room = lacks_room
        self.on_file = on_file
        # Bytes of all files under way, whether they have come or not.
        self._promised = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        holds_file = headers.get(b"content-type", b"").lower().startswith(FILE_TYPES)
        limit = self.limit if holds_file else SLACK_BYTES
        if announced.isdigit() and int(announced) > limit:
            await self._refuse(scope, receive, send, {OVERSIZED_FLAG: "file" if holds_file else "body"})
            return
        if holds_file and self.is_ready is not None and not await self.is_ready():
            await self._refuse(scope, receive, send, {REFUSED_FLAG: Code.UNAVAILABLE})
            return
        size = int(announced) if holds_file and announced.isdigit() else 0
        if holds_file:
            if self.lacks_room(self._promised + size):
                await self._refuse(scope, receive, send, {REFUSED_FLAG: Code.STORAGE_FULL})
                return
            self.on_file()
        received = 0
        begun = time.monotonic()
        ended = cut_off = too_slow = answered = False
        keep = scope["method"] == "PATCH" and headers.get(b"content-type") == PART_TYPE
        keep = keep and CHECKSUM_HEADER not in headers

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        async def counted() -> Message:
            nonlocal received, ended, cut_off, too_slow
            if cut_off:
                # Django listens for a disconnect while it works, and would stop.
                await asyncio.Future()
            message = await receive() if ended else await _in_time(receive, received, begun)
            too_slow = message is TOO_SLOW
            if message["type"] == "http.disconnect" and keep and not ended:
                cut_off = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if message["type"] == "http.request":
                ended = not message.get("more_body", False)
                received += len(message.get("body", b""))
                if received > limit:
                    # Only a chunked body gets here: HTTP itself holds the others to what they announce.
                    return {"type": "http.disconnect"}
            return message

        self._promised += size
        try:
            await self.application(scope, counted, noted)
        except OSError as error:
            # Where Django puts the body before any of its code runs.
            if answered or not is_disk_full(error):
                raise
            await self._refuse(scope, receive, send, {REFUSED_FLAG: Code.STORAGE_FULL})
            return
        finally:
            self._promised -= size
        if too_slow and not answered:
            await self._refuse(scope, receive, send, {REFUSED_FLAG: Code.TOO_SLOW})

    async def _refuse(self, scope: dict[str, Any], receive: Receive, send: Send, flags: dict[str, Any]) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name not in BODY_HEADERS]
        bare = {**scope, "headers": headers, **flags}

        asked = False

        async def nothing() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            # Django listens for a disconnect while it works. What arrives until then is thrown away, so that
            # a browser in the middle of sending gets to read the answer.
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return message

        await self.application(bare, nothing, send)


async def _in_time(receive: Receive, received: int, begun: float) -> Message:
    """What comes next of a body, or TOO_SLOW."""
    now = time.monotonic()
    # Until then, what has come so far is fast enough.
    enough_until = begun + max(FIRST_SECONDS, received / SLOWEST_BYTES_A_SECOND)
    try:
        async with asyncio.timeout(max(min(SILENCE_SECONDS, enough_until - now), 0.001)):
            return await receive()
    except TimeoutError:
        return TOO_SLOW

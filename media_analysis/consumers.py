"""The live view's WebSocket. It says who may watch, and sends; it writes nothing and listens to nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import Counter
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error
from django.utils.module_loading import import_string

from accounts import sessions
from accounts.errors import SentinelError
from accounts.models import User
from media_analysis import custody, selectors
from media_analysis.hub import HeartbeatMessage, Message, Watcher, current_hub
from media_analysis.models import Analysis

logger = logging.getLogger(__name__)

# Close codes, as the HTTP statuses with 4 in front.
NOT_LOGGED_IN, NOT_FOUND, TOO_MANY, BROKEN = 4401, 4404, 4429, 1011
NORMAL = 1000
HEARTBEAT_SECONDS = 15.0
# How often to ask whether somebody is still logged in and may still see the analysis.
CHECK_SECONDS = 10.0
# Whoever takes longer for one message is not there any more.
SEND_SECONDS = 30.0
# Sockets of one user in one web process.
MOST_EACH = 100

_open: Counter[int] = Counter()


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Everything about one analysis from its beginning, or from what the watcher has, until it is finished.

    The query string may say what that is: ``stream`` and ``next``, the number of the first event that is missing.
    """

    # The hub listens for all: a socket needs no channel of its own.
    channel_layer_alias = ""
    watcher: Watcher | None = None
    user: User | None = None
    user_pk: int | None = None
    task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        # Accepted first: only then the reason of a refusal reaches a browser.
        await self.accept()
        try:
            analysis, code = await self._find()
            # Of the watcher, not of the owner of the file: members of a case watch it too.
            if analysis is not None and self.user is not None:
                if _open[self.user.pk] >= MOST_EACH:
                    analysis, code = None, TOO_MANY
                else:
                    await _note_look(analysis, self.user, _address_of(self.scope))
        except Error:
            # The page comes again by itself.
            logger.warning("The live view cannot reach the database", exc_info=True)
            analysis, code = None, BROKEN
        if analysis is None or self.user is None:
            await self.close(code)
            return
        asked = parse_qs(self.scope["query_string"].decode("latin1"))
        following = asked.get("next", ["0"])[0]
        # From here on nothing can fail before the socket is closed, which counts it out.
        self.user_pk = self.user.pk
        _open[self.user_pk] += 1
        self.watcher = await current_hub().join(
            analysis.pk,
            analysis.public_id,
            has_stream=asked.get("stream", [""])[0],
            has_events=int(following) if re.fullmatch("[0-9]{1,9}", following) else 0,
        )
        self.task = asyncio.create_task(self._serve(self.watcher))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Nothing is expected."""

    async def disconnect(self, code: int) -> None:
        if self.user_pk is not None:
            _open[self.user_pk] -= 1
            if not _open[self.user_pk]:
                del _open[self.user_pk]
            self.user_pk = None
        if self.task is not None:
            self.task.cancel()
        if self.watcher is not None:
            await current_hub().leave(self.watcher)

    async def _serve(self, watcher: Watcher) -> None:
        try:
            await self.close(await self._send_all(watcher))
        except TimeoutError:
            await self.close(BROKEN)
        except OSError:
            # The other end is gone: there is nobody to tell.
            return
        except Exception:
            logger.exception("A live view broke off")
            await self.close(BROKEN)

    async def _send_all(self, watcher: Watcher) -> int:
        """Send what there is as it comes; returns the code to close with."""
        sent_at = checked_at = time.monotonic()
        while True:
            watcher.awake.clear()
            now = time.monotonic()
            message, again = watcher.next_message(now)
            if message is None and now - sent_at >= HEARTBEAT_SECONDS:
                message = HeartbeatMessage(type="heartbeat")
            if message is not None:
                if not isinstance(message, bytes) and message["type"] == "gone":
                    return NOT_FOUND
                await self._send(message)
                sent_at = time.monotonic()
                if not isinstance(message, bytes) and message["type"] == "finished":
                    return NORMAL
            if now - checked_at >= CHECK_SECONDS:
                try:
                    analysis, code = await self._find()
                except Error:
                    # There is nothing to be seen meanwhile either: ask again when there may be.
                    logger.warning("The live view cannot reach the database", exc_info=True)
                else:
                    if analysis is None:
                        return code
                checked_at = now
            if message is None:
                rest = min(HEARTBEAT_SECONDS - (now - sent_at), CHECK_SECONDS - (now - checked_at))
                await _wait(watcher.awake, max(min(rest, again if again is not None else rest), 0.01))

    async def _send(self, message: Message) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            if isinstance(message, bytes):
                await self.send(bytes_data=message)
            else:
                await self.send(text_data=json.dumps(message, separators=(",", ":")))

    async def _find(self) -> tuple[Analysis | None, int]:
        """The analysis, if whoever is logged in now may see it; else the code that says why not."""
        session = await self._session()
        user = await get_user({"session": session})
        if not user.is_authenticated or not await _is_live(session):
            return None, NOT_LOGGED_IN
        self.user = user
        try:
            return await _get_analysis(user, self.scope["url_route"]["kwargs"]["public_id"]), NORMAL
        except SentinelError:
            return None, NOT_FOUND

    async def _session(self) -> Any:
        """The session as it is now: the scope's own was read when the socket was opened."""
        store = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        return store(self.scope["session"].session_key)


_get_analysis = database_sync_to_async(selectors.get_analysis)
_is_live = database_sync_to_async(sessions.is_live)


def _address_of(scope: Any) -> str:
    """The watcher's network address, as :func:`accounts.addresses.address_of` has it of a request."""
    address: str = (scope.get("client") or [""])[0]
    if settings.REST_FRAMEWORK["NUM_PROXIES"]:
        told = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin1")
        address = told.rpartition(",")[2].strip() or address
    return address[:45]


@database_sync_to_async  # type: ignore[untyped-decorator]
def _note_look(analysis: Analysis, user: User, address: str) -> None:
    with custody.acting_from(address):
        custody.look_at(analysis, actor=user, what=custody.What.LIVE)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    # Of the two ways to wait, the one that needs no task of its own: it is gone through often.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()

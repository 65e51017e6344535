"""An id for each request and socket: in its log lines, in the answer's X-Request-ID, on the page of a failure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from accounts.correlation import Work, working_on

HEADER = b"x-request-id"
# What nginx ($request_id), ingresses and load balancers make. Anything else could be made to break log lines.
WELL_FORMED = re.compile(rb"[A-Za-z0-9_-]{8,64}")
# By these a caller could hang its requests into the traces of others, and choose which are kept.
TRACE_HEADERS = {b"traceparent", b"tracestate", b"baggage"}

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class GiveRequestId:
    """ASGI application around everything else.

    The id that a proxy in front made is taken over if proxies are trusted (SENTINEL_BEHIND_PROXY), and so is the trace
    that it says the request belongs to; from anybody else neither is.
    """

    def __init__(self, application: Application, *, trust_proxy: bool) -> None:
        self.application = application
        self.trust_proxy = trust_proxy

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.application(scope, receive, send)
            return
        request_id = self._given(scope["headers"]) or secrets.token_hex(16).encode()
        if not self.trust_proxy:
            scope = {**scope, "headers": [each for each in scope["headers"] if each[0] not in TRACE_HEADERS]}

        async def named(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept", "websocket.http.response.start"}:
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, request_id)]}
            await send(message)

        with working_on(Work(request_id=request_id.decode())):
            await self.application(scope, receive, named)

    def _given(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        given = [value for name, value in headers if name == HEADER]
        if self.trust_proxy and len(given) == 1 and WELL_FORMED.fullmatch(given[0]):
            return given[0]
        return b""

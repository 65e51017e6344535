"""uvicorn's HTTP protocol with an end to patience: who sends the head of a request slowly, or without end, is cut off.

uvicorn itself waits for ever for a head and keeps however much of it comes. A proxy in front has limits of its own;
these are for a site without one. Bodies are watched in :mod:`sentinel_site.bodies`.
Used as ``uvicorn --http sentinel_site.http_server:BoundedHttp``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# From the first byte, or from the connection, to the end of the head.
HEAD_SECONDS = 20.0
# Request line and all headers: as much as nginx takes, and more than any browser sends.
HEAD_BYTES = 32 * 1024
HEADERS = 100


class BoundedHttp(HttpToolsProtocol):
    """Heads of requests end within HEAD_SECONDS and HEAD_BYTES, or the connection does."""

    # Set while a head is awaited.
    _deadline: asyncio.TimerHandle | None = None
    _between = True
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._between and self._deadline is None:
            # The first bytes on a connection that was kept alive, be they only empty lines.
            self._begin_head()
        awaited = self._deadline
        super().data_received(data)
        # Not the bytes with which a head begins: those before them may be of a body.
        if awaited is not None and self._deadline is awaited:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._hang_up(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > HEADERS:
            # uvicorn answers 400 and closes the connection.
            raise ValueError("too many headers")

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._between = True

    def _begin_head(self) -> None:
        self._end_head()
        self._head_bytes = 0
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._hang_up, 408)

    def _end_head(self) -> None:
        self._between = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hang_up(self, status: int) -> None:
        self._end_head()
        if not self.transport.is_closing():
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

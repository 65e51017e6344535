"""An HTTP proxy on this machine through which another program sees of the network what `safe_http` lets it see.

yt-dlp resolves names and follows redirects by itself. Told to go through here, each of its connections is checked and
pinned like our own, and all of them together have a limit of bytes and an end.
"""

from __future__ import annotations

import base64
import hmac
import logging
import secrets
import select
import socket
import socketserver
import threading
import time
from types import TracebackType
from urllib.parse import SplitResult

from media_analysis import safe_http

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024


class FetchProxy:
    """Runs while it is entered. ``url`` is where to find it, with its password: nobody else on this machine knows it.

    `max_bytes` counts what comes from outside, over all connections. After `timeout` seconds everything is cut off.
    """

    def __init__(self, fence: safe_http.Fence, *, max_bytes: int, timeout: float) -> None:
        self.fence = fence
        self.deadline = time.monotonic() + timeout
        # Addresses that were asked for and refused, with the reason.
        self.refused: list[str] = []
        self.exhausted = False
        self._left = max_bytes
        self._lock = threading.Lock()
        self._password = secrets.token_urlsafe(24)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"http://fetch:{self._password}@127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FetchProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Relays look at it with every piece.
        self.deadline = 0.0
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def knows(self, authorization: str) -> bool:
        """Whether a Proxy-Authorization header names our password."""
        expected = "Basic " + base64.b64encode(f"fetch:{self._password}".encode()).decode()
        return hmac.compare_digest(authorization.encode(), expected.encode())

    def take(self, count: int) -> bool:
        """Count bytes from outside. False once there were too many, or it is too late."""
        with self._lock:
            self._left -= count
            if self._left < 0:
                self.exhausted = True
        return self._left >= 0 and time.monotonic() < self.deadline

    @property
    def seconds_left(self) -> float:
        return max(self.deadline - time.monotonic(), 0.0)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # Each ends with its time-out; nobody has to wait for it.
    block_on_close = False

    def __init__(self, proxy: FetchProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        logger.warning("A connection of the fetching proxy broke off", exc_info=True)


class _Handler(socketserver.BaseRequestHandler):
    """One connection: one request, answered and closed."""

    server: _Server

    def handle(self) -> None:
        proxy, client = self.server.proxy, self.request
        client.settimeout(proxy.seconds_left or 0.1)
        try:
            head, rest = _read_head(client)
            line, *lines = head.decode("latin-1").split("\r\n")
            method, target, version = line.split(" ")
        except (ValueError, OSError):
            return
        headers = [(name.strip(), value.strip()) for name, _, value in (each.partition(":") for each in lines)]
        authorization = next((value for name, value in headers if name.lower() == "proxy-authorization"), "")
        if not proxy.knows(authorization):
            _answer(client, 'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="fetch"')
            return
        tunnel = method == "CONNECT"
        try:
            parts = safe_http.check_url(f"https://{target}/" if tunnel else target, proxy.fence)
            host, port = parts.hostname or "", safe_http.port_of(parts)
            with safe_http.connected(host, port, proxy.fence, proxy.seconds_left or 0.1) as server:
                if tunnel:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    server.sendall(rest)
                else:
                    server.sendall(_request_head(method, parts, version, headers) + rest)
                _relay(client, server, proxy)
        except safe_http.Refused as error:
            proxy.refused.append(f"{error.reason}: {target}")
            logger.warning("Refused to ask %.200s for a link: %s", target, error.reason)
            _answer(client, "HTTP/1.1 403 Forbidden")
        except OSError:
            _answer(client, "HTTP/1.1 502 Bad Gateway")


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The request's head without its last empty line, and what came after it. Raises ValueError if there is none."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(PIECE_BYTES)
        if not piece or len(received) > MAX_HEAD_BYTES:
            raise ValueError("no request")
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def _request_head(method: str, parts: SplitResult, version: str, headers: list[tuple[str, str]]) -> bytes:
    """What the server gets: the path alone, and an end of the connection with the answer."""
    kept = [
        f"{name}: {value}"
        for name, value in headers
        if name.lower() not in {"connection", "keep-alive"} and not name.lower().startswith("proxy-")
    ]
    lines = [f"{method} {safe_http.request_target(parts)} {version}", *kept, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _relay(client: socket.socket, server: socket.socket, proxy: FetchProxy) -> None:
    """Both ways, until one side ends, nothing is left of the bytes, or the time is over."""
    while proxy.seconds_left:
        ready, _, _ = select.select([client, server], [], [], min(proxy.seconds_left, 1.0))
        for each in ready:
            piece = each.recv(PIECE_BYTES)
            if not piece or (each is server and not proxy.take(len(piece))):
                return
            (client if each is server else server).sendall(piece)


def _answer(client: socket.socket, head: str) -> None:
    try:
        client.sendall(f"{head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    except OSError:
        logger.debug("Nobody waits for the proxy's answer any more")

"""HTTP to addresses that strangers named, without a door into our own network.

Only http and https, without user names; a host is resolved once, each of its addresses has to be public, and the
connection goes to the very address that was looked at (TLS is still checked for the name). Redirects are new addresses
and checked as such. Nothing of ours goes along: no cookies, no proxies of the environment, no credentials. Bodies are
read as they are sent, never inflated, up to a limit of bytes and of time.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

MAX_URL_LENGTH = 2048
MAX_REDIRECTS = 5
USUAL_PORTS = frozenset({80, 443})
PIECE_BYTES = 64 * 1024
# No byte for so long, and a connection is given up.
STALL_SECONDS = 15.0
# For a name to be resolved; and names at a time, with those whose answer nobody waits for any more.
RESOLVE_SECONDS = 10.0
MAX_LOOK_UPS = 64
# A name with at least two labels, the last of which is no number in any notation: what inet_aton reads as an address
# (127.1, 2130706433, 0x7f.1, 0177.0.0.1) is none.
HOST_NAME = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?!0x)[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
)
# NAT64, 6to4, Teredo, IPv4-mapped, -translated and -compatible: addresses that stand for others, which may be private.
STAND_INS = [
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "::/96",
    )
]


_look_ups = threading.BoundedSemaphore(MAX_LOOK_UPS)


class Refused(Exception):
    """An address that is not asked. ``reason`` is a machine name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadAnswer(Exception):
    """A server answered with something that is not followed or read. ``reason`` is a machine name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fence:
    """Which addresses may be asked: public ones on these `ports` (None: on all).

    `exceptions` are addresses as "127.0.0.1:8000" that may be asked all the same, for tests; `open` lets everything in.
    """

    ports: frozenset[int] | None = USUAL_PORTS
    exceptions: Collection[str] = field(default=())
    open: bool = False

    def allows_port(self, host: str, port: int) -> bool:
        return self.open or self.ports is None or port in self.ports or _with_port(host, port) in self.exceptions

    def allows(self, address: str, port: int) -> bool:
        if self.open or _with_port(address, port) in self.exceptions:
            return True
        return is_public(address) and (self.ports is None or port in self.ports)


def is_public(address: str) -> bool:
    """Whether this IP address can belong to a public server: reachable from everywhere, and no stand-in for another."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    stands_in = any(ip in network for network in STAND_INS if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not stands_in


def check_url(url: str, fence: Fence) -> SplitResult:
    """The parts of an address in a plain form. Raises :class:`Refused` for every other form.

    Nothing is resolved: that an address may be asked is known only when it is.
    """
    if len(url) > MAX_URL_LENGTH:
        raise Refused("too_long")
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\<>\"^`{|}]", url):
        raise Refused("odd_characters")
    try:
        parts = urlsplit(url)
        port = port_of(parts)
    except ValueError as error:
        raise Refused("malformed") from error
    if parts.scheme not in {"http", "https"}:
        raise Refused("scheme")
    if "@" in parts.netloc:
        raise Refused("user_name")
    host = parts.hostname or ""
    if _is_literal(host):
        if not fence.allows(host, port):
            raise Refused("address")
    elif not HOST_NAME.fullmatch(host):
        raise Refused("host")
    if not fence.allows_port(host, port):
        raise Refused("port")
    return parts


def _is_literal(host: str) -> bool:
    """Whether this is an IP address in its usual notation."""
    try:
        return str(ipaddress.ip_address(host)) == host or ":" in host
    except ValueError:
        return False


def _with_port(address: str, port: int) -> str:
    return f"{address}:{port}"


def port_of(parts: SplitResult) -> int:
    """The port that is asked. Raises ValueError for an impossible one."""
    if parts.port is not None:
        return parts.port
    return 443 if parts.scheme == "https" else 80


def resolve(host: str, port: int, timeout: float) -> list[str]:
    """The host's addresses. Raises TimeoutError after ``timeout`` seconds, OSError if there is none.

    The system's resolver knows no time-out of ours, and may wait for a minute for a name server that is silent. So it
    is asked in a thread that is left behind when it is too late; how many of those there can be is limited.
    """
    deadline = time.monotonic() + timeout
    if not _look_ups.acquire(timeout=timeout):
        raise TimeoutError
    answer: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.set_result([str(entry[4][0]) for entry in found])
        except Exception as error:  # noqa: BLE001 -- whoever asked gets it
            answer.set_exception(error)
        finally:
            _look_ups.release()

    try:
        # A daemon, and so of no pool: it must not keep the process from ending.
        threading.Thread(target=look_up, name="resolver", daemon=True).start()
    except RuntimeError as error:
        _look_ups.release()
        raise OSError("no thread") from error
    return answer.result(max(deadline - time.monotonic(), 0.0))


def allowed_address(host: str, port: int, fence: Fence, timeout: float) -> str:
    """The first of the host's addresses. Raises Refused if any of them is not allowed, and as :func:`resolve` does."""
    addresses = resolve(host, port, min(timeout, RESOLVE_SECONDS))
    if not addresses:
        raise OSError("no address")
    if not all(fence.allows(address, port) for address in addresses):
        raise Refused("address")
    return addresses[0]


@contextmanager
def connected(host: str, port: int, fence: Fence, timeout: float) -> Iterator[socket.socket]:
    """A connection to an allowed address of this host that is cut off after ``timeout`` seconds, whatever happens.

    Time-outs of sockets alone would be no end: they start anew with each byte of an answer that trickles.
    """
    deadline = time.monotonic() + timeout
    address = allowed_address(host, port, fence, timeout)
    timeout = deadline - time.monotonic()
    if timeout <= 0:
        raise TimeoutError
    sock = socket.create_connection((address, port), timeout=min(timeout, STALL_SECONDS))
    # A second handle on the connection: the first one goes into the TLS layer, which must not be touched from outside.
    handle = sock.dup()
    expired = threading.Event()

    def cut_off() -> None:
        expired.set()
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield sock
        # A body without an announced length would seem to have ended.
        if expired.is_set():
            raise TimeoutError
    except (OSError, http.client.HTTPException, BadAnswer) as error:
        if expired.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
        sock.close()
        handle.close()


@contextmanager
def connection_to(parts: SplitResult, fence: Fence, timeout: float) -> Iterator[http.client.HTTPConnection]:
    """An HTTP connection to a checked address, with TLS checked for the name where it is https."""
    host, port = parts.hostname or "", port_of(parts)
    secure = parts.scheme == "https"
    with connected(host, port, fence, timeout) as plain:
        sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
        with sock:
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = kind(host, port, timeout=timeout)
            connection.sock = sock
            yield connection


def request_target(parts: SplitResult) -> str:
    """What stands in the first line of a request."""
    return parts._replace(scheme="", netloc="", fragment="", path=parts.path or "/").geturl()


class Answer:
    """A server's answer whose body can be read once, in pieces."""

    def __init__(self, url: str, address: str, response: http.client.HTTPResponse) -> None:
        self.url = url
        # The IP address that answered.
        self.address = address
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.getheaders()}
        self._response = response

    @property
    def length(self) -> int | None:
        """Bytes of the body, as announced; None where they are not."""
        return self._response.length

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises BadAnswer("incomplete") if it ends before its announced length."""
        while piece := self._response.read1(PIECE_BYTES):
            yield piece
        if self._response.length:
            raise BadAnswer("incomplete")


@contextmanager
def get(url: str, *, fence: Fence, timeout: float, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
    """The answer to a GET after at most five redirects, its body unread; all of it within ``timeout`` seconds.

    Raises Refused, BadAnswer, TimeoutError, and OSError or http.client.HTTPException where there is no (proper) answer.
    """
    deadline = time.monotonic() + timeout
    # Bodies come as they are: what is not inflated can't burst.
    sent = {"User-Agent": "Sentinel", "Accept": "*/*", **(headers or {}), "Accept-Encoding": "identity"}
    for _ in range(MAX_REDIRECTS + 1):
        parts = check_url(url, fence)
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        with connection_to(parts, fence, left) as connection:
            # Known now: an answer that closes the connection takes the socket along.
            address = str(connection.sock.getpeername()[0])
            connection.request("GET", request_target(parts), headers={**sent, "Connection": "close"})
            response = connection.getresponse()
            location = response.headers.get("Location")
            if response.status in {301, 302, 303, 307, 308} and location:
                url = urljoin(url, location.strip())
                continue
            if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
                raise BadAnswer("encoding")
            yield Answer(url, address, response)
            return
    raise BadAnswer("redirects")

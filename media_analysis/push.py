"""One message to one Web Push subscription: encrypted for the browser (RFC 8291), signed by this site (RFC 8292).

pywebpush encrypts and py_vapid signs. The request is made here, since the address comes from whoever registered the
device: only https, only to public addresses, the very address that was looked at, no redirects, no answer body, and
all of it within one time-out.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from py_vapid import Vapid02, VapidException
from pywebpush import WebPusher, WebPushException

# A push service keeps a message for a device that is away so long; whoever comes later finds it in the list.
TTL_SECONDS = 24 * 3600
# How long a signature holds; push services allow a day at most.
SIGNATURE_SECONDS = 12 * 3600
GONE = {404, 410}
# NAT64, 6to4 and Teredo: addresses that stand for others, which may be private.
STAND_INS = [ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")]


class PushError(Exception):
    """A message was not taken. ``code`` is a machine name.

    ``permanent``: another try would end the same way. ``gone``: the subscription is no more. ``retry_after``: the
    seconds that the push service asks to wait.
    """

    def __init__(
        self, code: str, *, permanent: bool = False, gone: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent
        self.gone = gone
        self.retry_after = retry_after


def send(endpoint: str, *, p256dh: str, auth: str, message: Mapping[str, str], topic: str) -> None:
    """Hand ``message`` to the push service as JSON. Returns once it was taken; raises :class:`PushError`.

    ``topic`` is at most 32 characters of base64url: a message that waits at the service for its device is replaced
    by a later one with the same topic.
    """
    body = _encrypted(endpoint, p256dh, auth, json.dumps(message, ensure_ascii=False).encode())
    headers = {
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(TTL_SECONDS),
        "Urgency": "normal",
        "Topic": topic,
        "User-Agent": "Sentinel",
        **_signature(endpoint),
    }
    status, retry_after = _post(endpoint, body, headers)
    if 200 <= status < 300:
        return
    if status in GONE:
        raise PushError(f"status_{status}", permanent=True, gone=True)
    again = status == 429 or status >= 500
    raise PushError(f"status_{status}", permanent=not again, retry_after=retry_after)


def _encrypted(endpoint: str, p256dh: str, auth: str, content: bytes) -> bytes:
    try:
        pusher = WebPusher({"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}})
        return bytes(pusher.encode(content, "aes128gcm")["body"])
    except (WebPushException, ValueError) as error:
        raise PushError("bad_keys", permanent=True) from error


def _signature(endpoint: str) -> dict[str, str]:
    url = urlsplit(endpoint)
    claims = {
        "aud": f"{url.scheme}://{url.netloc}",
        "sub": settings.VAPID_CONTACT,
        "exp": int(time.time()) + SIGNATURE_SECONDS,
    }
    try:
        return dict(_signer(settings.VAPID_PRIVATE_KEY).sign(claims))
    except VapidException as error:
        raise PushError("not_signed", permanent=True) from error


@lru_cache(maxsize=1)
def _signer(private_key: str) -> Vapid02:
    return Vapid02.from_raw(private_key.encode())


def _post(endpoint: str, body: bytes, headers: dict[str, str]) -> tuple[int, float | None]:
    """The status of the answer, and the seconds to wait if it names any."""
    url = urlsplit(endpoint)
    secure = url.scheme == "https"
    if not url.hostname or not (secure or (url.scheme == "http" and settings.SENTINEL_PUSH_ALLOW_PRIVATE)):
        raise PushError("address_refused", permanent=True)
    timeout = settings.SENTINEL_PUSH_TIMEOUT_SECONDS
    try:
        port = url.port or (443 if secure else 80)
        with _connected(url.hostname, port, timeout) as plain:
            # The certificate is checked for the name, though the connection was made by address.
            sock = ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname) if secure else plain
            with sock:
                kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
                connection = kind(url.hostname, port, timeout=timeout)
                connection.sock = sock
                connection.request(
                    "POST", url._replace(scheme="", netloc="", fragment="").geturl() or "/", body, headers
                )
                # Its body is never read: nobody needs it, and nobody knows how long it is.
                answer = connection.getresponse()
                return answer.status, _seconds(answer.headers.get("Retry-After"))
    except ssl.SSLCertVerificationError as error:
        raise PushError("bad_certificate") from error
    except TimeoutError as error:
        raise PushError("timed_out") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PushError("unreachable") from error


@contextmanager
def _connected(host: str, port: int, timeout: float) -> Iterator[socket.socket]:
    """A connection to an allowed address of this host that is cut off after ``timeout`` seconds, whatever happens.

    Time-outs of sockets alone would be no end: they start anew with each byte of an answer that trickles.
    """
    sock = socket.create_connection(_allowed_address(host, port), timeout=timeout)
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
    except (OSError, http.client.HTTPException) as error:
        if expired.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
        sock.close()
        handle.close()


def _allowed_address(host: str, port: int) -> tuple[str, int]:
    """The first of the host's addresses. Raises PushError if any of them is not public, OSError if there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not settings.SENTINEL_PUSH_ALLOW_PRIVATE and not all(is_public(address) for address in addresses):
        raise PushError("address_refused", permanent=True)
    return addresses[0], port


def is_public(address: str) -> bool:
    """Whether this IP address can belong to a push service: reachable from everywhere, and no stand-in for another."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    stands_in = any(ip in network for network in STAND_INS if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not stands_in


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header says, in seconds from now, at least 0; None if it says nothing that can be read."""
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - timezone.now()).total_seconds(), 0.0)

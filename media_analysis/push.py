"""One message to one Web Push subscription: encrypted for the browser (RFC 8291), signed by this site (RFC 8292).

pywebpush encrypts and py_vapid signs. The request is made here, since the address comes from whoever registered the
device: only https, only to public addresses (see media_analysis.safe_http), no redirects, no answer body, and all of it
within one time-out.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from py_vapid import Vapid02, VapidException
from pywebpush import WebPusher, WebPushException

from media_analysis import safe_http

# A push service keeps a message for a device that is away so long; whoever comes later finds it in the list.
TTL_SECONDS = 24 * 3600
# How long a signature holds; push services allow a day at most.
SIGNATURE_SECONDS = 12 * 3600
GONE = {404, 410}


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
    fence = safe_http.Fence(ports=None, open=settings.SENTINEL_PUSH_ALLOW_PRIVATE)
    try:
        with safe_http.connection_to(url, fence, settings.SENTINEL_PUSH_TIMEOUT_SECONDS) as connection:
            connection.request("POST", safe_http.request_target(url), body, headers)
            # Its body is never read: nobody needs it, and nobody knows how long it is.
            answer = connection.getresponse()
            return answer.status, _seconds(answer.headers.get("Retry-After"))
    except safe_http.Refused as error:
        raise PushError("address_refused", permanent=True) from error
    except ssl.SSLCertVerificationError as error:
        raise PushError("bad_certificate") from error
    except TimeoutError as error:
        raise PushError("timed_out") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PushError("unreachable") from error


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

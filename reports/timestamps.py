"""Asking a time stamping authority (RFC 3161) when something was there, and never waiting long for the answer."""

from __future__ import annotations

import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from asn1crypto import tsp
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.timestamps.common_utils import TimestampRequestError

logger = logging.getLogger(__name__)

# Far above any token with its certificates.
MOST_BYTES = 64 * 1024
# After a failure nobody is asked for so long: reports that are made meanwhile don't each wait in vain.
REST_SECONDS = 60.0

_resting_until = 0.0


def may_ask() -> bool:
    """False for a while after a failure."""
    return time.monotonic() >= _resting_until


def rest() -> None:
    """Leave the authority alone for a while."""
    global _resting_until  # noqa: PLW0603 -- one authority and one clock for the whole process
    _resting_until = time.monotonic() + REST_SECONDS


class BoundedTimeStamper(TimeStamper):
    """Asks `url` once for each token, and for `seconds` at most, looking up its name included.

    pyHanko's own client leaves the last to the system's resolver, which may take half a minute.
    """

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.url = url
        self.seconds = seconds

    async def async_request_tsa_response(self, req: Any) -> Any:
        """The answer as :class:`asn1crypto.tsp.TimeStampResp`. Raises TimestampRequestError."""
        answers: queue.Queue[bytes | Exception] = queue.Queue()
        body = req.dump()

        def ask() -> None:
            try:
                answers.put(_post(self.url, body, self.seconds))
            except (OSError, ValueError, urllib.error.URLError) as error:
                answers.put(error)

        # A daemon: a resolver that hangs holds up neither this report nor the end of the process.
        threading.Thread(target=ask, name="timestamp", daemon=True).start()
        try:
            answer = answers.get(timeout=self.seconds)
        except queue.Empty:
            raise TimestampRequestError(f"no answer in {self.seconds:g} s") from None
        if isinstance(answer, Exception):
            raise TimestampRequestError(str(answer)) from answer
        return tsp.TimeStampResp.load(answer)


def _post(url: str, body: bytes, seconds: float) -> bytes:
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 -- seal.require_settings
    with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
        content_type = response.headers.get_content_type()
        if content_type != "application/timestamp-reply":
            raise ValueError(f"an answer of type {content_type}")
        answer: bytes = response.read(MOST_BYTES + 1)
    if len(answer) > MOST_BYTES:
        raise ValueError(f"an answer of more than {MOST_BYTES} bytes")
    return answer

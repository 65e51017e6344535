"""Whether this web process should be sent requests: what they need answers, and it is not about to be stopped.

A balancer asks here. What a new start could not mend is no reason to be restarted, so a supervisor asks elsewhere:
``/api/v1/live/``. The queue is asked and told of, but decides nothing, and workers are not asked: without them files
are still accepted, and housekeeping tells the queue later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django_q.brokers import get_broker

logger = logging.getLogger(__name__)

# Longest that all of it together is waited for.
SECONDS = 2.0
# Never there: to be told so, the storage has to answer.
NOBODY = "media/ready"
# While this file is in the data folder, this host asks to be left alone.
DRAIN_FILE = "draining"

# Bounded, so that what hangs does not gather threads; and a thread each, so that it does not keep the others waiting.
_askers = {name: ThreadPoolExecutor(1, thread_name_prefix=f"ready-{name}") for name in ("database", "queue", "storage")}
_asked: dict[str, Future[None]] = {}


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is reachable from here, and whether this host is being emptied."""

    database: bool
    queue: bool
    storage: bool
    draining: bool

    @property
    def ready(self) -> bool:
        return self.database and self.storage and not self.draining


def check_readiness() -> Readiness:
    """Ask all that a request may need, for SECONDS at most."""
    end = time.monotonic() + SECONDS
    for name, ask in ASKS.items():
        # One that hangs is asked again only when it has answered.
        if name not in _asked or _asked[name].done():
            _asked[name] = _askers[name].submit(ask)
    answers = {name: _answers(name, end - time.monotonic()) for name in ASKS}
    return Readiness(draining=is_draining(), **answers)


def is_draining() -> bool:
    return (Path(settings.DATA_DIR) / DRAIN_FILE).exists()


def _answers(name: str, seconds: float) -> bool:
    try:
        _asked[name].result(timeout=max(seconds, 0))
    except Exception as error:  # noqa: BLE001 -- whatever it is, there was no answer, and the log says why
        logger.error("Not ready: the %s does not answer: %r", name, error)
        return False
    return True


def _ask_database() -> None:
    try:
        connection.ensure_connection()
        if not connection.is_usable():
            raise ConnectionError("the connection broke")
    finally:
        # This thread's own connection: nobody else would close it.
        connection.close()


def _ask_queue() -> None:
    try:
        if not get_broker().ping():
            raise ConnectionError("no answer")
    finally:
        connection.close()


def _ask_storage() -> None:
    default_storage.exists(NOBODY)


ASKS: dict[str, Callable[[], None]] = {"database": _ask_database, "queue": _ask_queue, "storage": _ask_storage}

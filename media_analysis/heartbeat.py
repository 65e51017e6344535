"""Signs of life of whoever holds a claim, from a thread of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)


class Heartbeat:
    """Calls `beat` every SENTINEL_HEARTBEAT_SECONDS from :meth:`start` to :meth:`stop`, until it answers False.

    ``is_lost`` says so then: the claim is another's, or nobody wants what was claimed. Where the database does not take
    a beat, the next one may come through; if none does in time, somebody else takes the claim.
    """

    def __init__(self, name: str, beat: Callable[[], bool]) -> None:
        self._beat = beat
        self._lost = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_lost(self) -> bool:
        return self._lost.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(settings.SENTINEL_HEARTBEAT_SECONDS):
                try:
                    kept = self._beat()
                except DatabaseError:
                    logger.warning("%s: a sign of life was not written", self._thread.name, exc_info=True)
                    connection.close()
                    continue
                if not kept:
                    self._lost.set()
                    return
        finally:
            # This thread's own connection: nobody else would close it.
            connection.close()

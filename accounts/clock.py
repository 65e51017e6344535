"""Time among several hosts, whose clocks may differ, jump, and be wrong.

What hosts compare with each other is said by the clock of the database, which they share. Whether something stands
still is judged by each with its own stopwatch, which no change of any clock moves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from django.db import connection
from django.utils import timezone

# How long what the database said is carried on by our own stopwatch: it may be set right meanwhile.
ASK_EVERY_SECONDS = 60.0

Key = TypeVar("Key", bound=Hashable)

_lock = threading.Lock()
_asked: tuple[datetime, float] | None = None


def now() -> datetime:
    """The time by the database's clock, with a time zone.

    Raises :class:`django.db.DatabaseError` if it cannot be asked. A database in a file has this host's clock.
    """
    global _asked  # noqa: PLW0603 -- one for the process
    if connection.vendor == "sqlite":
        return timezone.now()
    with _lock:
        if _asked is None or stopwatch() - _asked[1] > ASK_EVERY_SECONDS:
            _asked = (_ask(), stopwatch())
        said, at = _asked
    return said + timedelta(seconds=stopwatch() - at)


def stopwatch() -> float:
    """Seconds that only ever grow, at one pace, also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _ask() -> datetime:
    said: datetime
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (said,) = cursor.fetchone()
    elif connection.vendor == "mongodb":
        said = connection.database.command("hello")["localTime"]  # type: ignore[attr-defined]
    else:
        said = timezone.now()
    return said if said.tzinfo else said.replace(tzinfo=UTC)


class StandstillWatch(Generic[Key]):
    """Notices what does not change: looked at again and again by one process, each time with all that there is."""

    def __init__(self) -> None:
        self._since: dict[Key, tuple[object, float]] = {}

    def still_for(self, seconds: float, signs: Iterable[tuple[Key, object]]) -> list[Key]:
        """Of things by their keys, each with its sign of life: those whose sign is the same since so many seconds."""
        moment = stopwatch()
        before, self._since = self._since, {}
        for key, sign in signs:
            known = before.get(key)
            self._since[key] = known if known and known[0] == sign else (sign, moment)
        return [key for key, (_sign, since) in self._since.items() if moment - since >= seconds]

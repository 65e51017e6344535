"""Messages that wake workers, through the broker of the settings.

A message says no more than that there is work in a lane: which analysis is done, its receiver looks up in the database.
So a message may get lost, come twice or come late. Who finds no message looks for waiting work by himself now and then,
and goes on so while the broker is away.
"""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from time import sleep
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections
from django.utils import timezone
from django_q.brokers import Broker, get_broker, redis_broker
from django_q.brokers import orm as database_broker
from django_q.conf import Conf
from django_q.humanhash import uuid
from django_q.signing import SignedPackage
from django_q.tasks import async_task
from redis import Redis, from_url
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from accounts import clock
from media_analysis import scheduling

logger = logging.getLogger(__name__)

RUN_NEXT = "media_analysis.tasks.run_next"
# Without a message, so often the database is asked whether something waits; and as long as something does.
LOOK_EVERY_SECONDS = 2.0
LOOK_ON_SECONDS = 0.2
# A broker that is away is left alone for so long, and complained of so often.
LEAVE_ALONE_SECONDS = 2.0
COMPLAIN_EVERY_SECONDS = 60.0
# Longer than a worker listens at a time; an upload waits no longer for a broker that hangs.
REDIS_LISTEN_SECONDS = 1
REDIS_TIMEOUT_SECONDS = 3.0


class Trouble:
    """A broker or database that is away: complained of once a minute, and once when it is back."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._complained_at: float | None = None
        self._away_until = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether it failed a moment ago, so that asking again would only cost time."""
        return clock.stopwatch() < self._away_until

    def note(self, error: Exception) -> None:
        now = clock.stopwatch()
        with self._lock:
            self._away_until = now + LEAVE_ALONE_SECONDS
            if self._complained_at is not None and now - self._complained_at < COMPLAIN_EVERY_SECONDS:
                return
            self._complained_at = now
        logger.warning("%s is away, and nothing is lost by it: %s", self._what, error)

    def is_over(self) -> None:
        with self._lock:
            was, self._complained_at = self._complained_at, None
        if was is not None:
            logger.warning("%s is back", self._what)


_trouble = Trouble("The broker of the queue")


def tell(lane: str, wanted: str = "") -> None:
    """Wake a worker that serves this lane and can do this; one that is busy hears of it when it is through.

    Whoever calls has written down already what is to be done: a broker that is away is no failure.
    """
    if _trouble.is_fresh:
        return
    try:
        async_task(RUN_NEXT, broker=_broker(queue_name(lane, wanted)))
    except (RedisError, OSError) as error:
        _trouble.note(error)
    else:
        _trouble.is_over()


def queue_name(lane: str, wanted: str) -> str:
    """What brokers call the queue of a lane, or of those in it that want a certain detector."""
    name: str = Conf.PREFIX
    if lane != scheduling.DEFAULT_LANE or wanted:
        name += f":{lane}"
    return f"{name}:{wanted}" if wanted else name


@lru_cache(maxsize=64)
def _broker(name: str) -> Broker:
    return get_broker(name)


class LooksForItself(Broker):  # type: ignore[misc]
    """A broker whose messages may get lost. Subclasses say how to listen."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._ability = scheduling.own_ability()
        self._look_at = 0.0
        self._broker_trouble = Trouble("The broker of the queue")
        self._database_trouble = Trouble("The database")

    @property
    def names(self) -> list[str]:
        return sorted({queue_name(lane, wanted) for lane, wanted in self._ability.queues})

    def listen(self) -> list[tuple[Any, str]]:
        """Messages with what acknowledges them; waits for one for a moment."""
        raise NotImplementedError

    def dequeue(self) -> list[tuple[Any, str]]:
        messages: list[tuple[Any, str]] = []
        try:
            messages = self.listen()
            self._broker_trouble.is_over()
        except (RedisError, OSError, DatabaseError) as error:
            self._broker_trouble.note(error)
            connections.close_all()
            sleep(LOOK_ON_SECONDS)
        return messages or self._look()

    def _look(self) -> list[tuple[Any, str]]:
        now = clock.stopwatch()
        if now < self._look_at:
            return []
        waits = False
        try:
            waits = scheduling.something_waits(self._ability)
            self._database_trouble.is_over()
        except DatabaseError as error:
            self._database_trouble.note(error)
            connections.close_all()
        self._look_at = now + (LOOK_ON_SECONDS if waits else LOOK_EVERY_SECONDS)
        return [(None, _own_message())] if waits else []


def _own_message() -> str:
    name, key = uuid()
    message = {"id": key, "name": name, "func": RUN_NEXT, "args": (), "kwargs": {}, "started": timezone.now()}
    package: str = SignedPackage.dumps(message)
    return package


class DatabaseBroker(LooksForItself, database_broker.ORM):  # type: ignore[misc]
    """Messages in a table of the database."""

    def listen(self) -> list[tuple[Any, str]]:
        found = []
        for message in self.get_connection().filter(key__in=self.names, lock__lt=timezone.now())[: Conf.BULK]:
            taken = self.get_connection().filter(pk=message.pk, lock=message.lock).update(lock=self.timeout(message))
            if taken:
                found.append((message.pk, message.payload))
        if not found:
            sleep(Conf.POLL)
        return found


class RedisBroker(LooksForItself, redis_broker.Redis):  # type: ignore[misc]
    """Messages in Redis, which may lose them when it ends."""

    @staticmethod
    def get_connection(list_key: str | None = None) -> Redis:
        return from_url(
            settings.QUEUE_REDIS_URL,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )

    def listen(self) -> list[tuple[Any, str]]:
        found = self.connection.blpop([f"django_q:{name}:q" for name in self.names], REDIS_LISTEN_SECONDS)
        return [(None, found[1])] if found else []

    def ping(self) -> bool:
        """Whether Redis answers. No error if not: a worker starts without it too."""
        try:
            return bool(self.connection.ping())
        except (RedisError, OSError):
            return False

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Workers say how they are in the database: see :mod:`media_analysis.health`."""

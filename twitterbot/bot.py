"""One round of the bot after the other: read mentions, decide, collect results, send answers."""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, connections
from django.utils import timezone

from twitterbot import budget, linking, outbox, reading, services
from twitterbot.client import WINDOW, Keys, XClient, XError
from twitterbot.health import health_line
from twitterbot.models import BotState, Mention

logger = logging.getLogger(__name__)

HEALTH_SECONDS = 300.0
# How often results and due answers are looked for in the database.
TICK_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 900.0


def make_client() -> XClient:
    """The client that the settings describe; without keys, one that X will refuse."""
    keys = Keys(
        settings.TWITTER_API_KEY,
        settings.TWITTER_API_SECRET,
        settings.TWITTER_ACCESS_TOKEN,
        settings.TWITTER_ACCESS_TOKEN_SECRET,
    )
    return XClient(
        keys,
        host=settings.TWITTER_API_URL,
        seconds=settings.TWITTER_TIMEOUT_SECONDS,
        on_read=budget.count_reads,
    )


def missing_keys() -> list[str]:
    """The names of the settings without which the bot can't run."""
    names = ("TWITTER_API_KEY", "TWITTER_API_SECRET", "TWITTER_ACCESS_TOKEN", "TWITTER_ACCESS_TOKEN_SECRET")
    return [name for name in names if not getattr(settings, name)]


class Bot:
    """Runs until it is stopped. All that it knows is in the database."""

    def __init__(self, client: XClient) -> None:
        self._client = client
        self._stop = threading.Event()
        self._me: int | None = None
        self._next_read = 0.0

    def stop(self) -> None:
        """End after the request that is under way. May be called from a signal's handler."""
        self._stop.set()

    def run(self) -> None:
        """Round after round; what fails is tried again, later each time."""
        next_health = 0.0
        while not self._stop.is_set():
            try:
                self.round()
                if time.monotonic() >= next_health:
                    logger.info(health_line())
                    linking.forget_old()
                    next_health = time.monotonic() + HEALTH_SECONDS
            except DatabaseError:
                # The database may be away for a moment; the next round tries again, on a new connection.
                logger.exception("The bot could not reach the database")
            finally:
                connections.close_all()
            self._stop.wait(TICK_SECONDS)
        logger.info(health_line())

    def round(self) -> bool:
        """Do everything that there is to do now. False if X could not be read."""
        state = services.state()
        BotState.objects.filter(pk=state.pk).update(seen_at=timezone.now())
        if state.paused:
            return True
        read = self._read(state)
        linking.complete_joins()
        while not self._stop.is_set() and services.handle_new():
            pass
        while not self._stop.is_set() and services.collect_finished():
            pass
        if self._me is not None:
            outbox.send_due(self._client, self._me, stopping=self._stop.is_set)
        return read

    def preview(self) -> list[str]:
        """What a round would do with the mentions that came since the last one, a line for each; nothing is written
        but what was read, which X bills, and nothing is sent."""
        me = self._who_am_i()
        lines: list[str] = []
        state = BotState.objects.filter(name="bot").first()
        since = (state.started_at if state else timezone.now()) - services.LOOK_BACK
        for page in services.pages(self._client, me, since_id=state.since_id if state else None, since=since):
            for post in page.posts:
                lines.append(describe(reading.read(post, page, me=me)))
        return lines

    def _read(self, state: BotState) -> bool:
        """Take in new mentions if it is time to. False if that failed."""
        now = timezone.now()
        try:
            me = self._who_am_i()
            if time.monotonic() < self._next_read or (state.read_after and state.read_after > now):
                return True
            self._next_read = time.monotonic() + settings.TWITTER_POLL_SECONDS
            added = services.take_in_mentions(self._client, me)
            logger.debug("%s new mentions", added)
            return True
        except budget.BudgetSpent as spent:
            self._note_failure(state, f"no_{spent.what}_left", now + timedelta(seconds=LONGEST_WAIT_SECONDS))
        except XError as error:
            wait = WINDOW if error.permanent else _backoff(state.failures)
            self._note_failure(state, error.code, error.retry_at or now + wait)
        return False

    def _who_am_i(self) -> int:
        """The id of the account that the keys belong to. Raises XError or BudgetSpent.

        Access tokens begin with it; where one does not, X is asked once.
        """
        if self._me is None:
            number = settings.TWITTER_ACCESS_TOKEN.partition("-")[0]
            if number.isdecimal():
                self._me = int(number)
            else:
                budget.require_reads()
                self._me = self._client.me().id
        return self._me

    def _note_failure(self, state: BotState, code: str, until: datetime) -> None:
        logger.warning("Mentions could not be read: %s; again at %s", code, until.isoformat(timespec="seconds"))
        BotState.objects.filter(pk=state.pk).update(read_after=until, failures=state.failures + 1, last_error=code)


def _backoff(failures: int) -> timedelta:
    """Longer each time, and not all at once."""
    seconds = settings.TWITTER_RETRY_SECONDS * 2.0 ** min(failures, 16) * random.uniform(0.5, 1.0)
    return timedelta(seconds=min(seconds, LONGEST_WAIT_SECONDS))


def describe(request: reading.Request) -> str:
    """What would be done with a mention, for people to read."""
    who = f"{request.post.id} by @{request.author.handle}"
    if Mention.objects.filter(tweet_id=request.post.id).exists():
        return f"{who}: handled before"
    if request.ignored:
        return f"{who}: not answered ({request.ignored})"
    if request.command:
        return f"{who}: the word {request.command}"
    if request.problem:
        return f"{who}: refused ({request.problem}), by direct message in {request.language}"
    return f"{who}: {request.media_url} examined, answered in {request.language}"

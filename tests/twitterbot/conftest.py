from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from media_analysis import services
from media_analysis.models import Analysis
from tests.media_analysis.factories import a_result
from tests.twitterbot.fake_x import KEYS, FakeX, fake_x
from twitterbot.bot import Bot, make_client
from twitterbot.models import Mention, Reply

SITE = "https://sentinel.example.org"


@pytest.fixture(scope="session")
def running_x() -> Iterator[FakeX]:
    with fake_x() as x:
        yield x


@pytest.fixture
def x(running_x: FakeX, settings: Any) -> FakeX:
    """An empty X, and settings of a bot for it."""
    running_x.clear()
    for name, value in KEYS.items():
        setattr(settings, name, value)
    settings.TWITTER_API_URL = running_x.url
    settings.SENTINEL_URL = SITE
    settings.TWITTER_POLL_SECONDS = 0.0
    settings.TWITTER_TIMEOUT_SECONDS = 5.0
    settings.TWITTER_RETRY_SECONDS = 0.0
    settings.TWITTER_DOUBT_SECONDS = 0.0
    return running_x


@pytest.fixture
def bot(x: FakeX, db: None) -> Bot:
    return Bot(make_client())


def finish(analysis: Analysis | None, **found: Any) -> None:
    """End an examination as a worker does."""
    assert analysis is not None
    running(analysis)
    services.finish_analysis(analysis, a_result(**found), {})


def running(analysis: Analysis) -> None:
    Analysis.objects.filter(pk=analysis.pk).update(status=Analysis.Status.RUNNING, claim_token="a claim")
    analysis.refresh_from_db()


def finish_all(**found: Any) -> None:
    for mention in Mention.objects.filter(status=Mention.Status.EXAMINING).select_related("analysis"):
        finish(mention.analysis, **found)


def due_now() -> None:
    """Nobody waits in a test."""
    Reply.objects.filter(status=Reply.Status.WAITING).update(next_try_at="2026-01-01T00:00:00Z")


def statuses() -> list[str]:
    return [str(status) for status in Mention.objects.order_by("tweet_id").values_list("status", flat=True)]

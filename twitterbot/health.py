"""How the bot is: for its log and the admin."""

from __future__ import annotations

from collections import Counter

from django.conf import settings
from django.db.models import Count

from twitterbot import budget, services
from twitterbot.models import Mention, Reply


def counts() -> dict[str, dict[str, int]]:
    """How many mentions and answers of each kind are in which state."""
    mentions = Mention.objects.order_by().values_list("status").annotate(number=Count("pk"))
    found: dict[str, Counter[str]] = {"mentions": Counter(), Reply.Kind.REPLY: Counter(), Reply.Kind.DIRECT: Counter()}
    found["mentions"].update(dict(mentions))
    answers = Reply.objects.order_by().values_list("kind", "status").annotate(number=Count("pk"))
    for kind, status, number in answers:
        found[kind][status] += number
    return {name: dict(sorted(counted.items())) for name, counted in found.items()}


def health_line() -> str:
    """How the bot is, in one line of the log."""
    state, use = services.state(), budget.this_month()
    parts = [f"{name}: {_listed(counted)}" for name, counted in counts().items()]
    return (
        f"health: {'paused' if state.paused else 'running'}; {'; '.join(parts)}; "
        f"{use.month}: {use.reads} of {settings.TWITTER_MONTHLY_READS or 'any'} reads, "
        f"{use.posts} of {settings.TWITTER_MONTHLY_POSTS or 'any'} posts; "
        f"last read {state.polled_at.isoformat(timespec='seconds') if state.polled_at else 'never'}; "
        f"last error {state.last_error or 'none'}"
    )


def _listed(counted: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counted.items()) or "none"

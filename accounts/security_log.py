"""What happened to an account that matters for its safety: written here, read by its owner and by administrators.

Passwords, codes and tokens never come in, and no name of an account that is not there: people type their password
into the field for the name.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.addresses import address_of, user_agent_of
from accounts.models import SecurityEvent, User

Event = SecurityEvent.Event
# What an owner sees.
SHOWN = 50
# The same failure from the same address is not written more often than this, however fast somebody guesses.
MOST_OF_A_KIND, WITHIN = 20, timedelta(hours=1)
FAILURES = {Event.WRONG_PASSWORD, Event.WRONG_CODE, Event.WRONG_PASSKEY, Event.LOCKED_OUT, Event.PASSWORD_RESET_ASKED}


def record(
    user: User | None,
    event: SecurityEvent.Event,
    *,
    request: HttpRequest | None = None,
    actor: User | None = None,
    **details: str,
) -> None:
    """Write what happened to the account of `user`. `actor` is the administrator who did it, None for the owner."""
    address = address_of(request) if request is not None else ""
    if event in FAILURES:
        before = SecurityEvent.objects.filter(
            user=user, event=event, address=address, at__gte=timezone.now() - WITHIN
        ).count()
        if before >= (1 if event is Event.LOCKED_OUT else MOST_OF_A_KIND):
            return
    SecurityEvent.objects.create(
        user=user,
        event=event,
        actor=actor,
        actor_name=actor.get_username() if actor is not None else "",
        address=address,
        user_agent=user_agent_of(request) if request is not None else "",
        details=details,
    )


def newest_of(user: User) -> QuerySet[SecurityEvent]:
    """The last :data:`SHOWN` events of somebody, newest first."""
    return SecurityEvent.objects.filter(user=user)[:SHOWN]


def forget_old() -> tuple[int, int]:
    """Delete addresses after SENTINEL_ADDRESS_DAYS and events after SENTINEL_SECURITY_LOG_DAYS; returns how many."""
    now = timezone.now()
    deleted, _ = SecurityEvent.objects.filter(at__lt=now - timedelta(days=settings.SENTINEL_SECURITY_LOG_DAYS)).delete()
    emptied = (
        SecurityEvent.objects.filter(at__lt=now - timedelta(days=settings.SENTINEL_ADDRESS_DAYS))
        .exclude(address="", user_agent="")
        .update(address="", user_agent="")
    )
    return emptied, deleted

"""The daily limit: so many classifications a user and day, counted from a ledger.

The day begins at midnight in SENTINEL_DAILY_LIMIT_TIME_ZONE. Nothing is ever reset: yesterday's entries are simply
of another day.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import UsageEntry, User


class DailyLimitReached(Exception):
    """The user has no classification left today."""


def limit_of(user: User) -> int:
    return settings.SENTINEL_DAILY_LIMIT if user.daily_limit is None else user.daily_limit


def today() -> date:
    return timezone.now().astimezone(_zone()).date()


def next_reset() -> datetime:
    """When the limit is new again: the coming midnight, with its time zone."""
    return datetime.combine(today() + timedelta(days=1), time.min, tzinfo=_zone())


def used(user: User) -> int:
    """Classifications spent today."""
    return UsageEntry.objects.filter(user=user, day=today()).count()


def remaining(user: User) -> int:
    """Classifications left today, never below 0."""
    return max(limit_of(user) - used(user), 0)


def spend(user: User, reference: str) -> None:
    """Take one of today's classifications for the object with the public id ``reference``, unless it has one already.

    Raises :class:`DailyLimitReached` if none is left. Safe under any number of parallel calls: each lands on
    a free slot or on none.
    """
    if UsageEntry.objects.filter(reference=reference).exists():
        return
    day = today()
    taken = set(UsageEntry.objects.filter(user=user, day=day).values_list("slot", flat=True))
    limit = limit_of(user)
    if len(taken) >= limit:
        raise DailyLimitReached
    for slot in range(1, limit + 1):
        if slot in taken:
            continue
        try:
            with transaction.atomic():
                UsageEntry.objects.create(user=user, day=day, slot=slot, reference=reference)
        except IntegrityError:
            if UsageEntry.objects.filter(reference=reference).exists():
                return  # A parallel call for the same object was faster.
            continue  # Somebody else took this slot in the meantime.
        return
    raise DailyLimitReached


def give_back(reference: str) -> None:
    """Return what was spent for ``reference``; harmless if nothing was."""
    UsageEntry.objects.filter(reference=reference).delete()


def move_use(giver: User, taker: User) -> None:
    """What one user spent today counts for another from now on, beyond their limit if it has to."""
    day = today()
    for entry in UsageEntry.objects.filter(user=giver, day=day):
        taken = set(UsageEntry.objects.filter(user=taker, day=day).values_list("slot", flat=True))
        free = (slot for slot in range(1, 32767) if slot not in taken)
        for slot in free:
            try:
                with transaction.atomic():
                    UsageEntry.objects.filter(pk=entry.pk).update(user=taker, slot=slot)
            except IntegrityError:
                continue  # They spent it themselves in the meantime.
            break


def _zone() -> ZoneInfo:
    return ZoneInfo(settings.SENTINEL_DAILY_LIMIT_TIME_ZONE)

"""What happened to an account that matters for its safety: written here, read by its owner and by administrators.

Passwords, codes and tokens never come in, and no name of an account that is not there: people type their password
into the field for the name.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone, translation

from accounts.addresses import address_of, user_agent_of
from accounts.models import AccountMail, SecurityEvent, User

Event = SecurityEvent.Event
# What an owner sees.
SHOWN = 50
# The same failure from the same address is not written more often than this, however fast somebody guesses.
MOST_OF_A_KIND, WITHIN = 20, timedelta(hours=1)
# What owners are told by e-mail too: if it was not them, they have to know today.
TOLD = {
    *(Event.PASSWORD_CHANGED, Event.EMAIL_CHANGED, Event.TOTP_ADDED, Event.TOTP_REMOVED, Event.PASSKEY_ADDED),
    *(Event.PASSKEY_REMOVED, Event.RECOVERY_CODES_MADE, Event.RECOVERY_CODE_USED, Event.SECOND_FACTOR_RESET),
    Event.CODE_USED_AGAIN,
}
# So many mails about the same within that time: who can do it again and again fills no mailbox, least of all that of
# somebody else, whose address nobody asks before it is entered.
MOST_MAILS = 5
# Written once within that time: of the second, wherever it comes from, since each writes a mail.
ONCE = {Event.LOCKED_OUT, Event.CODE_USED_AGAIN}
FAILURES = {Event.WRONG_PASSWORD, Event.WRONG_CODE, Event.WRONG_PASSKEY, Event.PASSWORD_RESET_ASKED, *ONCE}


def record(
    user: User | None,
    event: SecurityEvent.Event,
    *,
    request: HttpRequest | None = None,
    actor: User | None = None,
    email: str = "",
    address: str = "",
    user_agent: str = "",
    **details: str,
) -> None:
    """Write what happened to the account of `user`, and have its owner told where that has to be.

    `actor` is the administrator who did it, None for the owner. `email` is the address that the owner had until then,
    where that is not the one they have now. `address` and `user_agent` are those of the `request`, or of one that was.
    """
    if request is not None:
        address, user_agent = address_of(request), user_agent_of(request)
    if event in FAILURES:
        before = SecurityEvent.objects.filter(user=user, event=event, at__gte=timezone.now() - WITHIN)
        if event is not Event.CODE_USED_AGAIN:
            before = before.filter(address=address)
        if before.count() >= (1 if event in ONCE else MOST_OF_A_KIND):
            return
    with transaction.atomic():
        if user is not None and event in TOLD and lately(user, event) < MOST_MAILS:
            # First, where there are no transactions: told of what is not in the log is better than the other way.
            AccountMail.objects.create(
                kind=AccountMail.Kind.SECURITY,
                to=email or user.email,
                language=user.language or translation.get_language() or "",
                name=user.get_username(),
                event=event,
                address=address,
                user_agent=user_agent,
            )
        SecurityEvent.objects.create(
            user=user,
            event=event,
            actor=actor,
            actor_name=actor.get_username() if actor is not None else "",
            address=address,
            user_agent=user_agent,
            details=details,
        )


def lately(user: User, event: SecurityEvent.Event) -> int:
    """How often this was written of an account :data:`WITHIN` the last hour."""
    return SecurityEvent.objects.filter(user=user, event=event, at__gte=timezone.now() - WITHIN).count()


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

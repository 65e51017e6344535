"""What happened to an account that matters for its safety: written here, read by its owner and by administrators.

Passwords, codes and tokens never come in, and no name of an account that is not there: people type their password
into the field for the name.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounts.addresses import address_of, device_name, user_agent_of
from accounts.models import SecurityEvent, User

logger = logging.getLogger(__name__)

Event = SecurityEvent.Event
# What an owner sees.
SHOWN = 50
# The same failure from the same address is not written more often than this, however fast somebody guesses.
MOST_OF_A_KIND, WITHIN = 20, timedelta(hours=1)
# What owners are told by e-mail too: if it was not them, they have to know today.
TOLD = {
    *(Event.PASSWORD_CHANGED, Event.EMAIL_CHANGED, Event.TOTP_ADDED, Event.TOTP_REMOVED, Event.PASSKEY_ADDED),
    *(Event.PASSKEY_REMOVED, Event.RECOVERY_CODES_MADE, Event.RECOVERY_CODE_USED, Event.SECOND_FACTOR_RESET),
}
FAILURES = {Event.WRONG_PASSWORD, Event.WRONG_CODE, Event.WRONG_PASSKEY, Event.LOCKED_OUT, Event.PASSWORD_RESET_ASKED}


def record(
    user: User | None,
    event: SecurityEvent.Event,
    *,
    request: HttpRequest | None = None,
    actor: User | None = None,
    email: str = "",
    **details: str,
) -> None:
    """Write what happened to the account of `user`. `actor` is the administrator who did it, None for the owner.

    `email` is the address that the owner had until then, where that is not the one they have now.
    """
    address = address_of(request) if request is not None else ""
    if event in FAILURES:
        before = SecurityEvent.objects.filter(
            user=user, event=event, address=address, at__gte=timezone.now() - WITHIN
        ).count()
        if before >= (1 if event is Event.LOCKED_OUT else MOST_OF_A_KIND):
            return
    written = SecurityEvent.objects.create(
        user=user,
        event=event,
        actor=actor,
        actor_name=actor.get_username() if actor is not None else "",
        address=address,
        user_agent=user_agent_of(request) if request is not None else "",
        details=details,
    )
    if user is not None and event in TOLD:
        _tell(user, written, email or user.email)


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


def _tell(user: User, event: SecurityEvent, email: str) -> None:
    """By e-mail, in the owner's language. What they did is done, whether or not a mail server is there."""
    with translation.override(user.language or translation.get_language()):
        context = {
            "name": user.get_username(),
            "event": event.get_event_display(),
            "time": timezone.localtime(event.at),
            "address": event.address,
            "device": device_name(event.user_agent),
            "link": f"{settings.SENTINEL_URL}{reverse('accounts:security')}" if settings.SENTINEL_URL else "",
        }
        message = EmailMessage(
            subject=_("The security of your Sentinel account"),
            body=render_to_string("accounts/security_email.txt", context),
            to=[email],
            headers={"Auto-Submitted": "auto-generated"},
        )
        try:
            message.send()
        except OSError:
            # smtplib's errors are OSErrors as well as those of the network.
            logger.exception("An owner could not be told by e-mail what happened to their account")

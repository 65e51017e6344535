"""Django's own news of log-ins, written into the security log; and what the guard of log-ins may not keep."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpRequest

from accounts import security_log, sessions
from accounts.lockout import guessed_account
from accounts.models import User
from accounts.security_log import Event


@receiver(user_logged_in)
def note_log_in(sender: Any, request: HttpRequest, user: User, *, app: bool = False, **kwargs: Any) -> None:
    """`app`: with tokens, which have a session of their own; see accounts/tokens.py."""
    security_log.record(user, Event.LOGGED_IN_APP if app else Event.LOGGED_IN, request=request)
    if not app:
        sessions.begin(request, user)
        sessions.confirm(request)


@receiver(user_logged_out)
def note_log_out(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        security_log.record(user, Event.LOGGED_OUT, request=request)
        sessions.log_out(request)


@receiver(user_login_failed)
def note_failure(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Names that nobody has are not written down: they may be passwords in the wrong field."""
    user = guessed_account(request or HttpRequest(), credentials)
    if user is not None:
        locked = getattr(request, "axes_locked_out", False)
        security_log.record(user, Event.LOCKED_OUT if locked else Event.WRONG_PASSWORD, request=request)


@receiver(pre_save, sender=AccessAttempt)
def keep_no_fields(sender: Any, instance: AccessAttempt, **kwargs: Any) -> None:
    """django-axes would keep the fields of the form, in which new passwords stand beside the wrong old one."""
    instance.get_data = instance.post_data = ""

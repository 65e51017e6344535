"""Guessing passwords is stopped: after some failures in a row, for a while, for that name from that address.

After more of them from many addresses, for that name from everywhere but where its owner has logged in before: whoever
has many addresses shall not guess without end, and nobody shall lock an owner out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from accounts import names
from accounts.addresses import counted_address, guarded_address
from accounts.answers import error_body, is_api
from accounts.errors import Code, SentinelError
from accounts.models import AppSession, User, WebSession

MAX_NAME_LENGTH = 255


def guessed_account(request: HttpRequest, credentials: dict[str, Any] | None) -> User | None:
    """Whose password is tried, whichever of the account's names is given, however written."""
    name = _given_name(request, credentials)
    user = User.objects.filter(email=name.lower()).first() if "@" in name else None
    return user or User.objects.named(name)


def guessed_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name that failures are counted for: one for an account, and one for all spellings of a name nobody has.

    That one is kept as a digest, with a blank, which no name has: people type passwords into the field for the name.
    """
    user = guessed_account(request, credentials)
    if user is not None:
        return counted_name_of(user)
    key = names.key_of(_given_name(request, credentials))
    return f"? {salted_hmac('accounts.lockout', key, algorithm='sha256').hexdigest()}"


class Guard(AxesDatabaseHandler):  # type: ignore[misc]
    """Counts failures for a name from an address, and besides for the name from all addresses together."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        here: int = super().get_failures(request, credentials)
        if here < settings.AXES_FAILURE_LIMIT and _is_guessed_from_many(request, credentials):
            return int(settings.AXES_FAILURE_LIMIT)
        return here


def _is_guessed_from_many(request: HttpRequest, credentials: dict[str, Any] | None) -> bool:
    """Whether there were too many failures for this name, and its owner was never at the address that asks."""
    attempts = AccessAttempt.objects.filter(
        username=guessed_name(request, credentials), attempt_time__gte=get_cool_off_threshold(request)
    )
    by_address = attempts.order_by().values_list("ip_address").annotate(failures=Sum("failures_since_start"))
    # What was tried from an address that is locked out was never looked at: so nobody does this from a single one.
    most = settings.LOGIN_ACCOUNT_FAILURE_LIMIT
    if not most or sum(min(failures, settings.AXES_FAILURE_LIMIT) for _, failures in by_address[:most]) < most:
        return False
    user, here = guessed_account(request, credentials), guarded_address(request)
    return user is None or here is None or here not in _addresses_of(user)


def _addresses_of(user: User) -> set[str]:
    """Where somebody has logged in lately."""
    told = [model.objects.filter(user=user).values_list("address", flat=True) for model in (WebSession, AppSession)]
    return {counted_address(address) for addresses in told for address in addresses}


def counted_name_of(user: User) -> str:
    """The name that an account's failures are counted for."""
    return (user.username_key or user.username)[:MAX_NAME_LENGTH]


def forget_old() -> None:
    """Delete failures that count no more, and the log-ins that earlier versions kept beside the security log."""
    AccessAttempt.objects.filter(attempt_time__lt=timezone.now() - timedelta(seconds=_seconds())).delete()
    AccessLog.objects.all().delete()


def _given_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    given = credentials or request.POST
    return str(given.get("username") or given.get("email") or "").replace("\0", "")[:MAX_NAME_LENGTH]


def locked_out() -> SentinelError:
    """Too many failures: ``rate_limited``, with the time to wait."""
    return SentinelError(
        Code.RATE_LIMITED,
        text=_("Too many failed log-ins. Wait %(minutes)s minutes, or set a new password meanwhile."),
        headers={"Retry-After": str(_seconds())},
        minutes=_minutes(),
    )


def answer_locked_out(request: HttpRequest, credentials: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
    """After too many failed log-ins: 429, with the time to wait."""
    error = locked_out()
    response: HttpResponse
    if is_api(request.path):
        response = JsonResponse(error_body(error), status=error.status)
    else:
        response = render(request, "accounts/locked_out.html", {"minutes": _minutes()}, status=error.status)
    for name, value in error.headers.items():
        response[name] = value
    return response


def _seconds() -> int:
    return int(settings.AXES_COOLOFF_TIME * 3600)


def _minutes() -> int:
    return max(_seconds() // 60, 1)

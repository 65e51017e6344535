"""Guessing passwords is stopped: after some failures in a row, for a while, for that name from that address."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from accounts import names
from accounts.answers import error_body, is_api
from accounts.errors import Code, SentinelError
from accounts.models import User

MAX_NAME_LENGTH = 255


def guessed_account(request: HttpRequest, credentials: dict[str, Any] | None) -> User | None:
    """Whose password is tried, whichever of the account's names is given, however written."""
    name = _given_name(request, credentials)
    user = User.objects.filter(email=name.lower()).first() if "@" in name else None
    return user or User.objects.named(name)


def guessed_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name that failures are counted for: one for an account, and one for all spellings of a name nobody has."""
    user = guessed_account(request, credentials)
    return names.key_of(_given_name(request, credentials))[:MAX_NAME_LENGTH] if user is None else counted_name_of(user)


def counted_name_of(user: User) -> str:
    """The name that an account's failures are counted for."""
    return (user.username_key or user.username)[:MAX_NAME_LENGTH]


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

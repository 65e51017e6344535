"""What the pages share: the signed-in user, refusals turned into pages, and what a file may be at most."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts import limits
from accounts.answers import answer_error
from accounts.errors import SentinelError
from accounts.models import User
from accounts.signed_in import signed_in


class SignedInRequest(HttpRequest):
    """A request behind :func:`page`: its user is never anonymous."""

    user: User


def public_page(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A page for everybody that turns a :class:`SentinelError` into an error page with the error's status."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except SentinelError as error:
            response = answer_error(request, error)
        # Computers are shared: the next person's "back" button must not show it.
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return guarded


def page(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The same for signed-in users only."""
    return signed_in(public_page(view))


def upload_context(user: User) -> dict[str, Any]:
    """What the upload form says before anything is chosen."""
    return {
        **intake_limits(),
        "remaining": limits.remaining(user),
        "daily_limit": limits.limit_of(user),
        "resets_at": limits.next_reset(),
    }


def intake_limits() -> dict[str, Any]:
    """What a file may be at most, for the pages that say so."""
    return {
        "max_bytes": settings.SENTINEL_MAX_UPLOAD_BYTES,
        "max_megabytes": settings.SENTINEL_MAX_UPLOAD_BYTES // (1024 * 1024),
        "max_seconds": settings.SENTINEL_MAX_DURATION_SECONDS,
        "max_frame_rate": settings.SENTINEL_MAX_FRAME_RATE,
    }

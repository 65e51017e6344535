"""Browsers in which somebody is logged in: one :class:`~accounts.models.WebSession` a log-in, whose id lies in Django's
session. What ends the row ends the session, wherever its cookie is.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import security_log
from accounts.addresses import address_of, user_agent_of
from accounts.models import Factor, User, WebSession

MARKER = "web_session"
# When the password, or a passkey, was given last.
CONFIRMED = "confirmed_at"
# For so long afterwards, what needs it is done without asking again.
CONFIRMED_SECONDS = 15 * 60
# The time of the last use is written no more often than this.
LAST_USED_EVERY = timedelta(minutes=1)
# How long a log-in that is over stays on record: no cookie lives longer (SESSION_COOKIE_AGE).
FORGOTTEN_AFTER = timedelta(days=30)

Reason = WebSession.EndReason


def begin(request: HttpRequest, user: User) -> WebSession:
    """Note the log-in that this request's session has just become."""
    session = WebSession.objects.create(user=user, user_agent=user_agent_of(request), address=address_of(request))
    request.session[MARKER] = session.public_id
    request.web_session = session  # type: ignore[attr-defined]
    return session


def current(request: HttpRequest) -> WebSession | None:
    """The log-in that a request belongs to; None for those with a token or with nothing."""
    return getattr(request, "web_session", None)


def guard(request: HttpRequest) -> bool:
    """Whether the log-in of a request with a user still holds. One that has ended, or that ran out, does not.

    A session from before there were rows gets one.
    """
    user = cast(User, request.user)
    marker = request.session.get(MARKER)
    if marker is None:
        begin(request, user)
        return True
    session = WebSession.objects.filter(public_id=marker, user_id=user.pk).first()
    if session is None:
        return False
    if session.end_reason == Reason.PASSWORD:
        # Django has just accepted it with the new password: it is the one in which that was set.
        session.ended_at, session.end_reason = None, ""
        session.save(update_fields=["ended_at", "end_reason"])
    if session.ended_at is not None:
        return False
    now = timezone.now()
    if reason := ran_out(session, user):
        _end(WebSession.objects.filter(pk=session.pk), reason)
        security_log.record(user, security_log.Event.SESSION_TIMED_OUT, request=request)
        return False
    if now - session.last_used_at > LAST_USED_EVERY:
        # What a program polls is no use by a person, but an open page is; so is a log-in that moved elsewhere.
        session.last_used_at, session.address = now, address_of(request)
        session.save(update_fields=["last_used_at", "address"])
    request.web_session = session  # type: ignore[attr-defined]
    return True


def is_live(session: Any) -> bool:
    """Whether the log-in of a Django session still holds, for sockets, which stay open without requests."""
    row = WebSession.objects.select_related("user").filter(public_id=session.get(MARKER), ended_at__isnull=True).first()
    return row is not None and not ran_out(row, row.user)


def ran_out(session: WebSession, user: User) -> Reason | None:
    """Why a log-in is over by itself: not used for too long, or open for too long. Sooner for staff."""
    idle, whole = (
        (settings.SENTINEL_STAFF_SESSION_IDLE_HOURS, settings.SENTINEL_STAFF_SESSION_HOURS)
        if user.is_staff
        else (settings.SENTINEL_SESSION_IDLE_HOURS, settings.SENTINEL_SESSION_HOURS)
    )
    now = timezone.now()
    if now - session.created_at > timedelta(hours=whole):
        return Reason.OLD
    return Reason.IDLE if now - session.last_used_at > timedelta(hours=idle) else None


def sessions_of(user: User) -> list[WebSession]:
    """Where somebody is logged in, the one last used first."""
    rows = WebSession.objects.filter(user=user, ended_at__isnull=True)
    return [session for session in rows if not ran_out(session, user)]


def end(user: User, public_id: str) -> bool:
    """End one log-in of somebody; False if there is none of theirs with this id."""
    return bool(_end(WebSession.objects.filter(user=user, public_id=public_id), Reason.ENDED))


def end_others(user: User, keep: WebSession | None) -> int:
    """End all log-ins in browsers but this one; returns how many."""
    rows = WebSession.objects.filter(user=user)
    return _end(rows.exclude(pk=keep.pk) if keep is not None else rows, Reason.ENDED)


def log_out(request: HttpRequest) -> None:
    """Note that the owner logged out in this browser."""
    if session := current(request):
        _end(WebSession.objects.filter(pk=session.pk), Reason.LOGGED_OUT)


def mark_verified(request: HttpRequest, factor: Factor) -> None:
    """Note by which second factor the owner of this log-in was verified."""
    if session := current(request):
        session.factor = factor
        session.save(update_fields=["factor"])


def is_verified(request: HttpRequest) -> bool:
    """Whether more than a password stood behind this log-in."""
    session = current(request)
    return session is not None and bool(session.factor)


def confirm(request: HttpRequest) -> None:
    """Note that the owner has just shown that it is them."""
    request.session[CONFIRMED] = int(time.time())


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the owner has shown within :data:`CONFIRMED_SECONDS` that it is them."""
    since: int = request.session.get(CONFIRMED, 0)
    return 0 <= time.time() - since < CONFIRMED_SECONDS


def forget_ended() -> None:
    """Delete the rows of log-ins that are long over."""
    hours = max(settings.SENTINEL_SESSION_HOURS, settings.SENTINEL_STAFF_SESSION_HOURS)
    long_ago = timezone.now() - max(FORGOTTEN_AFTER, timedelta(hours=hours)) - timedelta(days=1)
    WebSession.objects.filter(Q(ended_at__lt=long_ago) | Q(created_at__lt=long_ago)).delete()


def _end(rows: QuerySet[WebSession], reason: Reason) -> int:
    # One that a changed password ended may still be the one that changed it.
    return rows.filter(Q(ended_at__isnull=True) | Q(end_reason=Reason.PASSWORD)).update(
        ended_at=timezone.now(), end_reason=reason
    )

"""Tokens for phone apps: an access token for an hour, a refresh token for two weeks that can be used once.

All tokens of one log-in name the same :class:`~accounts.models.AppSession` in the claim ``sid``; logging out ends it,
and with it every token that was ever handed out for it. A changed password or a deactivated account ends all sessions;
beyond that, a token holds a digest of the password's hash and is of no use once that is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.errors import Code, SentinelError
from accounts.models import AppSession, User
from accounts.token_keys import RefreshToken

SESSION_CLAIM = "sid"
MAX_DEVICE_LENGTH = 200
# What a 401 says of how to authenticate.
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="api"'}
# The time of the last use is written no more often than this.
LAST_USED_EVERY = timedelta(minutes=5)
# A phone that sends the same refresh twice, at once or again after a lost answer, is no thief: the second is refused,
# and the session goes on. Later than this, two parties have the token.
SECOND_SENDING = timedelta(seconds=10)
# How long a session that is over stays on record.
FORGOTTEN_AFTER = timedelta(days=30)


class _UsedOrNot(RefreshToken):
    """A valid refresh token; whether it was used before is left to whoever asks."""

    def check_blacklist(self) -> None:
        """Later, when it is used."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a log-in or a refresh hands out; `expires_in` is what the access token lasts, in seconds."""

    access: str
    refresh: str
    expires_in: int


def log_in(user: User, *, device: str = "", address: str = "") -> TokenPair:
    """Begin a session of `user` on a device, named as it names itself, at a network address."""
    session = AppSession.objects.create(user=user, device=device[:MAX_DEVICE_LENGTH], address=address)
    return _pair(user, session)


def refresh(token: str) -> TokenPair:
    """Exchange a refresh token for new tokens of the same session.

    Raises ``not_authenticated`` for one that is malformed, expired, ended or used before. One that comes again more
    than :data:`SECOND_SENDING` after its use ends its session: somebody else may have it.
    """
    given = _read(token)
    session = _session_of(given)
    if session is None:
        raise _refused()
    # One row a token: of any number that come at the same time, one is the first.
    marked: Any = given.blacklist()
    blacklisted, first = marked
    if not first:
        if timezone.now() - blacklisted.blacklisted_at > SECOND_SENDING:
            end_session(session.public_id)
        raise _refused()
    AppSession.objects.filter(pk=session.pk).update(last_used_at=timezone.now())
    return _pair(session.user, session)


def revoke(token: str) -> None:
    """Log out the device that holds this refresh token, used or not. Harmless if it is out already.

    Raises ``not_authenticated`` for one that is malformed or expired.
    """
    end_session(str(_read(token).get(SESSION_CLAIM)))


def user_of(token: Token) -> User | None:
    """Whose valid token this is; None if its session ended, its password was changed, or the account is gone."""
    session = _session_of(token)
    if session is None:
        return None
    now = timezone.now()
    if now - session.last_used_at > LAST_USED_EVERY:
        AppSession.objects.filter(pk=session.pk).update(last_used_at=now)
    return session.user


def sessions_of(user: User) -> QuerySet[AppSession]:
    """The devices on which somebody is logged in, the one last used first. Without those whose tokens ran out."""
    oldest = timezone.now() - api_settings.REFRESH_TOKEN_LIFETIME - LAST_USED_EVERY
    return AppSession.objects.filter(user=user, ended_at__isnull=True, last_used_at__gte=oldest)


def end_session(public_id: str) -> None:
    """Log a device out: none of its tokens is accepted from now on. Harmless if it is out already."""
    AppSession.objects.filter(public_id=public_id, ended_at__isnull=True).update(ended_at=timezone.now())


def end_all_sessions(user: User) -> int:
    """Log all of somebody's devices out; returns how many."""
    return user.end_app_sessions()


def forget_ended() -> None:
    """Delete the rows of tokens that ran out, and of sessions that are long over."""
    now = timezone.now()
    OutstandingToken.objects.filter(expires_at__lte=now).delete()
    long_ago = now - FORGOTTEN_AFTER
    AppSession.objects.filter(Q(ended_at__lt=long_ago) | Q(last_used_at__lt=long_ago)).delete()


def _read(token: str) -> _UsedOrNot:
    try:
        return _UsedOrNot(token)  # type: ignore[arg-type]
    except TokenError as error:
        raise _refused() from error


def _session_of(token: Token) -> AppSession | None:
    """The session of a token that still holds, with its user."""
    session = (
        AppSession.objects.select_related("user")
        .filter(public_id=str(token.get(SESSION_CLAIM)), ended_at__isnull=True)
        .first()
    )
    if session is None:
        return None
    user = session.user
    claimed = str(token.get(api_settings.REVOKE_TOKEN_CLAIM))
    if (
        not user.is_active
        or str(token.get(api_settings.USER_ID_CLAIM)) != user.public_id
        or not constant_time_compare(claimed, get_md5_hash_password(user.password))
    ):
        return None
    return session


def _pair(user: User, session: AppSession) -> TokenPair:
    token = RefreshToken.for_user(user)
    token[SESSION_CLAIM] = session.public_id
    lifetime = int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds())
    return TokenPair(access=str(token.access_token), refresh=str(token), expires_in=lifetime)


def _refused() -> SentinelError:
    return SentinelError(Code.NOT_AUTHENTICATED, headers=CHALLENGE)

"""Tokens for phone apps: an access token for an hour, a refresh token for two weeks that can be used once.

All tokens of one log-in name the same :class:`~accounts.models.AppSession` in the claim ``sid``; logging out ends it,
and with it every token that was ever handed out for it. A changed password ends the tokens of all sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.errors import Code, SentinelError
from accounts.models import AppSession, User

SESSION_CLAIM = "sid"
MAX_DEVICE_LENGTH = 200
# The time of the last use is written no more often than this.
LAST_USED_EVERY = timedelta(minutes=5)


class _UsedOrNot(RefreshToken):
    """A valid refresh token; whether it was used before is left to whoever asks."""

    def check_blacklist(self) -> None:
        """Later, when it is used."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a log-in or a refresh hands out."""

    access: str
    refresh: str


def log_in(user: User, *, device: str = "") -> TokenPair:
    """Begin a session of `user` on a device, named as it names itself."""
    session = AppSession.objects.create(user=user, device=device[:MAX_DEVICE_LENGTH])
    return _pair(user, session)


def refresh(token: str) -> TokenPair:
    """Exchange a refresh token for new tokens of the same session.

    Raises ``not_authenticated`` for one that is malformed, expired or ended. One that was used before ends its
    session: somebody else may have it.
    """
    try:
        given = _UsedOrNot(token)  # type: ignore[arg-type]
    except TokenError as error:
        raise SentinelError(Code.NOT_AUTHENTICATED) from error
    user = user_of(given)
    if user is None:
        raise SentinelError(Code.NOT_AUTHENTICATED)
    # One row a token: of two that come at the same time, one is the first.
    blacklisted: Any = given.blacklist()
    session = AppSession.objects.get(public_id=given[SESSION_CLAIM])
    if not blacklisted[1]:
        end_session(session.public_id)
        raise SentinelError(Code.NOT_AUTHENTICATED)
    return _pair(user, session)


def user_of(token: Token) -> User | None:
    """Whose valid token this is; None if its session ended, its password was changed, or the account is gone."""
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
    now = timezone.now()
    if now - session.last_used_at > LAST_USED_EVERY:
        AppSession.objects.filter(pk=session.pk).update(last_used_at=now)
    return user


def end_session(public_id: str) -> None:
    """Log a device out: none of its tokens is accepted from now on. Harmless if it is out already."""
    AppSession.objects.filter(public_id=public_id, ended_at__isnull=True).update(ended_at=timezone.now())


def end_all_sessions(user: User) -> int:
    """Log all of somebody's devices out; returns how many."""
    return AppSession.objects.filter(user=user, ended_at__isnull=True).update(ended_at=timezone.now())


def _pair(user: User, session: AppSession) -> TokenPair:
    token = RefreshToken.for_user(user)
    token[SESSION_CLAIM] = session.public_id
    return TokenPair(access=str(token.access_token), refresh=str(token))

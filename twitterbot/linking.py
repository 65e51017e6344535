"""Joining somebody's account on X with their account here, by a code that the bot sends them.

The code holds for half an hour and for one use; only its digest is kept. From then on what they tag the bot for is
examined for their own account, and what was examined before moves there.
"""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from accounts import limits
from accounts.errors import Code, SentinelError
from accounts.models import User
from accounts.services import close_account
from media_analysis.transfer import move_media
from twitterbot import people
from twitterbot.models import LinkAttempt, XAccount

logger = logging.getLogger(__name__)

# Without letters and digits that are taken for one another. 31 to the power of 8 are 850 thousand million.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
CODE_LENGTH = 8
HOLDS = timedelta(minutes=30)
TRIES_AN_HOUR = 5

WRONG_CODE = _("This code is wrong, was used before, or is too old. Ask the bot for a new one.")
TOO_MANY_TRIES = _("There were too many wrong codes. Try again in an hour.")


def issue_code(account: XAccount) -> str:
    """A new code for somebody on X; any older one is worth nothing from now on."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    XAccount.objects.filter(pk=account.pk).update(code_digest=_digest(code), code_expires_at=timezone.now() + HOLDS)
    return f"{code[:4]}-{code[4:]}"


def page_url() -> str:
    """Where a code is entered; without the site's address if nobody has set it."""
    return f"{settings.SENTINEL_URL}{reverse('twitterbot:accounts')}"


def join(user: User, code: str) -> XAccount:
    """Join the account on X that has this code with this account, and move what was examined for it.

    Raises ``invalid_field`` for a code that is none (any more), ``too_often`` after too many of those.
    """
    since = timezone.now() - timedelta(hours=1)
    if LinkAttempt.objects.filter(user=user, created_at__gt=since).count() >= TRIES_AN_HOUR:
        raise SentinelError(Code.TOO_OFTEN, text=TOO_MANY_TRIES)
    holders = XAccount.objects.filter(code_digest=_digest(code), code_expires_at__gt=timezone.now())
    account = holders.select_related("user").first()
    if account is None or not _take(holders, account, user):
        LinkAttempt.objects.create(user=user)
        raise SentinelError(Code.INVALID_FIELD, errors={"code": [str(WRONG_CODE)]})
    account.refresh_from_db()
    move(account)
    return account


def leave(user: User, twitter_id: int) -> None:
    """Take them apart again; what was examined stays here. Raises ``not_found`` for an account that is not theirs."""
    if not XAccount.objects.filter(user=user, twitter_id=twitter_id).update(user=None):
        raise SentinelError(Code.NOT_FOUND)


def accounts_of(user: User) -> QuerySet[XAccount]:
    """The accounts on X that are joined with this one."""
    return XAccount.objects.filter(user=user).order_by("handle")


def move(account: XAccount) -> None:
    """Move what belongs to the account that the bot had made to the one that took its place."""
    if account.former_user is not None and account.user is not None:
        move_media(account.former_user, account.user)
        limits.move_use(account.former_user, account.user)


def complete_joins() -> int:
    """Finish what was joined, once more from the start, and close the accounts that are empty now; returns how many.

    Only the bot's own process does this, between two mentions: nothing can be on its way into those accounts then.
    """
    joined = list(XAccount.objects.filter(former_user__isnull=False).select_related("user", "former_user"))
    for account in joined:
        move(account)
        if account.former_user is not None:
            close_account(account.former_user)
        XAccount.objects.filter(pk=account.pk).update(former_user=None)
    return len(joined)


def forget_old() -> None:
    """Delete what was only kept to count."""
    LinkAttempt.objects.filter(created_at__lt=timezone.now() - timedelta(days=1)).delete()


def _take(holders: QuerySet[XAccount], account: XAccount, user: User) -> bool:
    """One conditional update: whoever comes second with the same code has a code that was used."""
    before = account.user
    moves = before is not None and people.is_made(before)
    return bool(
        holders.filter(pk=account.pk, user=before, former_user__isnull=True).update(
            user=user, former_user=before if moves else None, code_digest="", code_expires_at=None
        )
    )


def _digest(code: str) -> str:
    plain = "".join(letter for letter in code.upper() if letter.isalnum())
    return salted_hmac("twitterbot.linking", plain, algorithm="sha256").hexdigest()

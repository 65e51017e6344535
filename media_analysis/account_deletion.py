"""The end of an account that its owner deleted: everything in it goes, then the account.

Closing it (:func:`accounts.services.close_account`) only marks it. All the rest is here, done by housekeeping; each
step may be done again, so whatever interrupts it, the next round goes on where it stopped.
"""

from __future__ import annotations

import logging

from django.db import IntegrityError, transaction

from accounts.errors import Code, SentinelError
from accounts.models import User
from accounts.services import remove_account
from media_analysis import cases, custody, resumable, services
from media_analysis.models import Media, ResumableUpload

logger = logging.getLogger(__name__)


def erase_closed_accounts() -> int:
    """Remove the accounts that their owners deleted, with everything in them; returns how many are gone.

    What can't be removed now, such as an upload that is still coming in, is left for the next round.
    """
    gone = 0
    for user in User.objects.filter(deleted_at__isnull=False).order_by("deleted_at"):
        try:
            gone += _erase(user)
        except (OSError, SentinelError, IntegrityError):
            logger.exception("The account %s could not be removed yet", user.public_id)
    return gone


def _erase(user: User) -> bool:
    """False if something came in meanwhile, for the next round to remove."""
    for upload in ResumableUpload.objects.filter(owner=user):
        _end(upload)
    cases.leave_all(user)
    for media in Media.objects.filter(owner=user):
        services.delete_media(media)
    with transaction.atomic():
        # From here on nothing new can refer to the user.
        User.objects.select_for_update().get(pk=user.pk)
        if Media.objects.filter(owner=user).exists() or ResumableUpload.objects.filter(owner=user).exists():
            return False
        custody.forget_addresses(user)
        remove_account(user)
    return True


def _end(upload: ResumableUpload) -> None:
    try:
        resumable.end_upload(upload)
    except SentinelError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        # Its file is gone; the row was to follow.
        upload.delete()

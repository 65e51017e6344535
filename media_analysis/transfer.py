"""Files that change their owner: when two accounts turn out to be one person's."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from accounts.models import User
from media_analysis import custody
from media_analysis.models import DeletionReceipt, Media, Notification, Submission


class _MovedMeanwhile(Exception):
    """By another process."""


def move_media(giver: User, taker: User) -> int:
    """Give somebody all files of another, with their examinations and whatever else hangs on them.

    Only for an account that nobody ever logged in to: what people do by themselves, such as feedback, stays theirs.
    Returns how many files moved. Interrupted, it is done by calling it again.
    """
    moved = 0
    for media in Media.objects.filter(owner=giver):
        try:
            with transaction.atomic():
                # Told first, so that no file moves without a word, wherever this breaks off.
                custody.make_up(
                    media.public_id, custody.Event.HANDED_OVER, key="giver", actor=taker, giver=giver.public_id
                )
                if not Media.objects.filter(pk=media.pk, owner=giver).update(owner=taker):
                    raise _MovedMeanwhile
        except _MovedMeanwhile:
            continue
        moved += 1
    for submission in Submission.objects.filter(submitted_by=giver):
        try:
            with transaction.atomic():
                Submission.objects.filter(pk=submission.pk).update(submitted_by=taker)
        except IntegrityError:
            # They have used the same key themselves: it keeps naming what it named for them.
            Submission.objects.filter(pk=submission.pk).update(submitted_by=taker, idempotency_key=None)
    Notification.objects.filter(user=giver).update(user=taker)
    DeletionReceipt.objects.filter(owner=giver).update(owner=taker)
    return moved

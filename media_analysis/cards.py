"""Sharing results with everybody, and taking them back. Only the owner of a file does either.

Nobody who is not the owner can tell a card that was taken back from one that never was.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from accounts.errors import Code, SentinelError
from accounts.ids import new_public_id
from accounts.models import User
from media_analysis import custody
from media_analysis.models import Analysis, ResultCard

FAILED = _("The examination failed, so there is no result to share.")


def publish(analysis: Analysis, *, by: User) -> ResultCard:
    """Make the result public; returns its card, the same one however often and by however many callers it is asked.

    Raises :class:`SentinelError`: ``forbidden`` for everybody but the file's owner, ``not_finished``, ``no_result``
    for an examination that failed, ``not_found`` if the file was deleted meanwhile.
    """
    _require_owner(analysis, by)
    if analysis.status == Analysis.Status.FAILED:
        raise SentinelError(Code.NO_RESULT, text=FAILED)
    if analysis.status != Analysis.Status.DONE:
        raise SentinelError(Code.NOT_FINISHED)
    if card := card_of(analysis):
        return card
    if not Analysis.objects.filter(pk=analysis.pk, media__deleted_at__isnull=True).exists():
        raise SentinelError(Code.NOT_FOUND)
    try:
        with transaction.atomic():
            public_id = new_public_id()
            # First, so that nothing is shared that the log does not tell of, where transactions mean nothing.
            custody.record(
                analysis.media.public_id,
                custody.Event.SHARED,
                actor=by,
                analysis=analysis.public_id,
                card=public_id,
            )
            card = ResultCard.objects.create(analysis=analysis, public_id=public_id)
            if card_of(analysis) is None:
                card.delete()
                raise SentinelError(Code.NOT_FOUND)
    except IntegrityError as error:
        # Another caller was faster, or the analysis is gone.
        if earlier := card_of(analysis):
            return earlier
        raise SentinelError(Code.NOT_FOUND) from error
    return card


def withdraw(card: ResultCard, *, by: User) -> bool:
    """Take a card back: its page and picture are gone at once. False if it was taken back before.

    Raises ``forbidden`` for everybody but the file's owner.
    """
    analysis = card.analysis
    _require_owner(analysis, by)
    with transaction.atomic():
        deleted, _by_table = ResultCard.objects.filter(public_id=card.public_id).delete()
        if deleted:
            custody.record(
                analysis.media.public_id,
                custody.Event.WITHDRAWN,
                actor=by,
                analysis=analysis.public_id,
                card=card.public_id,
            )
    return bool(deleted)


def card_of(analysis: Analysis) -> ResultCard | None:
    """The card of an analysis that is shared, None of one that is not."""
    return ResultCard.objects.filter(analysis_id=analysis.pk, analysis__media__deleted_at__isnull=True).first()


def get_card(public_id: str) -> ResultCard:
    """A card for everybody to see.

    Raises ``not_found`` alike for one that never was, that was taken back, and whose file or owner is gone.
    """
    shown = ResultCard.objects.filter(
        public_id=public_id,
        analysis__status=Analysis.Status.DONE,
        analysis__media__deleted_at__isnull=True,
        analysis__media__owner__deleted_at__isnull=True,
    )
    card = shown.select_related("analysis__media__link").first()
    if card is None:
        raise SentinelError(Code.NOT_FOUND)
    return card


def _require_owner(analysis: Analysis, user: User) -> None:
    if analysis.media.owner_id != user.pk:
        raise SentinelError(Code.FORBIDDEN)

"""Files that move to another account of the same person."""

from __future__ import annotations

import pytest

from accounts import limits
from accounts.models import User
from media_analysis import custody, transfer
from media_analysis.models import Media, Notification, Submission
from media_analysis.notifications import announce
from tests.media_analysis.factories import make_analysis, make_done

pytestmark = pytest.mark.django_db


def test_files_move_with_their_examinations_and_notices_and_the_log_says_so(owner: User, stranger: User) -> None:
    analysis = make_done(stranger)
    announce(analysis.pk)
    Submission.objects.create(media=analysis.media, submitted_by=stranger, source=Submission.Source.BOT)
    kept = make_done(owner)
    assert transfer.move_media(stranger, owner) == 1
    assert set(Media.objects.filter(owner=owner)) == {analysis.media, kept.media}
    assert Submission.objects.get().submitted_by == owner
    assert Notification.objects.get().user == owner
    event = custody.events_of(analysis.media.public_id).last()
    assert event is not None
    assert (event.event, event.actor, event.details) == (
        custody.Event.HANDED_OVER,
        owner.public_id,
        {"giver": stranger.public_id},
    )
    assert transfer.move_media(stranger, owner) == 0


def test_a_key_that_both_used_goes_on_naming_what_it_named_for_the_taker(owner: User, stranger: User) -> None:
    for user in (owner, stranger):
        media = make_done(user).media
        Submission.objects.create(
            media=media, submitted_by=user, source=Submission.Source.BOT, idempotency_key="tweet:1"
        )
    named = Submission.objects.get(submitted_by=owner).media
    transfer.move_media(stranger, owner)
    assert Submission.objects.filter(submitted_by=owner).count() == 2
    assert Submission.objects.get(idempotency_key="tweet:1").media == named


def test_what_was_spent_today_moves_too_and_never_shares_a_slot(owner: User, stranger: User) -> None:
    for user in (owner, owner, stranger, stranger, stranger):
        make_analysis(user)
    limits.move_use(stranger, owner)
    assert (limits.used(owner), limits.used(stranger)) == (5, 0)
    limits.move_use(stranger, owner)
    assert limits.used(owner) == 5

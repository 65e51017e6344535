"""Sharing a result with everybody: exact, by its owner only, and gone the moment that it is taken back."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import cards, custody, services
from media_analysis.models import Analysis, ResultCard
from tests.media_analysis.factories import make_analysis, make_done

pytestmark = pytest.mark.django_db


def told(analysis: Analysis) -> list[str]:
    return [str(event.event) for event in custody.events_of(analysis.media.public_id)]


def refusal(code: Code, ask: object) -> None:
    with pytest.raises(SentinelError) as refused:
        ask()  # type: ignore[operator]
    assert refused.value.code is code


def test_sharing_twice_gives_the_same_card_and_is_logged_once(owner: User) -> None:
    analysis = make_done(owner)
    card = cards.publish(analysis, by=owner)
    assert cards.publish(analysis, by=owner) == card == cards.get_card(card.public_id)
    assert told(analysis) == ["shared"]
    event = custody.events_of(analysis.media.public_id).get()
    assert (event.actor, event.details["card"]) == (owner.public_id, card.public_id)


def test_of_two_at_once_the_slower_gets_the_card_of_the_faster(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = make_done(owner)
    first = cards.publish(analysis, by=owner)
    answers = iter([None, first])
    monkeypatch.setattr(cards, "card_of", lambda _analysis: next(answers))
    assert cards.publish(analysis, by=owner) == first
    assert ResultCard.objects.count() == 1
    # Where transactions mean nothing, the log may say it once too often, never once too little.
    assert told(analysis) == ["shared"] * (1 if connection.features.supports_transactions else 2)


def test_what_was_taken_back_is_gone_and_shared_again_has_a_new_address(owner: User) -> None:
    analysis = make_done(owner)
    card = cards.publish(analysis, by=owner)
    assert cards.withdraw(card, by=owner) is True
    refusal(Code.NOT_FOUND, lambda: cards.get_card(card.public_id))
    assert cards.withdraw(card, by=owner) is False
    again = cards.publish(analysis, by=owner)
    assert again.public_id != card.public_id
    refusal(Code.NOT_FOUND, lambda: cards.get_card(card.public_id))
    assert told(analysis) == ["shared", "withdrawn", "shared"]


def test_only_the_owner_shares_and_takes_back(owner: User, stranger: User, admin: User) -> None:
    analysis = make_done(owner)
    card = cards.publish(analysis, by=owner)
    for other in (stranger, admin):
        refusal(Code.FORBIDDEN, lambda other=other: cards.publish(analysis, by=other))
        refusal(Code.FORBIDDEN, lambda other=other: cards.withdraw(card, by=other))
    assert cards.get_card(card.public_id) == card


@pytest.mark.parametrize(
    ("status", "code"), [("queued", Code.NOT_FINISHED), ("running", Code.NOT_FINISHED), ("failed", Code.NO_RESULT)]
)
def test_without_a_result_there_is_nothing_to_share(owner: User, status: str, code: Code) -> None:
    analysis = make_analysis(owner, status=status)
    refusal(code, lambda: cards.publish(analysis, by=owner))
    assert not ResultCard.objects.exists()


def test_what_could_not_be_assessed_may_be_shared(owner: User) -> None:
    assert cards.publish(make_done(owner, outcome="NOT_ASSESSABLE", reason="no_face"), by=owner)


def test_a_card_goes_with_its_file_and_with_its_owner(owner: User) -> None:
    analysis = make_done(owner)
    card = cards.publish(analysis, by=owner)
    User.objects.filter(pk=owner.pk).update(deleted_at=analysis.created_at)
    refusal(Code.NOT_FOUND, lambda: cards.get_card(card.public_id))
    User.objects.filter(pk=owner.pk).update(deleted_at=None)
    services.delete_media(analysis.media)
    refusal(Code.NOT_FOUND, lambda: cards.get_card(card.public_id))
    assert not ResultCard.objects.exists()


def test_a_file_deleted_meanwhile_is_not_shared(owner: User) -> None:
    analysis = make_done(owner)
    type(analysis.media).objects.filter(pk=analysis.media.pk).update(deleted_at=analysis.created_at)
    refusal(Code.NOT_FOUND, lambda: cards.publish(analysis, by=owner))
    assert told(analysis) == []
    assert not ResultCard.objects.exists()


def test_an_analysis_has_one_card_at_most(owner: User) -> None:
    analysis = make_done(owner)
    ResultCard.objects.create(analysis=analysis)
    with pytest.raises(IntegrityError):
        ResultCard.objects.create(analysis=analysis)

from __future__ import annotations

from datetime import datetime
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from accounts import limits
from accounts.ids import new_public_id
from accounts.models import UsageEntry, User


def spend(user: User, times: int) -> None:
    for _ in range(times):
        limits.spend(user, new_public_id())


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=ZoneInfo("Asia/Kolkata"))  # type: ignore[misc, arg-type]


def test_a_new_user_has_the_default_number_of_classifications(owner: User) -> None:
    assert limits.remaining(owner) == 10


def test_the_eleventh_classification_of_a_day_is_refused(owner: User) -> None:
    spend(owner, 10)
    with pytest.raises(limits.DailyLimitReached):
        spend(owner, 1)
    assert limits.remaining(owner) == 0
    assert UsageEntry.objects.count() == 10


def test_spending_twice_for_the_same_object_costs_one(owner: User) -> None:
    reference = new_public_id()
    limits.spend(owner, reference)
    limits.spend(owner, reference)
    assert limits.remaining(owner) == 9


def test_what_was_spent_before_the_limit_can_be_claimed_again_at_the_limit(owner: User) -> None:
    reference = new_public_id()
    limits.spend(owner, reference)
    spend(owner, 9)
    limits.spend(owner, reference)
    assert limits.remaining(owner) == 0


def test_giving_back_frees_exactly_that_classification(owner: User) -> None:
    reference = new_public_id()
    limits.spend(owner, reference)
    spend(owner, 9)
    limits.give_back(reference)
    assert limits.remaining(owner) == 1
    spend(owner, 1)
    with pytest.raises(limits.DailyLimitReached):
        spend(owner, 1)


def test_a_slot_taken_by_a_parallel_request_is_passed_over(owner: User) -> None:
    """The other request took slot 1 after this one had looked."""
    UsageEntry.objects.create(user=owner, day=limits.today(), slot=1, reference=new_public_id())
    looked = UsageEntry.objects.none().values_list("slot", flat=True)
    with patch.object(UsageEntry.objects, "filter") as search:
        search.return_value.exists.return_value = False
        search.return_value.values_list.return_value = looked
        limits.spend(owner, new_public_id())
    assert sorted(UsageEntry.objects.values_list("slot", flat=True)) == [1, 2]


def test_a_users_own_limit_goes_before_the_sites(owner: User) -> None:
    owner.daily_limit = 2
    owner.save()
    spend(owner, 2)
    with pytest.raises(limits.DailyLimitReached):
        spend(owner, 1)


def test_one_users_use_is_not_anothers(owner: User, stranger: User) -> None:
    spend(owner, 10)
    assert limits.remaining(stranger) == 10


def test_the_day_changes_at_midnight_in_kolkata_not_in_london(owner: User) -> None:
    with patch.object(timezone, "now", return_value=at(2026, 11, 22, 23, 59)):
        spend(owner, 10)
        assert limits.next_reset() == at(2026, 11, 23, 0, 0)
    with patch.object(timezone, "now", return_value=at(2026, 11, 23, 0, 0)):
        assert limits.remaining(owner) == 10
    with patch.object(timezone, "now", return_value=at(2026, 11, 22, 0, 0)):
        assert limits.remaining(owner) == 0

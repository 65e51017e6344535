"""`benchmarks.inside.reckon` finds whatever is not exactly once: each fault is made here, and has to be told."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts import limits
from accounts.models import UsageEntry, User
from benchmarks.inside import reckon
from media_analysis import custody, services
from media_analysis.models import Analysis, Notification
from tests.media_analysis.factories import a_result, make_analysis

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return User.objects.create(username="asha", email="asha@example.org", daily_limit=1)


@pytest.fixture
def done(user: User) -> Analysis:
    """Examined as a worker does it."""
    analysis = make_analysis(user)
    media = analysis.media
    custody.record(media.public_id, custody.Event.RECEIVED, actor=user)
    custody.record(media.public_id, custody.Event.HASHED, sha256=media.sha256)
    claimed = services.claim_next()
    assert claimed is not None
    assert services.finish_analysis(claimed, a_result(), {})
    claimed.refresh_from_db()
    return claimed


def faults() -> dict[str, Any]:
    return dict(reckon.reckon()["faults"])


def test_what_was_done_once_has_no_fault(done: Analysis) -> None:
    assert faults() == {}


def test_a_second_event_in_the_custody_log_is_told(done: Analysis) -> None:
    custody.record(
        done.media.public_id, custody.Event.ANALYSED, analysis=done.public_id, outcome="FAKE", detector="tiny 1"
    )
    assert faults()["examined other than once by the custody log"] == [1, f"{done.public_id}: 2"]


def test_a_missing_and_a_second_notification_are_told(done: Analysis) -> None:
    Notification.objects.filter(analysis=done).delete()
    assert faults()["told other than once"] == [1, f"{done.public_id}: 0"]
    for at in (done.created_at, done.media.created_at):
        Notification.objects.create(user=done.media.owner, analysis=done, finished_at=at, kind=Notification.Kind.DONE)
    assert faults()["told other than once"] == [1, f"{done.public_id}: 2"]


def test_what_was_not_paid_for_is_told(done: Analysis) -> None:
    UsageEntry.objects.all().delete()
    assert faults()["paid other than once"] == [1, f"{done.public_id}: 0"]


def test_what_was_paid_for_nothing_is_told(done: Analysis, user: User) -> None:
    User.objects.filter(pk=user.pk).update(daily_limit=2)
    user.refresh_from_db()
    limits.spend(user, "0" * 24)
    assert faults()["paid other than once"] == [1, f"{'0' * 24}: 1"]


def test_files_of_nothing_and_missing_ones_are_told(done: Analysis) -> None:
    default_storage.save(f"analyses/{done.public_id}/{'a' * 24}/crop-0-1.jpg", ContentFile(b"jpeg"))
    default_storage.delete(str(done.media.file))
    found = faults()
    assert found["in the storage, but of nothing"][0] == 1
    assert found["not in the storage"] == [1, str(done.media.file)]


def test_an_analysis_that_still_waits_is_told(user: User) -> None:
    waiting = make_analysis(user)
    assert faults()["not done"] == [1, f"{waiting.public_id}: queued  tries 0"]

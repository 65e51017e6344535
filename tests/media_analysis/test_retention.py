from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from accounts.models import User
from media_analysis import custody, custody_words, housekeeping, retention, services
from media_analysis.models import Analysis, Case, CustodyEvent, DeletionReceipt, Media, Notification
from tests.media_analysis.factories import make_analysis, make_done, make_media


@pytest.fixture(autouse=True)
def _thirty_days(settings: Any) -> None:
    settings.SENTINEL_RETENTION_DAYS = 30
    settings.SENTINEL_RETENTION_NOTICE_DAYS = 7


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Days that pass."""
    start = timezone.now()

    class Clock:
        days = 0.0

        @classmethod
        def now(cls) -> datetime:
            return start + timedelta(days=cls.days)

    monkeypatch.setattr(timezone, "now", Clock.now)
    return Clock


def make_old(owner: User, days: float) -> Analysis:
    return make_done(owner, media=make_media(owner, created_at=timezone.now() - timedelta(days=days)))


def test_a_file_goes_with_a_receipt_after_its_owner_was_told(owner: User, clock: Any) -> None:
    media = make_old(owner, 0).media
    name = str(media.file)
    clock.days = 22.9
    assert retention.apply() == 0
    assert not Notification.objects.exists()
    clock.days = 23.1
    assert retention.apply() == retention.apply() == 0
    assert Notification.objects.update(created_at=clock.now()) == 1
    notice = Notification.objects.get()
    assert (notice.user, notice.kind) == (owner, Notification.Kind.EXPIRING)
    assert notice.finished_at - media.created_at <= timedelta(days=30)
    assert retention.deletes_at(media) == notice.created_at + timedelta(days=7)
    clock.days = 30.05
    assert retention.apply() == 0
    clock.days = 30.15
    assert retention.apply() == 1
    assert not Media.objects.exists()
    assert not default_storage.exists(name)
    assert DeletionReceipt.objects.get().media_public_id == media.public_id
    event = CustodyEvent.objects.get(media_id=media.public_id, event=custody.Event.DELETED)
    assert (event.actor, event.details["rule"]) == ("", "retention")
    assert custody_words.tell([event], owner=owner)[0].who == "the site's rule on how long files are kept"


def test_whoever_switches_it_on_deletes_nothing_before_everybody_was_told(owner: User, clock: Any) -> None:
    media = make_old(owner, 300).media
    assert retention.deletes_at(media) == clock.now() + timedelta(days=7)
    housekeeping.sweep_expired()
    assert Notification.objects.count() == 1
    clock.days = 6.9
    assert retention.apply() == 0
    clock.days = 7.1
    assert retention.apply() == 1


def test_nothing_goes_while_it_is_examined(owner: User, clock: Any) -> None:
    media = make_old(owner, 40).media
    retention.apply()
    clock.days = 8
    again = make_analysis(owner, media=media, spent=False, status=Analysis.Status.RUNNING)
    assert retention.apply() == 0
    Analysis.objects.filter(pk=again.pk).update(status=Analysis.Status.FAILED)
    assert retention.apply() == 1


def test_what_is_in_an_open_case_is_kept_until_it_is_closed(owner: User, clock: Any, settings: Any) -> None:
    media = make_old(owner, 40).media
    retention.apply()
    case = Case.objects.create(owner=owner, title="A case")
    case.files.create(media=media, media_public_id=media.public_id, sha256=media.sha256)
    clock.days = 8
    assert retention.apply() == 0
    assert retention.deletes_at(media) is None
    assert retention.is_kept_for_case(media)
    assert not Notification.objects.exists()
    Case.objects.update(status=Case.Status.CLOSED)
    # Its owner is told anew, and has as much time as everybody.
    assert retention.apply() == 0
    assert Notification.objects.update(created_at=clock.now()) == 1
    clock.days = 14.9
    assert retention.apply() == 0
    clock.days = 15.1
    assert retention.apply() == 1


def test_what_is_put_into_a_case_while_others_are_deleted_is_kept(
    owner: User, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _first, second = (make_old(owner, days).media for days in (41, 40))
    retention.apply()
    clock.days = 8
    case = Case.objects.create(owner=owner, title="A case")
    delete = services.delete_media

    def delete_slowly(media: Media, **how: Any) -> DeletionReceipt:
        case.files.create(media=second, media_public_id=second.public_id, sha256=second.sha256)
        return delete(media, **how)

    monkeypatch.setattr(services, "delete_media", delete_slowly)
    assert retention.apply() == 1
    assert list(Media.objects.all()) == [second]
    assert default_storage.exists(str(second.file))


def test_one_that_cannot_be_deleted_keeps_no_other(owner: User, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _second = (make_old(owner, days).media for days in (41, 40))
    retention.apply()
    clock.days = 8
    delete = services.delete_media

    def refuse(media: Media, **how: Any) -> DeletionReceipt:
        if media == first:
            raise PermissionError(13, "Permission denied")
        return delete(media, **how)

    monkeypatch.setattr(services, "delete_media", refuse)
    assert retention.apply() == 1
    assert Media.objects.get() == first


def test_the_settings_may_spare_no_case(owner: User, clock: Any, settings: Any) -> None:
    settings.SENTINEL_RETENTION_SPARES_OPEN_CASES = False
    media = make_old(owner, 40).media
    case = Case.objects.create(owner=owner, title="A case")
    case.files.create(media=media, media_public_id=media.public_id, sha256=media.sha256)
    retention.apply()
    clock.days = 8
    assert retention.apply() == 1
    assert case.files.get().media is None


def test_off_nothing_is_deleted_or_said(as_owner: Client, as_admin: Client, owner: User, settings: Any) -> None:
    settings.SENTINEL_RETENTION_DAYS = 0
    analysis = make_old(owner, 4000)
    assert retention.apply() == 0
    assert not Notification.objects.exists()
    assert "data-kept-until" not in as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()
    assert "column-deletes_at" not in as_admin.get("/admin/media_analysis/media/").content.decode()


def test_result_notification_and_admin_say_when(as_owner: Client, as_admin: Client, owner: User) -> None:
    analysis = make_old(owner, 29)
    retention.apply()
    page = as_owner.get("/notifications/").content.decode()
    assert "This file will be deleted soon" in page
    state = as_owner.get("/api/v1/notifications/").json()["results"][0]
    assert (state["kind"], state["text"]) == ("expiring", "This file will be deleted soon")
    shown = as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()
    assert "This file and its result will be deleted on " in shown
    assert "column-deletes_at" in as_admin.get("/admin/media_analysis/media/").content.decode()
    failed = make_old(owner, 29)
    Analysis.objects.filter(pk=failed.pk).update(status=Analysis.Status.FAILED, error_code="internal_error")
    assert "data-kept-until" in as_owner.get(f"/analyses/{failed.public_id}/").content.decode()

"""What a killed process leaves where transactions mean nothing is completed or undone, and nothing else is touched."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import limits
from accounts.ids import new_public_id
from accounts.models import UsageEntry, User
from media_analysis import custody, custody_check, half_made, notifications, resumable, services
from media_analysis.custody import Event
from media_analysis.models import Analysis, Case, CustodyEvent, DeletionReceipt, LiveEvent, Media, Submission
from tests.media_analysis.factories import make_analysis, make_done, make_media


@pytest.fixture
def long_ago() -> Any:
    return timezone.now() - 2 * services.UNDER_WAY


def receive(media: Media, analysis_id: str, owner: User) -> None:
    custody.record(media.public_id, Event.RECEIVED, actor=owner, source="web", size=5, analysis=analysis_id)
    custody.record(media.public_id, Event.HASHED, sha256=media.sha256, md5=media.md5)


def test_a_submission_that_broke_off_before_its_analysis_is_undone(owner: User, long_ago: Any) -> None:
    analysis_id = new_public_id()
    limits.spend(owner, analysis_id)
    media = make_media(owner, created_at=long_ago)
    receive(media, analysis_id, owner)
    assert half_made.repair() == 1
    assert not Media.objects.exists()
    assert not default_storage.exists(str(media.file))
    assert limits.used(owner) == 0
    # It was here, and its log says what became of it.
    assert DeletionReceipt.objects.get().media_public_id == media.public_id
    assert custody_check.check_log().findings == []


def test_one_that_broke_off_before_its_log_leaves_nothing(owner: User, long_ago: Any) -> None:
    media = make_media(owner, created_at=long_ago)
    assert half_made.repair() == 1
    assert not Media.objects.exists()
    assert not default_storage.exists(str(media.file))
    assert not DeletionReceipt.objects.exists()
    assert not CustodyEvent.objects.exists()


def test_a_request_that_was_killed_half_way_can_be_repeated_under_its_key(
    as_owner: Client, owner: User, clip: Path, monkeypatch: pytest.MonkeyPatch, long_ago: Any
) -> None:
    monkeypatch.setattr(services, "WRITTEN_DOWN_WITHIN_SECONDS", 0.0)

    def send() -> Any:
        with clip.open("rb") as file:
            return as_owner.post("/api/v1/analyses/", {"file": file}, headers={"idempotency-key": "once"})

    first = send()
    # Where it stood when it was killed: everything but the last row.
    Analysis.objects.all().delete()
    refused = send()
    # It may still be at work.
    assert (refused.status_code, refused.json()["error"], refused["Retry-After"]) == (503, "unavailable", "10")
    Media.objects.update(created_at=long_ago)
    answer = send()
    assert answer.status_code == 201
    assert send().json()["id"] == answer.json()["id"] != first.json()["id"]
    assert Media.objects.get().public_id == answer.json()["media"]["id"]
    assert limits.used(owner) == 1
    assert half_made.repair() == 0
    assert custody_check.check_log().findings == []


def test_a_key_of_a_file_that_is_being_deleted_has_to_wait(as_owner: Client, clip: Path) -> None:
    def send() -> Any:
        with clip.open("rb") as file:
            return as_owner.post("/api/v1/analyses/", {"file": file}, headers={"idempotency-key": "once"})

    send()
    Media.objects.update(deleted_at=timezone.now())
    refused = send()
    assert (refused.status_code, refused["Retry-After"]) == (503, "10")
    Media.objects.all().delete()
    assert send().status_code == 201


def test_an_upload_whose_request_was_killed_half_way_is_submitted_again(owner: User, clip: Path) -> None:
    content = clip.read_bytes()
    upload = resumable.begin_upload(owner=owner, size=len(content))
    resumable.append(upload, offset=0, read=BytesIO(content).read)
    # Its rows but the last, and its file.
    half = make_media(owner, public_id=upload.public_id)
    analysis = resumable.submit_upload(owner=owner, source=Submission.Source.API, upload_id=upload.public_id)
    assert analysis.media.public_id == half.public_id
    assert Media.objects.get().sha256 == hashlib.sha256(content).hexdigest()
    with default_storage.open(str(analysis.media.file)) as stored:
        assert stored.read() == content
    assert limits.used(owner) == 1


def test_what_was_spent_on_nothing_is_given_back_and_what_was_deleted_stays_spent(owner: User, long_ago: Any) -> None:
    limits.spend(owner, new_public_id())
    analysis = make_analysis(owner)
    receive(analysis.media, analysis.public_id, owner)
    services.delete_media(analysis.media)
    UsageEntry.objects.update(created_at=long_ago)
    CustodyEvent.objects.filter(event=Event.RECEIVED).update(at=long_ago)
    assert half_made.repair() == 1
    assert list(UsageEntry.objects.values_list("reference", flat=True)) == [analysis.public_id]


def test_what_was_tried_again_and_deleted_stays_spent(owner: User, long_ago: Any) -> None:
    analysis = make_analysis(owner, spent=False)
    receive(analysis.media, analysis.public_id, owner)
    CustodyEvent.objects.update(at=timezone.now() - half_made.LOOK_BACK)
    # It had failed, and what it had cost was given back: the next try costs again.
    limits.spend(owner, analysis.public_id)
    UsageEntry.objects.update(created_at=long_ago)
    services.delete_media(analysis.media)
    assert half_made.repair() == 0
    assert limits.used(owner) == 1


def test_what_is_under_way_or_whole_is_left_alone(owner: User, long_ago: Any) -> None:
    make_media(owner)
    limits.spend(owner, new_public_id())
    Case.objects.create(owner=owner, title="just being opened")
    whole = make_analysis(owner, media=make_media(owner, created_at=long_ago))
    UsageEntry.objects.filter(reference=whole.public_id).update(created_at=long_ago)
    assert half_made.repair() == 0
    assert (Media.objects.count(), UsageEntry.objects.count(), Case.objects.count()) == (2, 2, 1)


def test_a_case_that_never_got_its_owner_as_a_member_goes(owner: User, long_ago: Any) -> None:
    Case.objects.create(owner=owner, title="half opened", created_at=long_ago)
    assert half_made.repair() == 1
    assert not Case.objects.exists()


def test_a_deletion_that_broke_off_before_its_log_is_told_of(owner: User, long_ago: Any) -> None:
    analysis = make_analysis(owner)
    receive(analysis.media, analysis.public_id, owner)
    Media.objects.update(deleted_at=timezone.now() - 2 * services.INTERRUPTED_AFTER)
    assert services.complete_deletions() == 1
    assert custody.events_of(analysis.media.public_id).filter(event=Event.DELETED).count() == 1
    assert custody_check.check_log().findings == []


@pytest.mark.skipif(connection.features.supports_transactions, reason="there, both are written or none")
def test_a_result_that_broke_off_before_its_log_is_told_of_once(owner: User) -> None:
    analysis = make_done(owner)
    receive(analysis.media, analysis.public_id, owner)
    assert notifications.announce_missed() == 1
    Analysis.objects.update(announced_at=None)
    notifications.announce_missed()
    assert custody.events_of(analysis.media.public_id).filter(event=Event.ANALYSED).count() == 1
    assert custody_check.check_log().findings == []


@pytest.mark.skipif(connection.features.supports_foreign_keys, reason="there, the row would be refused")
def test_rows_that_came_while_what_they_belong_to_was_deleted_go(owner: User) -> None:
    analysis, other = make_analysis(owner), make_analysis(owner)
    Analysis.objects.filter(pk=analysis.pk).delete()
    for belongs_to in (analysis, other):
        LiveEvent.objects.create(analysis=belongs_to, stream="s", number=0, kind="media", payload={})
    assert half_made.remove_orphans() == 1
    assert LiveEvent.objects.get().analysis == other


def test_several_events_are_written_once_each_though_others_write_too(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [new_public_id() for _ in range(4)]
    next_events = custody._next_events
    calls: list[int] = []

    def race(*arguments: Any) -> Any:
        events = next_events(*arguments)
        if not calls:
            # Somebody else is faster for the third.
            CustodyEvent.objects.create(
                media_id=ids[2], number=0, event=Event.BEGUN, at=timezone.now(), digest="d" * 64
            )
        calls.append(len(events))
        return events

    monkeypatch.setattr(custody, "_next_events", race)
    custody.record_each({each: {"what": "case"} for each in ids}, Event.SHARED, actor=owner)
    assert [custody.events_of(each).count() for each in ids] == [1, 1, 2, 1]
    assert len(calls) > 1

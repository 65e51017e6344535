"""Leaving for good: everything goes, whatever interrupts it, and nothing of anybody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import models
from django.test import Client
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from accounts import limits, push, services, tokens
from accounts.errors import Code, SentinelError
from accounts.models import AppSession, User
from media_analysis import account_deletion, housekeeping, resumable
from media_analysis import services as media_services
from media_analysis.models import CaseDetails, DeletionReceipt, Media, ResumableUpload, Submission
from tests.accounts.calls import post
from tests.conftest import make_user
from tests.media_analysis.factories import make_done, make_feedback, make_media

pytestmark = pytest.mark.django_db

AUTH = "AAAAAAAAAAAAAAAAAAAAAA"


class Killed(BaseException):
    """As a signal that ends the process: nothing catches it."""


def fill(user: User, client: Client) -> None:
    """Give somebody some of everything."""
    for _ in range(2):
        analysis = make_done(user)
        limits.spend(user, analysis.public_id)
        name = default_storage.save(f"analyses/{analysis.public_id}/1/face-0-9.jpg", ContentFile(b"picture"))
        analysis.evidence = [name]
        analysis.save()
        make_feedback(analysis)
    submission = Submission.objects.create(
        media=analysis.media, submitted_by=user, source=Submission.Source.API, idempotency_key="key"
    )
    CaseDetails.objects.create(submission=submission, case_id="7/2026")
    media_services.delete_media(make_media(user))
    resumable.begin_upload(owner=user, size=1000)
    pair = tokens.log_in(user)
    tokens.refresh(pair.refresh)
    push.register(user, endpoint=f"https://push.example.net/{user.public_id}", p256dh="point", auth=AUTH)
    post(client, "/users/login", {"email": user.email, "password": "wrong"})
    LogEntry.objects.create(
        user=make_user(f"admin-of-{user.username}"),
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(user.pk),
        object_repr=user.username,
        action_flag=CHANGE,
    )


def rows_of(user: User) -> dict[str, int]:
    """How many rows of each model lead to this user, found by looking at every model there is."""
    found: dict[str, int] = {}
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, models.ForeignKey) and field.related_model is User:
                count = model._base_manager.filter(**{f"{field.name}_id": user.pk}).count()
                if count:
                    found[f"{model.__name__}.{field.name}"] = count
    return found


def texts_with(name: str) -> list[str]:
    """Every text in the database with this name in it."""
    found = []
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, models.CharField | models.TextField):
                rows = model._base_manager.filter(**{f"{field.name}__icontains": name})
                found += [f"{model.__name__}.{field.name}" for _ in rows]
    return found


def files(settings: Any) -> set[Path]:
    folders = (Path(settings.MEDIA_ROOT), Path(settings.FILE_UPLOAD_TEMP_DIR))
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def leaver(db: None, client: Client) -> User:
    user = make_user("leaver")
    fill(user, client)
    return user


def test_everything_of_a_deleted_account_goes_and_nothing_of_others(
    leaver: User, client: Client, settings: Any
) -> None:
    theirs = files(settings)
    stayer = make_user("stayer")
    fill(stayer, client)
    kept, kept_files = rows_of(stayer), files(settings) - theirs
    # The test can fail: there is something to remove.
    assert len(rows_of(leaver)) >= 9
    assert len(theirs) >= 5
    # Those who administrate keep their own names.
    User.objects.filter(username="admin-of-leaver").update(
        username="admin", username_key="admin", email="admin@example.org"
    )

    services.close_account(leaver)
    assert account_deletion.erase_closed_accounts() == 1
    assert rows_of(leaver) == {}
    assert texts_with("leaver") == []
    assert not OutstandingToken.objects.filter(user=None).exists()
    assert rows_of(stayer) == kept
    assert files(settings) == kept_files
    assert AccessAttempt.objects.get().username == "stayer"
    assert account_deletion.erase_closed_accounts() == 0


STEPS = [
    (resumable, "end_upload", 1),
    (media_services, "delete_media", 1),
    (media_services, "delete_media", 2),
    (default_storage, "delete", 1),
    (default_storage, "delete", 2),
    (default_storage, "remove_folder", 1),
    (default_storage, "remove_folder", 3),
    (DeletionReceipt.objects, "get_or_create", 1),
    (Media, "delete", 1),
    (Media, "delete", 2),
    (account_deletion, "remove_account", 1),
    (User, "delete", 1),
]


@pytest.mark.parametrize("failure", [Killed(), OSError("disk")])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_interrupts_it_the_next_round_completes_it(
    leaver: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    step: tuple[Any, str, int],
    failure: BaseException,
) -> None:
    place, name, time = step
    real, calls = getattr(place, name), 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == time:
            raise failure
        return real(*arguments, **options)

    services.close_account(leaver)
    with monkeypatch.context() as patched:
        patched.setattr(place, name, interrupted)
        try:
            assert account_deletion.erase_closed_accounts() == 0
        except Killed:
            assert isinstance(failure, Killed)
    assert calls == time
    # Half-way, nobody is let in.
    leaver.refresh_from_db()
    assert not leaver.is_active
    assert not AppSession.objects.filter(user=leaver, ended_at=None).exists()

    housekeeping.tidy_up()
    assert not User.objects.filter(pk=leaver.pk).exists()
    assert rows_of(leaver) == {}
    assert files(settings) == set()


def test_one_account_that_cannot_be_removed_yet_does_not_hold_up_the_others(
    leaver: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_user("other")
    fill(other, client)
    services.close_account(leaver)
    services.close_account(other)
    end = resumable.end_upload

    def busy(upload: ResumableUpload) -> None:
        if upload.owner_id == leaver.pk:
            raise SentinelError(Code.UPLOAD_LOCKED)
        end(upload)

    with monkeypatch.context() as patched:
        patched.setattr(resumable, "end_upload", busy)
        assert account_deletion.erase_closed_accounts() == 1
    assert User.objects.filter(pk=leaver.pk).exists()
    assert not User.objects.filter(pk=other.pk).exists()
    assert account_deletion.erase_closed_accounts() == 1


def test_a_file_that_comes_in_meanwhile_is_not_left_behind(
    leaver: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.close_account(leaver)
    late: list[Media] = []
    delete = media_services.delete_media

    def overtaken(media: Media) -> Any:
        if not late:
            late.append(make_media(leaver))
        return delete(media)

    with monkeypatch.context() as patched:
        patched.setattr(media_services, "delete_media", overtaken)
        account_deletion.erase_closed_accounts()
    account_deletion.erase_closed_accounts()
    assert not User.objects.filter(pk=leaver.pk).exists()
    assert files(settings) == set()


def test_accounts_that_are_only_deactivated_stay(leaver: User) -> None:
    leaver.is_active = False
    leaver.save()
    assert account_deletion.erase_closed_accounts() == 0
    assert User.objects.filter(pk=leaver.pk).exists()

"""The one way in: what is accepted, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from accounts import limits
from accounts.errors import STATUS, TEXTS, Code
from accounts.models import User
from media_analysis.models import Analysis, Media, Submission
from tests.media_factory import make_audio, make_image, make_png_bomb, make_video, truncate

pytestmark = pytest.mark.django_db(transaction=True)


def upload(client: Client, path: Path, **extra: Any) -> Any:
    with path.open("rb") as file:
        return client.post("/api/v1/analyses/", {"file": file}, format="multipart", **extra)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_nothing_is_left(settings: Any, user: User) -> None:
    assert not Media.objects.exists()
    assert not Analysis.objects.exists()
    assert not OrmQ.objects.exists()
    assert files_below(Path(settings.MEDIA_ROOT)) == []
    assert files_below(Path(settings.FILE_UPLOAD_TEMP_DIR)) == []
    assert limits.remaining(user) == 10


def test_an_accepted_video_is_stored_as_received_with_its_hashes_and_facts(
    as_owner: Client, owner: User, clip: Path
) -> None:
    response = upload(as_owner, clip)
    assert response.status_code == 201
    media = Media.objects.get()
    content = clip.read_bytes()
    assert Path(media.file.path).read_bytes() == content
    assert media.sha256 == hashlib.sha256(content).hexdigest()
    assert media.md5 == hashlib.md5(content).hexdigest()  # noqa: S324 -- the contract's checksum
    assert (media.kind, media.codec, media.width, media.height) == ("video", "h264", 320, 240)
    assert media.frame_count == 25
    assert media.frame_rate == pytest.approx(25, abs=0.1)
    assert media.duration == pytest.approx(1, abs=0.05)
    assert media.size == len(content)
    submission = Submission.objects.get()
    assert (submission.media, submission.submitted_by, submission.source) == (media, owner, "web")
    assert limits.remaining(owner) == 9


def test_an_accepted_photo_is_stored(as_owner: Client, photo: Path) -> None:
    assert upload(as_owner, photo).status_code == 201
    assert Media.objects.get().kind == "image"


def test_workers_are_woken_once_and_told_no_more_than_that_there_is_work(as_owner: Client, clip: Path) -> None:
    upload(as_owner, clip)
    analysis = Analysis.objects.get()
    assert (analysis.status, analysis.lane, analysis.priority) == ("queued", "default", Analysis.Priority.PERSON)
    [message] = OrmQ.objects.all()
    assert (message.task["func"], message.task["args"]) == ("media_analysis.tasks.run_next", ())


def make_empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def make_text(path: Path) -> Path:
    path.write_text("This is not a video.\n" * 100)
    return path


def make_truncated_moov(path: Path) -> Path:
    whole = make_video(path.with_name("whole.mp4"), seconds=1)
    return truncate(whole, path, 0.6)


def make_long(path: Path) -> Path:
    return make_video(path, seconds=61, fps=5, size=(64, 48))


def make_fast(path: Path) -> Path:
    return make_video(path, seconds=1, fps=60)


REFUSED: list[tuple[str, Callable[[Path], Path], int, Code]] = [
    ("empty.mp4", make_empty, 422, Code.UNREADABLE_MEDIA),
    ("text.mp4", make_text, 422, Code.UNREADABLE_MEDIA),
    ("sound.mp4", make_audio, 422, Code.NO_VIDEO_STREAM),
    ("truncated.mp4", make_truncated_moov, 422, Code.UNREADABLE_MEDIA),
    ("long.mp4", make_long, 413, Code.VIDEO_TOO_LONG),
    ("fast.mp4", make_fast, 413, Code.FPS_TOO_HIGH),
    ("bomb.png", make_png_bomb, 422, Code.UNREADABLE_MEDIA),
]


@pytest.mark.parametrize(("name", "make", "status", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_refused_file_gets_its_code_and_text_costs_nothing_and_leaves_nothing(  # noqa: PLR0917
    as_owner: Client,
    owner: User,
    settings: Any,
    tmp_path: Path,
    name: str,
    make: Callable[[Path], Path],
    status: int,
    code: Code,
) -> None:
    response = upload(as_owner, make(tmp_path / name))
    assert response.status_code == status
    body = response.json()
    assert body["code"] == status
    assert body["error"] == code
    assert body["success"] is False
    assert body["message"]
    assert "%" not in body["message"]
    assert_nothing_is_left(settings, owner)


def test_the_form_shows_the_same_refusal_with_the_same_status(as_owner: Client, tmp_path: Path) -> None:
    path = make_text(tmp_path / "text.mp4")
    with path.open("rb") as file:
        response = as_owner.post(reverse("media_analysis:classify"), {"file": file})
    assert response.status_code == 422
    assert str(TEXTS[Code.UNREADABLE_MEDIA]) in response.content.decode()


def test_a_file_over_the_limit_is_refused_by_its_size_alone(
    as_owner: Client, owner: User, settings: Any, clip: Path
) -> None:
    settings.SENTINEL_MAX_UPLOAD_BYTES = clip.stat().st_size - 1
    response = upload(as_owner, clip)
    assert (response.status_code, response.json()["error"]) == (412, "file_too_large")
    assert_nothing_is_left(settings, owner)


def test_a_file_at_the_limit_comes_in(as_owner: Client, settings: Any, clip: Path) -> None:
    settings.SENTINEL_MAX_UPLOAD_BYTES = clip.stat().st_size
    assert upload(as_owner, clip).status_code == 201


def test_a_fraction_over_a_limit_is_not_over(as_owner: Client, settings: Any, tmp_path: Path) -> None:
    settings.SENTINEL_MAX_DURATION_SECONDS = 2
    settings.SENTINEL_MAX_FRAME_RATE = 24
    assert upload(as_owner, make_video(tmp_path / "a.mp4", seconds=2.9, fps=24)).status_code == 201
    assert upload(as_owner, make_video(tmp_path / "b.mp4", seconds=3, fps=24)).json()["error"] == "video_too_long"


def test_no_file_at_all_is_400(as_owner: Client, owner: User, settings: Any) -> None:
    response = as_owner.post("/api/v1/analyses/", {"file": "just text"}, format="multipart")
    assert (response.status_code, response.json()["error"]) == (400, "file_missing")
    assert as_owner.post(reverse("media_analysis:classify")).status_code == 400
    assert_nothing_is_left(settings, owner)


def test_the_name_and_the_claimed_type_do_not_matter(as_owner: Client, tmp_path: Path) -> None:
    disguised = make_video(tmp_path / "holiday.txt", container="mp4", seconds=1)
    assert upload(as_owner, disguised).status_code == 201
    assert Media.objects.get().kind == "video"


def test_hostile_names_are_only_shown_and_never_used(as_owner: Client, settings: Any, tmp_path: Path) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    clip = make_image(tmp_path / "x.png").read_bytes()
    name = "a" * 300 + "\u202e\x07gpj." + "x" * 400
    response = as_owner.post("/api/v1/analyses/", {"file": SimpleUploadedFile(name, clip)}, format="multipart")
    assert response.status_code == 201
    media = Media.objects.get()
    assert "\u202e" not in media.original_name
    assert "\x07" not in media.original_name
    assert len(media.original_name) <= 255
    assert Path(media.file.path).name == "original"


def test_the_daily_limit_is_answered_with_429_and_when_to_come_back(as_owner: Client, owner: User, clip: Path) -> None:
    owner.daily_limit = 1
    owner.save()
    assert upload(as_owner, clip).status_code == 201
    response = upload(as_owner, clip)
    assert (response.status_code, response.json()["error"]) == (429, "rate_limited")
    assert 0 < int(response["Retry-After"]) <= 24 * 3600
    assert Media.objects.count() == 1


def test_a_database_failure_half_way_costs_nothing_and_keeps_no_file(
    as_owner: Client, owner: User, settings: Any, clip: Path
) -> None:
    with patch.object(Analysis.objects, "create", side_effect=RuntimeError("disk full")):
        response = upload(as_owner, clip)
    assert (response.status_code, response.json()["error"]) == (500, "internal_error")
    assert "disk full" not in response.content.decode()
    assert_nothing_is_left(settings, owner)


def test_a_queue_that_cannot_be_told_does_not_lose_the_analysis(as_owner: Client, clip: Path) -> None:
    with patch("media_analysis.queue_messages.async_task", side_effect=RuntimeError("queue away")):
        response = upload(as_owner, clip)
    assert response.status_code == 201
    assert Analysis.objects.get().status == Analysis.Status.QUEUED


def test_every_error_has_a_status_and_a_text() -> None:
    assert set(STATUS) == set(TEXTS) == set(Code)

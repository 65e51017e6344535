"""Media with an S3 server: all that is done with them, and servers that are slow, cut connections or are away."""

from __future__ import annotations

import hashlib
import io
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from accounts import limits
from accounts.errors import Code
from accounts.models import User
from media_analysis import checks, custody, evidence, housekeeping, live, object_storage, scratch, services, tasks
from media_analysis.models import Analysis, DeletionReceipt, Media
from media_analysis.storage import StorageAway, media_storage
from sentinel_site.environment import read_media_storage
from tests.media_analysis.factories import make_analysis, make_done, make_media
from tests.media_analysis.test_streaming import fetch, path_of
from tests.media_analysis.test_submit import files_below, upload
from tests.media_factory import make_face_video
from tests.s3_server import CREDENTIALS, BadProxy, S3Server, running_s3

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PREFIX = "police/media"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture(scope="module")
def the_proxy(server: S3Server) -> Iterator[BadProxy]:
    with BadProxy(server.endpoint) as proxy:
        yield proxy


@dataclass(frozen=True, slots=True)
class Kept:
    """Where media lie in a test: the server, the proxy before it, and the settings that name it."""

    server: S3Server
    proxy: BadProxy
    settings: Any

    @property
    def keys(self) -> list[str]:
        return self.server.keys()

    def put(self, key: str, content: bytes) -> None:
        self.server.client().put_object(Bucket=self.server.bucket, Key=key, Body=content)


@pytest.fixture
def s3(server: S3Server, the_proxy: BadProxy, settings: Any, tmp_path: Path) -> Iterator[Kept]:
    """The site keeps its media there, by way of the proxy. Empty at the beginning."""
    options = read_media_storage(server.url(PREFIX, endpoint=the_proxy.endpoint))
    access = {"access_key": CREDENTIALS["AWS_ACCESS_KEY_ID"], "secret_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"]}
    storage = {
        "BACKEND": "media_analysis.object_storage.ObjectStorage",
        "OPTIONS": {**options, **access, "timeout": 0.5},
    }
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    settings.SENTINEL_SCRATCH_DIR = tmp_path / "scratch"
    yield Kept(server, the_proxy, settings)
    the_proxy.set("fine")
    server.clear()


def scratch_files(settings: Any) -> list[str]:
    return [path.name for path in files_below(Path(settings.SENTINEL_SCRATCH_DIR)) if path.name != scratch.LOCK_NAME]


def uploaded(client: Client, path: Path) -> Analysis:
    assert upload(client, path).status_code == 201
    return Analysis.objects.latest("id")


def test_from_upload_to_deletion_everything_is_done_with_the_server(
    s3: Kept, detector: Path, as_owner: Client, owner: User, tmp_path: Path
) -> None:
    clip = make_face_video(tmp_path / "face.mp4", seconds=1)
    analysis = uploaded(as_owner, clip)
    media = Media.objects.get()
    assert s3.keys == [f"{PREFIX}/media/{media.public_id}/original"]
    stored = s3.server.client().get_object(Bucket=s3.server.bucket, Key=s3.keys[0])["Body"].read()
    assert hashlib.sha256(stored).hexdigest() == media.sha256
    assert files_below(Path(s3.settings.FILE_UPLOAD_TEMP_DIR)) == files_below(Path(s3.settings.MEDIA_ROOT)) == []

    tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    assert (analysis.status, analysis.attempts) == ("done", 1)
    assert scratch_files(s3.settings) == []

    page = f"/analyses/{analysis.public_id}/"
    assert as_owner.get(page).status_code == 200
    picture = as_owner.get(f"{page}evidence/{analysis.evidence[0].rpartition('/')[2]}")
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")
    answer, body = fetch(owner, path_of(media), {"Range": "bytes=1000-1999"})
    assert (answer.status_code, body) == (206, clip.read_bytes()[1000:2000])
    answer, body = fetch(owner, path_of(media))
    assert (answer.status_code, body) == (200, clip.read_bytes())
    assert as_owner.head(path_of(media))["Content-Length"] == str(media.size)
    assert fetch(owner, path_of(media), {"Range": f"bytes={media.size}-"})[0].status_code == 416

    report = as_owner.get(f"/api/v1/analyses/{analysis.public_id}/report/", headers={"accept": "application/pdf"})
    assert report.content.startswith(b"%PDF")
    answer, body = fetch(owner, f"/api/v1/analyses/{analysis.public_id}/package/")
    with zipfile.ZipFile(io.BytesIO(body)) as package:
        assert package.read("original.mp4") == clip.read_bytes()
        assert len([name for name in package.namelist() if name.startswith("pictures/")]) == len(analysis.evidence)
    assert all(key.startswith(f"{PREFIX}/") for key in s3.keys)

    assert as_owner.delete(f"/api/v1/analyses/{analysis.public_id}/").status_code == 200
    assert s3.keys == []
    assert DeletionReceipt.objects.get().sha256 == media.sha256
    assert not Media.objects.exists()


def test_large_files_go_in_parts(s3: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_storage, "SINGLE_PUT_BYTES", 5 * 1024 * 1024)
    monkeypatch.setattr(object_storage, "PART_BYTES", 5 * 1024 * 1024)
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1024) * 11 * 1024)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = media_storage().put_file("media/large/original", path, digest)
    stored = s3.server.client().head_object(Bucket=s3.server.bucket, Key=f"{PREFIX}/{name}")
    assert stored["ETag"].endswith('-3"')
    with default_storage.open(name) as file:
        assert hashlib.sha256(file.read()).hexdigest() == digest


def test_the_server_is_told_the_hash_and_never_a_file_twice(s3: Kept, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    digest = hashlib.sha256(b"bytes").hexdigest()
    first = media_storage().put_file("media/a/original", path, digest)
    assert media_storage().put_file("media/a/original", path, digest) != first
    with pytest.raises(StorageAway):
        # What arrives is not what was received: the server refuses it.
        media_storage().put_file("media/b/original", path, hashlib.sha256(b"other").hexdigest())
    assert not default_storage.exists("media/b/original")


def test_by_a_link_browsers_get_the_file_from_the_server_itself(
    s3: Kept, as_owner: Client, as_stranger: Client, owner: User, clip: Path
) -> None:
    s3.settings.SENTINEL_MEDIA_LINK_SECONDS = 300
    uploaded(as_owner, clip)
    media = Media.objects.get()
    assert as_stranger.get(path_of(media)).status_code == 404
    answer = as_owner.get(f"{path_of(media)}?download=1")
    assert (answer.status_code, answer["Cache-Control"]) == (302, "private, no-store")
    asked = parse_qs(urlsplit(answer["Location"]).query)
    assert asked["X-Amz-Expires"] == ["300"]
    assert asked["response-content-type"] == ["video/mp4"]
    assert asked["response-content-disposition"][0].startswith("attachment; filename")
    events = custody.events_of(media.public_id).filter(event=custody.Event.DOWNLOADED)
    assert [event.actor for event in events] == [owner.public_id]
    got = requests.get(answer["Location"], headers={"Range": "bytes=0-9"}, timeout=10)
    assert (got.status_code, got.content) == (206, clip.read_bytes()[:10])
    assert got.headers["Content-Type"] == "video/mp4"


@pytest.mark.parametrize("mode", ["away", "silent", "busy"])
def test_while_the_storage_is_away_nothing_is_taken_in_or_spent(
    s3: Kept, as_owner: Client, owner: User, clip: Path, mode: str
) -> None:
    done = make_done(owner, evidence=["analyses/a/b/frame-9.jpg"])
    s3.proxy.set(mode)
    begun = time.monotonic()
    refused = upload(as_owner, clip)
    assert (refused.status_code, refused.json()["error"]) == (503, "storage_unavailable")
    assert int(refused["Retry-After"]) > 0
    assert time.monotonic() - begun < 8
    assert limits.remaining(owner) == 10
    assert files_below(Path(s3.settings.FILE_UPLOAD_TEMP_DIR)) == []
    assert Media.objects.count() == 1
    page = f"/analyses/{done.public_id}/"
    assert as_owner.get(page).status_code == 200
    assert as_owner.get(f"{page}evidence/frame-9.jpg").status_code == 503
    assert as_owner.get(path_of(done.media)).status_code == 503
    s3.proxy.set("fine")
    assert upload(as_owner, clip).status_code == 201


def test_a_deletion_while_the_storage_is_away_is_completed_later(s3: Kept, as_owner: Client, owner: User) -> None:
    done = make_done(owner)
    s3.proxy.set("away")
    assert as_owner.delete(f"/api/v1/analyses/{done.public_id}/").status_code == 200
    assert as_owner.get(f"/analyses/{done.public_id}/").status_code == 404
    Media.objects.update(deleted_at=timezone.now() - housekeeping.ABANDONED_AFTER)
    housekeeping.tidy_up()
    assert Media.objects.exists()
    s3.proxy.set("fine")
    housekeeping.tidy_up()
    assert not Media.objects.exists()
    assert s3.keys == []


def test_a_connection_that_is_cut_again_and_again_costs_nobody_a_byte(s3: Kept, owner: User, tmp_path: Path) -> None:
    content = os.urandom(600_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    media = make_media(owner, size=len(content), sha256=digest)
    default_storage.delete(str(media.file))
    media_storage().put_file(str(media.file), path, digest)
    make_done(owner, media=media)
    s3.proxy.set("cut", cut_after=100_000)
    answer, body = fetch(owner, path_of(media), {"Range": "bytes=1000-"})
    assert (answer.status_code, body == content[1000:]) == (206, True)
    with scratch.local_file(media) as local:
        assert local.read_bytes() == content
    s3.proxy.set("slow", bytes_a_second=2_000_000)
    with scratch.local_file(media) as local:
        assert local.read_bytes() == content


def test_a_worker_waits_for_the_storage_and_then_gives_the_analysis_back_uncounted(
    s3: Kept, detector: Path, as_owner: Client, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = uploaded(as_owner, clip)
    s3.proxy.set("away")
    monkeypatch.setattr(tasks, "PATIENCE_SECONDS", 1.0)
    for _ in range(4):
        tasks.run_analysis(analysis.pk)
        analysis.refresh_from_db()
        assert (analysis.status, analysis.attempts) == ("queued", 0)
    monkeypatch.setattr(tasks, "PATIENCE_SECONDS", 30.0)
    real, waited = time.sleep, []

    def come_back(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            s3.proxy.set("fine")
        real(min(seconds, 0.1))

    with patch("media_analysis.tasks.time.sleep", come_back):
        tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    assert (analysis.status, analysis.attempts) == ("done", 1)
    assert limits.remaining(analysis.media.owner) == 9


def test_a_result_whose_pictures_find_no_storage_is_kept_until_it_is_back(
    s3: Kept, detector: Path, as_owner: Client, clip: Path
) -> None:
    analysis = uploaded(as_owner, clip)
    real = tasks.examine

    def lose_the_storage(*arguments: Any) -> Any:
        found = real(*arguments)
        s3.proxy.set("away")
        return found

    def find_it(seconds: float) -> None:
        s3.proxy.set("fine")

    with (
        patch("media_analysis.tasks.examine", side_effect=lose_the_storage) as examined,
        patch("media_analysis.tasks.time.sleep", find_it),
    ):
        tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    assert (analysis.status, examined.call_count) == ("done", 1)
    assert all(default_storage.exists(name) for name in analysis.evidence)


@pytest.mark.parametrize("content", [b"other bytes", None])
def test_a_file_that_is_not_as_it_was_received_fails_and_is_never_scored(
    s3: Kept, detector: Path, as_owner: Client, clip: Path, content: bytes | None
) -> None:
    analysis = uploaded(as_owner, clip)
    [key] = s3.keys
    if content is None:
        s3.server.client().delete_object(Bucket=s3.server.bucket, Key=key)
    else:
        changed = content + clip.read_bytes()[len(content) :]
        s3.put(key, changed)
    with patch("media_analysis.tasks.analyze") as analyze:
        tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    assert not analyze.called
    assert (analysis.status, analysis.error_code) == ("failed", Code.FILE_DAMAGED)
    assert (analysis.fake_probability, analysis.confidence) == (None, None)
    assert limits.remaining(analysis.media.owner) == 10
    assert scratch_files(s3.settings) == []


def test_sweeping_looks_at_some_folders_in_each_round_and_at_all_in_the_end(
    s3: Kept, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "FOLDERS_A_ROUND", 3)
    kept = [make_analysis(owner) for _ in range(4)]
    for analysis in kept:
        evidence.store_preview(analysis, 1, b"jpeg")
    gone = [default_storage.save(f"analyses/{number:024x}/a/frame-1.jpg", ContentFile(b"jpeg")) for number in range(4)]
    fresh = default_storage.save(f"media/{0:024x}/original", ContentFile(b"just coming in"))
    swept = [housekeeping.sweep_abandoned_files() for _ in range(3)]
    assert (sum(swept), max(swept)) == (4, 3)
    assert not any(default_storage.exists(name) for name in gone)
    assert default_storage.exists(fresh)
    assert all(default_storage.exists(str(analysis.media.file)) for analysis in kept)
    assert all(live.read_picture(analysis.public_id, "", 1) == b"jpeg" for analysis in kept)
    monkeypatch.setattr("media_analysis.housekeeping.ABANDONED_AFTER", -housekeeping.ABANDONED_AFTER)
    for _ in range(3):
        housekeeping.sweep_abandoned_files()
    assert not default_storage.exists(fresh)
    assert all(default_storage.exists(str(analysis.media.file)) for analysis in kept)


def test_an_export_and_a_closed_account_work_with_the_server(s3: Kept, owner: User, tmp_path: Path) -> None:
    done = make_done(owner)
    claimed = Analysis(public_id=done.public_id, claim_token="a" * 24)
    done.evidence = evidence.store(claimed, {"frame-9.jpg": b"jpeg"})
    done.save(update_fields=["evidence"])
    again = make_analysis(owner)
    assert services.adopt_result(again, done)
    again.refresh_from_db()
    assert evidence.read(again.evidence[0]) == b"jpeg"
    owner.deleted_at = timezone.now()
    owner.save(update_fields=["deleted_at"])
    housekeeping.tidy_up()
    assert not User.objects.filter(pk=owner.pk).exists()
    assert s3.keys == []


def test_the_settings_that_several_hosts_need_are_asked_for(settings: Any) -> None:
    settings.MEDIA_STORAGE_URL = "s3://bucket"
    settings.SENTINEL_ACCEL_PREFIX = "/stored/"
    settings.SENTINEL_KEYS_MADE_HERE = ["SECRET_KEY", "VAPID_PRIVATE_KEY"]
    settings.SENTINEL_SCRATCH_BYTES = 1000
    found = {message.id: message.msg for message in checks.check_storage()}
    assert set(found) >= {"media_analysis.E003", "media_analysis.E004", "media_analysis.E005"}
    assert found["media_analysis.E004"].startswith("SECRET_KEY, VAPID_PRIVATE_KEY must be given")

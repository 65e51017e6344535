"""Disks that are full: a small file system of a test's own where one may be mounted, and the budget of originals."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.asgi import get_asgi_application
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import AsyncClient, Client

from accounts import limits
from accounts.errors import Code, text_of
from accounts.models import User
from media_analysis import fetching, room, scratch, storage, tasks
from media_analysis.middleware import REFUSED_FLAG
from media_analysis.models import Analysis, Media
from media_analysis.storage import StorageFull
from sentinel_site.bodies import LimitBody
from tests.media_analysis.factories import make_media
from tests.media_analysis.test_submit import files_below, upload

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MEGABYTE = 1024 * 1024
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one megabyte. Skips the test where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def with_free(free: int) -> Any:
    """Every disk has so much left."""
    return patch("shutil.disk_usage", return_value=Usage(10**12, 0, free))


def test_room_is_reckoned_for_each_disk_that_a_file_passes_through(settings: Any) -> None:
    settings.SENTINEL_MIN_FREE_BYTES = 50 * MEGABYTE
    same = os.stat(tempfile.gettempdir()).st_dev == os.stat(settings.FILE_UPLOAD_TEMP_DIR).st_dev
    # A body is kept by Django, and the file in it by us.
    needed = 50 * MEGABYTE + (200 * MEGABYTE if same else 100 * MEGABYTE)
    with with_free(needed):
        assert not room.lacks_room(100 * MEGABYTE)
    with with_free(needed - 1):
        assert room.lacks_room(100 * MEGABYTE)
        assert not room.lacks_room()


def test_an_upload_without_room_is_refused_unread(owner: User) -> None:
    """Through the whole site, as it stands behind the server."""
    read: list[int] = []
    answers: list[dict[str, Any]] = []

    async def ask() -> None:
        client = AsyncClient()
        await client.aforce_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
        cookie = client.cookies["sessionid"].value.encode()

        async def receive() -> dict[str, Any]:
            read.append(1)
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

        async def send(message: Any) -> None:
            answers.append(message)

        site = LimitBody(get_asgi_application(), max_upload_bytes=100 * MEGABYTE, lacks_room=room.lacks_room)
        headers = [
            (b"content-type", b"multipart/form-data; boundary=x"),
            (b"content-length", b"50000000"),
            (b"cookie", b"sessionid=" + cookie),
            (b"host", b"localhost"),
        ]
        scope = {"type": "http", "method": "POST", "path": "/api/v1/analyses/", "query_string": b"", "headers": headers}
        await site(scope, receive, send)

    with with_free(MEGABYTE):
        asyncio.run(ask())
    start, *body = answers
    # What came until the answer was thrown away; the rest was never asked for.
    assert sum(read) < 1000
    assert start["status"] == 503
    assert int(dict(start["headers"])[b"Retry-After"]) > 0
    said = json.loads(b"".join(part.get("body", b"") for part in body))
    assert (said["error"], said["message"]) == ("storage_full", text_of(Code.STORAGE_FULL))
    assert limits.remaining(owner) == 10


def test_files_under_way_are_counted_together() -> None:
    asked: list[int] = []
    refused: list[Any] = []

    async def application(scope: dict[str, Any], receive: Any, _send: Any) -> None:
        if REFUSED_FLAG in scope:
            refused.append(scope[REFUSED_FLAG])
            return
        await asyncio.sleep(0.05)

    def lacks_room(size: int) -> bool:
        asked.append(size)
        return size > 150

    async def send_three() -> None:
        site = LimitBody(application, max_upload_bytes=MEGABYTE, lacks_room=lacks_room)
        headers = [(b"content-type", b"multipart/form-data"), (b"content-length", b"100")]
        scope = {"type": "http", "method": "POST", "headers": headers}
        first = asyncio.create_task(site(scope, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await site(scope, None, None)  # type: ignore[arg-type]
        await first
        await site(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(send_three())
    assert asked == [100, 200, 100]
    assert refused == ["storage_full"]


def test_a_disk_that_is_full_before_django_has_the_body_is_answered_too() -> None:
    seen: list[Any] = []

    async def application(scope: dict[str, Any], receive: Any, _send: Any) -> None:
        seen.append(scope.get(REFUSED_FLAG))
        if len(seen) == 1:
            raise OSError(28, "No space left on device")

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data")]}
    asyncio.run(LimitBody(application, max_upload_bytes=MEGABYTE)(scope, None, None))  # type: ignore[arg-type]
    assert seen == [None, "storage_full"]


def test_an_upload_that_fills_the_incoming_disk_leaves_nothing(
    small_disk: Path, as_owner: Client, owner: User, settings: Any, tmp_path: Path
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = small_disk
    large = tmp_path / "large.mp4"
    large.write_bytes(os.urandom(2 * MEGABYTE))
    refused = upload(as_owner, large)
    assert (refused.status_code, refused.json()["error"]) == (503, "storage_full")
    assert refused["Retry-After"]
    assert files_below(small_disk) == []
    assert shutil.disk_usage(small_disk).used == 0
    assert limits.remaining(owner) == 10


def test_a_full_disk_of_media_leaves_no_half_file_and_what_was_accepted(
    small_disk: Path, as_owner: Client, owner: User, settings: Any, clip: Path
) -> None:
    settings.MEDIA_ROOT = small_disk
    assert upload(as_owner, clip).status_code == 201
    accepted = Media.objects.get()
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    refused = upload(as_owner, clip)
    assert (refused.status_code, refused.json()["error"]) == (503, "storage_full")
    with pytest.raises(StorageFull):
        default_storage.save("analyses/a/b/frame-1.jpg", ContentFile(b"x" * 100_000))
    assert set(files_below(small_disk)) == {filler, Path(accepted.file.path)}
    assert (limits.remaining(owner), Media.objects.count()) == (9, 1)
    filler.unlink()
    assert upload(as_owner, clip).status_code == 201


def test_a_part_of_an_upload_counts_as_far_as_the_disk_took_it(
    small_disk: Path, as_owner: Client, settings: Any
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = small_disk
    tus = {"tus-resumable": "1.0.0"}
    begun = as_owner.generic("POST", "/api/v1/uploads/", headers={**tus, "upload-length": str(2 * MEGABYTE)})
    assert begun.status_code == 201
    address = begun["Location"]
    sent = as_owner.patch(
        address,
        os.urandom(2 * MEGABYTE),
        content_type="application/offset+octet-stream",
        headers={**tus, "upload-offset": "0"},
    )
    assert (sent.status_code, sent.json()["error"]) == (503, "storage_full")
    offset = int(as_owner.head(address, headers=tus)["Upload-Offset"])
    assert 0 < offset <= MEGABYTE
    assert as_owner.delete(address, headers=tus).status_code == 204
    assert files_below(small_disk) == []


def test_a_worker_whose_media_disk_is_full_waits_and_goes_on(
    detector: Path, small_disk: Path, as_owner: Client, settings: Any, clip: Path
) -> None:
    settings.MEDIA_ROOT = small_disk
    upload(as_owner, clip)
    analysis = Analysis.objects.get()
    filler = small_disk / "filler"

    def fill(*arguments: Any) -> Any:
        found = examine(*arguments)
        filler.write_bytes(b"x" * shutil.disk_usage(small_disk).free)
        return found

    examine = tasks.examine
    with (
        patch("media_analysis.tasks.examine", side_effect=fill) as examined,
        patch("media_analysis.tasks.time.sleep", side_effect=lambda _seconds: filler.unlink(missing_ok=True)),
    ):
        tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    assert (analysis.status, examined.call_count) == ("done", 1)
    assert all(default_storage.size(name) > 0 for name in analysis.evidence)
    assert {name.rpartition("/")[2] for name in analysis.evidence} == {
        path.name for path in files_below(small_disk / "analyses") if not path.name.startswith("preview-")
    }


def test_links_are_left_alone_while_there_is_no_room() -> None:
    fetcher = fetching.Fetcher()
    with with_free(MEGABYTE), patch("media_analysis.links.claim_waiting") as claim:
        fetcher._fetch_waiting(None)  # type: ignore[arg-type]
        assert not claim.called
    with with_free(10**10), patch("media_analysis.links.claim_waiting", return_value=None) as claim:
        fetcher._fetch_waiting(None)  # type: ignore[arg-type]
        assert claim.called


# The budget of originals that workers of one host share


class Elsewhere(storage.FolderStorage):
    """Media that lie on no disk of ours."""

    on_disk = False


@pytest.fixture
def elsewhere(settings: Any, tmp_path: Path) -> Path:
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "tests.media_analysis.test_full_disks.Elsewhere"},
    }
    settings.SENTINEL_SCRATCH_DIR = tmp_path / "scratch"
    settings.SENTINEL_SCRATCH_BYTES = 1000
    settings.SENTINEL_MIN_FREE_BYTES = 0
    return Path(settings.SENTINEL_SCRATCH_DIR)


def an_original(owner: User, size: int = 600) -> Media:
    content = os.urandom(size)
    media = make_media(owner, size=size, sha256=hashlib.sha256(content).hexdigest())
    default_storage.delete(str(media.file))
    default_storage.save(str(media.file), ContentFile(content))
    return media


def originals(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if path.name != scratch.LOCK_NAME]


def test_originals_of_two_jobs_never_take_more_than_the_budget(owner: User, elsewhere: Path, settings: Any) -> None:
    first, second = an_original(owner), an_original(owner)
    with scratch.local_file(first) as path:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == first.sha256
        assert path.stat().st_mode & 0o077 == 0
        with pytest.raises(scratch.NoScratchRoom), scratch.local_file(second):
            pass
        assert originals(elsewhere) == [path]
    with scratch.local_file(second):
        pass
    assert originals(elsewhere) == []
    with pytest.raises(RuntimeError, match="SENTINEL_SCRATCH_BYTES"), scratch.local_file(an_original(owner, 1001)):
        pass
    settings.SENTINEL_MIN_FREE_BYTES = 10**18
    with pytest.raises(scratch.NoScratchRoom), scratch.local_file(second):
        pass


def test_an_original_of_a_killed_process_is_gone_with_the_next(owner: User, elsewhere: Path) -> None:
    elsewhere.mkdir()
    code = (
        "import fcntl, os, sys, time\n"
        "descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(descriptor, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    path = elsewhere / f"{'a' * 24}.600"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert scratch.sweep() == 0
    with pytest.raises(scratch.NoScratchRoom), scratch.local_file(an_original(owner)):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with scratch.local_file(an_original(owner)):
        assert not path.exists()

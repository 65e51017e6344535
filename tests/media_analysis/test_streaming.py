"""Handing out original files: ranges, headers, who may have them, and what the custody log says."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import AsyncClient, Client
from django.utils import timezone

from accounts import tokens
from accounts.errors import SentinelError
from accounts.models import User
from media_analysis import cases, checks, custody, streaming
from media_analysis.models import CaseMember, CaseRole, CustodyEvent, Media
from media_analysis.storage import FolderStorage
from media_analysis.streaming import ByteRange, Pieces, parse_range
from tests.media_analysis.factories import make_done, make_media

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-", 0, 99),
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=99-", 99, 99),
        ("bytes=90-1000", 90, 99),
        ("bytes=-1", 99, 99),
        ("bytes=-1000", 0, 99),
        ("BYTES= 5-6 ", 5, 6),
    ],
)
def test_a_range_within_the_file(header: str, start: int, end: int) -> None:
    assert parse_range(header, 100) == ByteRange(start, end)


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1", "lines=1-2", "bytes=0-1,5-6"),
        *("bytes=+1-2", "bytes=1 - 2", "bytes=٣-٤", "bytes=" + "9" * 5000 + "-", "bytes=0-1\n"),
    ],
)
def test_what_is_no_range_is_passed_over(header: str) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_beyond_the_file_is_refused_with_its_size(header: str) -> None:
    with pytest.raises(SentinelError) as refused:
        parse_range(header, 100)
    assert refused.value.status == 416
    assert refused.value.headers == {"Content-Range": "bytes */100"}


def make_original(owner: User, **fields: Any) -> Media:
    media = make_media(owner, size=SIZE, **fields)
    default_storage.delete(str(media.file))
    assert default_storage.save(str(media.file), ContentFile(CONTENT)) == str(media.file)
    make_done(owner, media=media)
    return media


@pytest.fixture
def media(owner: User) -> Media:
    return make_original(owner, original_name="../../a\r\nX-Evil: 1\u202e é.mp4")


def path_of(media: Media) -> str:
    return f"/media/{media.public_id}/file"


@async_to_sync
async def fetch(user: User, path: str, headers: Mapping[str, str] | None = None) -> tuple[Any, bytes]:
    """The answer and its body, as it leaves an asynchronous server."""
    client = AsyncClient()
    await client.aforce_login(user, backend="accounts.backends.UsernameOrEmailBackend")
    answer: Any = await client.get(path, headers=dict(headers or {}))
    body = b"".join([piece async for piece in answer]) if answer.streaming else answer.content
    answer.close()
    return answer, body


@pytest.mark.django_db(transaction=True)
def test_the_whole_file_comes_piece_by_piece(owner: User, media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PIECE_BYTES", 1000)
    answer, body = fetch(owner, path_of(media))
    assert (answer.status_code, body == CONTENT) == (200, True)
    assert answer.streaming
    assert answer["Content-Length"] == str(SIZE)
    assert answer["Content-Type"] == "video/mp4"
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["ETag"] == f'"{media.sha256}"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"].startswith("sandbox allow-same-origin; default-src 'none'")
    assert "no-store" in answer["Cache-Control"]
    assert answer["Content-Disposition"].startswith("inline; filename")
    assert "X-Evil" not in answer
    assert "\n" not in answer["Content-Disposition"]
    assert ".." not in answer["Content-Disposition"]


@pytest.mark.django_db(transaction=True)
def test_a_part_of_the_file(owner: User, media: Media) -> None:
    answer, body = fetch(owner, path_of(media), {"Range": "bytes=1000-1999"})
    assert (answer.status_code, body == CONTENT[1000:2000]) == (206, True)
    assert answer["Content-Range"] == f"bytes 1000-1999/{SIZE}"
    assert answer["Content-Length"] == "1000"
    _, rest = fetch(owner, path_of(media), {"Range": "bytes=-7", "If-Range": answer["ETag"]})
    assert rest == CONTENT[-7:]


def test_conditions_on_the_tag(as_owner: Client, media: Media) -> None:
    tag = f'"{media.sha256}"'

    def ask(**headers: str) -> Any:
        return as_owner.get(path_of(media), headers={name.replace("_", "-"): text for name, text in headers.items()})

    assert ask(if_none_match=tag).status_code == 304
    assert ask(if_none_match='"another"').status_code == 200
    assert ask(if_match='"another"').status_code == 412
    assert ask(range="bytes=1-2", if_range=tag).status_code == 206
    # Parts of different files are not to be put together.
    assert ask(range="bytes=1-2", if_range='"another"').status_code == 200
    assert ask(range="bytes=1-2", if_range=f"W/{tag}").status_code == 200
    assert ask(range="bytes=1-2", if_range="Mon, 23 Nov 2026 09:00:00 GMT").status_code == 200
    beyond = ask(range=f"bytes={SIZE}-")
    assert (beyond.status_code, beyond["Content-Range"]) == (416, f"bytes */{SIZE}")


def test_head_tells_the_size_and_leaves_no_trace(as_owner: Client, media: Media) -> None:
    before = custody.events_of(media.public_id).count()
    answer = as_owner.head(path_of(media), headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer["Content-Length"], answer.content) == (200, str(SIZE), b"")
    assert custody.events_of(media.public_id).count() == before
    assert as_owner.post(path_of(media)).status_code == 405


@pytest.mark.parametrize(
    ("container", "codec", "content_type"),
    [
        ("mp4", "hevc", "video/mp4"),
        ("mov", "h264", "video/quicktime"),
        ("matroska", "vp9", "video/webm"),
        ("matroska", "h264", "video/x-matroska"),
        ("png", "png", "image/png"),
        ("avi", "mpeg4", "application/octet-stream"),
        ("text/html", "html", "application/octet-stream"),
    ],
)
def test_the_type_is_what_the_probe_found(
    owner: User, as_owner: Client, container: str, codec: str, content_type: str
) -> None:
    media = make_original(owner, container=container, codec=codec, original_name="page.html")
    answer = as_owner.get(path_of(media))
    assert answer["Content-Type"] == content_type
    shown = "attachment" if content_type == "application/octet-stream" else "inline"
    assert answer["Content-Disposition"] == f'{shown}; filename="page.html"'
    assert as_owner.get(path_of(media) + "?download=1")["Content-Disposition"].startswith("attachment")


def test_others_are_told_that_there_is_nothing(as_stranger: Client, as_admin: Client, media: Media) -> None:
    for client in (as_stranger, as_admin):
        answer = client.get(path_of(media), headers={"Range": "bytes=0-1"})
        assert (answer.status_code, answer.streaming) == (404, False)
    assert Client().get(path_of(media)).status_code == 302
    assert as_stranger.get("/media/" + "f" * 24 + "/file").status_code == 404


def test_members_of_a_case_may_have_its_files_as_long_as_they_are_in_it(
    owner: User, stranger: User, as_stranger: Client, media: Media
) -> None:
    case = cases.open_case(owner, "Theft", {})
    cases.add_media(cases.take_seat(owner, case.public_id), [media.public_id])
    member = CaseMember.objects.create(case=case, user=stranger, role=CaseRole.VIEWER)
    analysis = media.analyses.get()
    for path in (path_of(media), f"/api/v1/analyses/{analysis.public_id}/media/"):
        assert as_stranger.get(path).status_code == 200
    assert {event.actor for event in custody.events_of(media.public_id).filter(event="viewed")} == {stranger.public_id}
    member.delete()
    for path in (path_of(media), f"/api/v1/analyses/{analysis.public_id}/media/"):
        assert as_stranger.get(path).status_code == 404


def test_a_deleted_or_lost_file_is_not_there(as_owner: Client, owner: User, media: Media) -> None:
    default_storage.delete(str(media.file))
    assert as_owner.get(path_of(media)).status_code == 404
    another = make_original(owner)
    unfetched = make_media(owner, file="")
    make_done(owner, media=unfetched)
    assert as_owner.get(path_of(unfetched)).status_code == 404
    Media.objects.filter(pk=another.pk).update(deleted_at=timezone.now())
    assert as_owner.get(path_of(another)).status_code == 404


def seen_in(media: Media) -> list[str]:
    return [str(event.event) for event in custody.events_of(media.public_id) if event.details.get("what") == "original"]


def test_a_playback_is_recorded_once_and_each_download(as_owner: Client, owner: User, media: Media) -> None:
    # Not even a player that leaves out the first byte goes unseen.
    for wanted in ("bytes=1-99", "bytes=0-", "bytes=500-"):
        assert as_owner.get(path_of(media), headers={"Range": wanted}).status_code == 206
    assert seen_in(media) == ["viewed"]
    as_owner.get(path_of(media) + "?download=1")
    as_owner.get(path_of(media) + "?download=1")
    as_owner.get(path_of(media) + "?download=1", headers={"Range": "bytes=500-"})
    assert seen_in(media) == ["viewed", "downloaded", "downloaded"]
    last = custody.events_of(media.public_id).last()
    assert last is not None
    assert last.actor == owner.public_id
    assert custody.check(custody.events_of(media.public_id)) == []


def test_a_later_playback_is_another_one(as_owner: Client, media: Media) -> None:
    as_owner.get(path_of(media), headers={"Range": "bytes=0-"})
    CustodyEvent.objects.update(at=timezone.now() - streaming.ONE_EVENT - timedelta(seconds=1))
    as_owner.get(path_of(media), headers={"Range": "bytes=0-"})
    assert seen_in(media) == ["viewed", "viewed"]


def test_a_playback_from_another_address_is_another_one(as_owner: Client, media: Media) -> None:
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        as_owner.get(path_of(media), headers={"Range": "bytes=0-"}, REMOTE_ADDR=address)
    assert seen_in(media) == ["viewed", "viewed"]


def test_what_was_refused_is_not_recorded(as_owner: Client, media: Media) -> None:
    as_owner.get(path_of(media), headers={"Range": f"bytes={SIZE}-"})
    as_owner.get(path_of(media), headers={"If-None-Match": f'"{media.sha256}"'})
    assert seen_in(media) == []


@pytest.mark.django_db(transaction=True)
def test_the_api_hands_it_out_as_a_download(owner: User, media: Media) -> None:
    path = f"/api/v1/analyses/{media.analyses.get().public_id}/media/"
    headers = {"Authorization": f"Bearer {tokens.log_in(owner).access}"}
    answer, body = fetch(owner, path, {**headers, "Range": "bytes=5-9"})
    assert (answer.status_code, body) == (206, CONTENT[5:10])
    assert answer["Content-Disposition"].startswith("attachment")
    assert seen_in(media) == ["downloaded"]
    beyond = Client().get(path, headers={**headers, "Range": "bytes=99999-"})
    assert (beyond.status_code, beyond.json()["error"]) == (416, "range_not_satisfiable")
    assert beyond["Content-Range"] == f"bytes */{SIZE}"
    head = Client().head(path, headers=headers)
    assert (head.status_code, head["Content-Length"]) == (200, str(SIZE))


def test_nginx_is_told_which_file_to_send(as_owner: Client, owner: User, media: Media, settings: Any) -> None:
    settings.SENTINEL_ACCEL_PREFIX = "/stored/"
    media.file.name = default_storage.save("media/a b?#é/original", ContentFile(CONTENT))
    media.save()
    answer = as_owner.get(path_of(media), headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["X-Accel-Redirect"] == "/stored/media/a%20b%3F%23%C3%A9/original"
    assert answer["Content-Type"] == "video/mp4"
    assert "ETag" not in answer
    assert seen_in(media) == ["viewed"]


@pytest.mark.parametrize(("prefix", "fine"), [("", True), ("/stored/", True), ("stored/", False), ("/x", False)])
def test_a_prefix_that_cannot_work_is_found_at_the_start(settings: Any, prefix: str, fine: bool) -> None:
    settings.SENTINEL_ACCEL_PREFIX = prefix
    assert (checks.check_accel_prefix() == []) is fine


class SlowFile(io.BytesIO):
    """Says which thread reads."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.threads: set[int] = set()

    def read(self, size: int | None = -1, /) -> bytes:
        self.threads.add(threading.get_ident())
        return super().read(size)


def test_reading_never_happens_in_the_event_loop_and_the_file_is_closed() -> None:
    file = SlowFile(CONTENT)
    pieces = Pieces(file, SIZE)

    async def read() -> bytes:
        return b"".join([piece async for piece in pieces])

    assert asyncio.run(read()) == CONTENT
    assert threading.get_ident() not in file.threads
    pieces.close()
    assert file.closed


def test_a_file_that_became_shorter_breaks_the_answer_off() -> None:
    pieces = Pieces(io.BytesIO(b"abc"), 10)

    async def read() -> list[bytes]:
        return [piece async for piece in pieces]

    with pytest.raises(OSError, match="7 bytes early"):
        asyncio.run(read())


# Closing an answer by hand closes the connection to the database too, which a test in a transaction would need again.
@pytest.mark.django_db(transaction=True)
def test_the_file_is_closed_when_the_answer_is(as_owner: Client, media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    real = FolderStorage.open_part

    def remember(self: FolderStorage, name: str, start: int, length: int) -> Any:
        part: Any = real(self, name, start, length)
        opened.append(part._file)
        return part

    monkeypatch.setattr(FolderStorage, "open_part", remember)
    for headers in ({}, {"Range": "bytes=99999-"}):
        as_owner.get(path_of(media), headers=headers).close()
    as_owner.head(path_of(media))
    assert len(opened) == 1
    assert all(file.closed for file in opened)


def test_the_original_of_a_folder_that_is_elsewhere(tmp_path: Path, owner: User, as_owner: Client) -> None:
    """A name in the row that leads out of the storage is refused by the storage itself."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    media = make_original(owner)
    Media.objects.filter(pk=media.pk).update(file="../secret")
    assert as_owner.get(path_of(media)).status_code == 400

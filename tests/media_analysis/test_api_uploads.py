"""/api/v1/uploads/: the tus protocol, header by header, and what becomes of files that came that way."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from accounts import limits, tokens
from accounts.models import User
from media_analysis import housekeeping, resumable, services
from media_analysis.models import Analysis, Media, ResumableUpload, Submission

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/uploads/"
PART = "application/offset+octet-stream"


class Tus:
    """A phone that speaks the protocol without a library."""

    def __init__(self, user: User) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.headers = {"Authorization": f"Bearer {tokens.log_in(user).access}", "Tus-Resumable": "1.0.0"}

    def ask(self, method: str, url: str = URL, body: bytes = b"", **headers: str) -> Any:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        sent = {name: value for name, value in sent.items() if value != "-"}
        content_type = sent.pop("Content-Type", PART if body else "")
        return self.client.generic(method, url, body, content_type=content_type, headers=sent)

    def begin(self, size: int, body: bytes = b"", **headers: str) -> Any:
        return self.ask("POST", URL, body, **{"Upload_Length": str(size), **headers})

    def add(self, url: str, offset: int, content: bytes, **headers: str) -> Any:
        return self.ask("PATCH", url, content, **{"Upload_Offset": str(offset), "Content_Type": PART, **headers})

    def offset(self, url: str) -> int:
        answer = self.ask("HEAD", url)
        assert answer.status_code == 200
        return int(answer["Upload-Offset"])

    def send(self, content: bytes, name: str = "clip.mp4") -> str:
        """The whole file; returns the upload's id."""
        url = self.begin(len(content), Upload_Metadata=f"filename {base64.b64encode(name.encode()).decode()}")[
            "Location"
        ]
        assert self.add(url, 0, content).status_code == 204
        return str(url.rstrip("/").rpartition("/")[2])

    def examine(self, upload_id: str, **headers: str) -> Any:
        sent = {"Authorization": self.headers["Authorization"], **headers}
        return self.client.post(
            "/api/v1/analyses/", {"upload_id": upload_id}, content_type="application/json", headers=sent
        )


@pytest.fixture
def tus(owner: User) -> Tus:
    return Tus(owner)


def files() -> list[str]:
    return sorted(path.name for path in resumable.folder().iterdir()) if resumable.folder().exists() else []


def error_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def checksum(content: bytes, algorithm: str = "sha1") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


def test_everybody_may_ask_what_the_server_can_do(settings: Any) -> None:
    settings.SENTINEL_MAX_UPLOAD_BYTES = 1234
    answer = Client().options(URL)
    assert answer.status_code == 204
    assert answer["Tus-Resumable"] == answer["Tus-Version"] == "1.0.0"
    assert answer["Tus-Extension"] == "creation,creation-with-upload,checksum,termination,expiration"
    assert answer["Tus-Max-Size"] == "1234"
    assert answer["Tus-Checksum-Algorithm"] == "sha1,sha256,md5"


def test_a_file_comes_in_parts(tus: Tus, settings: Any) -> None:
    begun = tus.begin(10, Upload_Metadata="filename Y2xpcC5tcDQ=,secret")
    assert (begun.status_code, begun.content) == (201, b"")
    assert begun["Upload-Offset"] == "0"
    assert begun["Upload-Expires"].endswith("GMT")
    url = begun["Location"]
    assert url.startswith(URL)
    first = tus.add(url, 0, b"01234")
    assert (first.status_code, first["Upload-Offset"], first["Tus-Resumable"]) == (204, "5", "1.0.0")
    state = tus.ask("HEAD", url)
    assert (state["Upload-Offset"], state["Upload-Length"], state["Cache-Control"]) == ("5", "10", "no-store")
    assert state["Upload-Metadata"] == "filename Y2xpcC5tcDQ=,secret"
    told = tus.ask("GET", url).json()
    assert (told["name"], told["size"], told["offset"], told["complete"]) == ("clip.mp4", 10, 5, False)
    assert tus.add(url, 5, b"56789")["Upload-Offset"] == "10"
    assert tus.ask("GET", url).json()["complete"] is True
    [path] = resumable.folder().iterdir()
    assert path.read_bytes() == b"0123456789"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [upload["id"] for upload in tus.ask("GET").json()] == [told["id"]]


def test_the_first_part_may_come_at_once(tus: Tus) -> None:
    begun = tus.begin(10, body=b"01234", Content_Type=PART)
    assert (begun.status_code, begun["Upload-Offset"]) == (201, "5")
    assert tus.offset(begun["Location"]) == 5


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"0123456789-", {}, 413, "upload_too_large"),
        (b"01234", {"Upload_Checksum": checksum(b"other")}, 460, "checksum_mismatch"),
        (b"01234", {"Content_Type": "text/plain"}, 415, "body_not_supported"),
        (b"01234", {"Upload_Checksum": "crc32 AAAA"}, 400, "invalid_field"),
    ],
)
def test_an_upload_whose_first_part_is_refused_is_not_begun(
    tus: Tus, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    assert error_of(tus.begin(10, body=body, **headers)) == (status, code)
    assert not ResumableUpload.objects.exists()
    assert files() == []


@pytest.mark.parametrize("length", ["", "-", "-1", "1.5", "ten", "１０", "9" * 30, "0x10"])
def test_a_length_that_is_no_whole_number_is_refused(tus: Tus, length: str) -> None:
    assert error_of(tus.ask("POST", Upload_Length=length)) == (400, "invalid_field")


@pytest.mark.parametrize("metadata", ["filename ???", " ,", "a b c", "filename " + "A" * 4096])
def test_metadata_that_cannot_be_read_are_refused(tus: Tus, metadata: str) -> None:
    assert error_of(tus.begin(10, Upload_Metadata=metadata)) == (400, "invalid_field")
    assert files() == []


def test_a_file_over_the_limit_is_refused_before_it_comes(tus: Tus, settings: Any) -> None:
    settings.SENTINEL_MAX_UPLOAD_BYTES = 10
    answer = tus.begin(11)
    assert error_of(answer) == (413, "upload_too_large")
    assert answer["Tus-Resumable"] == "1.0.0"
    assert tus.begin(10).status_code == 201


@pytest.mark.parametrize("version", ["-", "0.2.2", "1.0"])
def test_other_versions_of_the_protocol_are_refused(tus: Tus, version: str) -> None:
    url = tus.begin(5)["Location"]
    for answer in (
        tus.ask("POST", Upload_Length="5", Tus_Resumable=version),
        tus.add(url, 0, b"01234", Tus_Resumable=version),
        tus.ask("DELETE", url, Tus_Resumable=version),
    ):
        assert error_of(answer) == (412, "tus_version_not_supported")
        assert answer["Tus-Version"] == "1.0.0"
    assert tus.ask("HEAD", url, Tus_Resumable=version).status_code == 412
    assert tus.offset(url) == 0


def test_a_part_that_begins_elsewhere_is_refused(tus: Tus) -> None:
    url = tus.begin(10)["Location"]
    tus.add(url, 0, b"01234")
    for offset in (0, 4, 6, 10):
        assert error_of(tus.add(url, offset, b"x")) == (409, "upload_conflict")
    assert tus.offset(url) == 5


@pytest.mark.parametrize("offset", ["-", "", "-1", "five"])
def test_an_offset_that_is_no_whole_number_is_refused(tus: Tus, offset: str) -> None:
    url = tus.begin(10)["Location"]
    assert error_of(tus.add(url, 0, b"x", Upload_Offset=offset)) == (400, "invalid_field")


def test_a_part_of_another_type_is_refused(tus: Tus) -> None:
    url = tus.begin(10)["Location"]
    assert error_of(tus.add(url, 0, b"x", Content_Type="application/octet-stream")) == (415, "body_not_supported")


@pytest.mark.parametrize("headers", [{}, {"Upload_Checksum": checksum(b"56789-")}])
def test_of_a_part_longer_than_what_is_lacking_nothing_is_kept(tus: Tus, headers: dict[str, str]) -> None:
    url = tus.begin(10)["Location"]
    tus.add(url, 0, b"01234")
    assert error_of(tus.add(url, 5, b"56789-", **headers)) == (413, "upload_too_large")
    assert tus.offset(url) == 5


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_a_part_that_was_changed_on_the_way_is_refused_whole(tus: Tus, algorithm: str) -> None:
    url = tus.begin(10)["Location"]
    assert tus.add(url, 0, b"01234", Upload_Checksum=checksum(b"01234", algorithm)).status_code == 204
    changed = tus.add(url, 5, b"5678X", Upload_Checksum=checksum(b"56789", algorithm))
    assert error_of(changed) == (460, "checksum_mismatch")
    assert tus.offset(url) == 5
    assert [name.rpartition(".")[2] for name in files()] == ["part"]


@pytest.mark.parametrize("header", ["crc32 AAAA", "sha1", "sha1 !", "SHA1 AAAA", ""])
def test_a_checksum_that_cannot_be_read_is_refused(tus: Tus, header: str) -> None:
    url = tus.begin(10)["Location"]
    status = 460 if header == "sha1" else 400
    assert tus.add(url, 0, b"x", Upload_Checksum=header).status_code == status
    assert tus.offset(url) == 0


def test_what_came_before_a_part_broke_off_counts_unless_it_was_to_be_checked(owner: User) -> None:
    upload = resumable.begin_upload(owner=owner, size=10)

    def breaking() -> Any:
        pieces = iter([b"012", b"34"])

        def read(size: int) -> bytes:
            try:
                return next(pieces)
            except StopIteration:
                raise OSError("gone") from None

        return read

    digest = resumable.Checksum("sha1", hashlib.sha1(b"0123456789").digest())  # noqa: S324 -- the protocol's
    with pytest.raises(OSError, match="gone"):
        resumable.append(upload, offset=0, read=breaking(), checksum=digest)
    assert resumable.offset_of(upload) == 0
    with pytest.raises(OSError, match="gone"):
        resumable.append(upload, offset=0, read=breaking())
    assert resumable.offset_of(upload) == 5


def test_two_at_work_on_one_upload_exclude_each_other(tus: Tus) -> None:
    url = tus.begin(10)["Location"]
    [path] = resumable.folder().iterdir()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert error_of(tus.add(url, 0, b"x")) == (423, "upload_locked")
        assert error_of(tus.ask("DELETE", url)) == (423, "upload_locked")
        assert tus.offset(url) == 0
    assert tus.add(url, 0, b"x").status_code == 204


def test_an_upload_given_up_is_gone(tus: Tus) -> None:
    url = tus.begin(10)["Location"]
    assert tus.ask("DELETE", url).status_code == 204
    assert files() == []
    for answer in (tus.ask("HEAD", url), tus.ask("GET", url), tus.add(url, 0, b"x"), tus.ask("DELETE", url)):
        assert answer.status_code == 404
        assert "Upload-Offset" not in answer


def test_nobody_else_sees_or_touches_an_upload(tus: Tus, stranger: User) -> None:
    url = tus.begin(5)["Location"]
    other = Tus(stranger)
    for answer in (other.ask("HEAD", url), other.ask("GET", url), other.add(url, 0, b"x"), other.ask("DELETE", url)):
        assert answer.status_code == 404
    assert other.ask("GET").json() == []
    assert other.examine(url.split("/")[-2]).status_code == 404
    for method, where in (("POST", URL), ("HEAD", url), ("PATCH", url), ("DELETE", url), ("GET", URL)):
        assert tus.ask(method, where, Authorization="-").status_code == 401
    assert tus.offset(url) == 0


def test_the_session_may_upload_too_but_needs_its_csrf_token(as_owner: Client, owner: User) -> None:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
    begun = as_owner.generic("POST", URL, headers=headers)
    assert begun.status_code == 201
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    assert careful.generic("POST", URL, headers=headers).status_code == 403


def test_there_are_so_many_open_uploads_a_user_and_no_more(
    tus: Tus, owner: User, stranger: User, settings: Any
) -> None:
    settings.SENTINEL_MAX_UPLOADS = 2
    urls = [tus.begin(5)["Location"] for _ in range(2)]
    assert error_of(tus.begin(5)) == (409, "too_many_uploads")
    assert len(files()) == 2
    assert Tus(stranger).begin(5).status_code == 201
    tus.ask("DELETE", urls[0])
    assert tus.begin(5).status_code == 201
    ResumableUpload.objects.filter(owner=owner).update(expires_at=timezone.now())
    assert tus.begin(5).status_code == 201


def test_a_complete_upload_becomes_an_analysis(tus: Tus, owner: User, clip: Path) -> None:
    content = clip.read_bytes()
    upload_id = tus.send(content, "../holiday.mp4")
    answer = tus.examine(upload_id)
    assert answer.status_code == 201, answer.content
    media = Media.objects.get()
    assert answer.json()["media"]["id"] == media.public_id == upload_id
    assert Path(media.file.path).read_bytes() == content
    assert (media.original_name, media.size) == ("holiday.mp4", len(content))
    assert media.sha256 == hashlib.sha256(content).hexdigest()
    assert media.md5 == hashlib.md5(content).hexdigest()  # noqa: S324 -- the contract's checksum
    assert Submission.objects.get().source == "api"
    assert not ResumableUpload.objects.exists()
    assert files() == []
    assert limits.remaining(owner) == 9


def test_the_file_is_moved_and_not_copied(tus: Tus, clip: Path) -> None:
    upload_id = tus.send(clip.read_bytes())
    [path] = resumable.folder().iterdir()
    before = path.stat().st_ino
    tus.examine(upload_id)
    assert Path(Media.objects.get().file.path).stat().st_ino == before


def test_asking_again_is_the_same_analysis(tus: Tus, owner: User, clip: Path) -> None:
    upload_id = tus.send(clip.read_bytes())
    answers = [tus.examine(upload_id), tus.examine(upload_id), tus.examine(upload_id, **{"Idempotency-Key": "k"})]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json()["id"] for answer in answers}) == Analysis.objects.count() == 1
    assert limits.remaining(owner) == 9


def test_a_key_and_its_upload_are_tied(tus: Tus, clip: Path, photo: Path) -> None:
    key = {"Idempotency-Key": "phone-1"}
    first, other = tus.send(clip.read_bytes()), tus.send(photo.read_bytes())
    made = tus.examine(first, **key)
    assert tus.examine(first, **key).json()["id"] == made.json()["id"]
    assert error_of(tus.examine(other, **key)) == (422, "idempotency_key_reused")
    assert tus.examine(other, **{"Idempotency-Key": "phone-2"}).status_code == 201
    assert error_of(tus.examine(other, **key)) == (422, "idempotency_key_reused")


def test_the_same_file_uploaded_twice_under_one_key_is_one_analysis(tus: Tus, clip: Path) -> None:
    key = {"Idempotency-Key": "phone-1"}
    answers = [tus.examine(tus.send(clip.read_bytes()), **key) for _ in range(2)]
    assert len({answer.json()["id"] for answer in answers}) == Media.objects.count() == 1
    assert files() == []
    assert not ResumableUpload.objects.exists()


def test_an_unfinished_upload_cannot_be_examined(tus: Tus) -> None:
    url = tus.begin(10)["Location"]
    tus.add(url, 0, b"01234")
    assert error_of(tus.examine(url.split("/")[-2])) == (409, "upload_unfinished")
    assert tus.offset(url) == 5


def test_what_the_door_refuses_stays_until_it_expires(tus: Tus, owner: User) -> None:
    upload_id = tus.send(b"This is not a video. " * 100)
    assert error_of(tus.examine(upload_id)) == (422, "unreadable_media")
    assert files() == [f"{upload_id}.part"]
    assert not Media.objects.exists()
    assert limits.remaining(owner) == 10


def test_when_the_day_is_used_up_the_upload_waits_for_tomorrow(tus: Tus, owner: User, clip: Path) -> None:
    upload_id = tus.send(clip.read_bytes())
    owner.daily_limit = 0
    owner.save()
    assert error_of(tus.examine(upload_id)) == (429, "rate_limited")
    owner.daily_limit = 1
    owner.save()
    assert tus.examine(upload_id).status_code == 201


def test_a_database_failure_half_way_keeps_the_upload(tus: Tus, owner: User, clip: Path) -> None:
    upload_id = tus.send(clip.read_bytes())
    with patch.object(Analysis.objects, "create", side_effect=RuntimeError("disk full")):
        assert error_of(tus.examine(upload_id)) == (500, "internal_error")
    assert not Media.objects.exists()
    assert files() == [f"{upload_id}.part"]
    assert tus.examine(upload_id).status_code == 201
    assert Path(Media.objects.get().file.path).read_bytes() == clip.read_bytes()


def test_killed_between_accepting_and_tidying_nothing_is_examined_twice(tus: Tus, owner: User, clip: Path) -> None:
    upload_id = tus.send(clip.read_bytes())
    with patch.object(resumable, "_remove", side_effect=RuntimeError("killed")):
        assert tus.examine(upload_id).status_code == 500
    assert Analysis.objects.count() == 1
    answer = tus.examine(upload_id)
    assert (answer.status_code, answer.json()["id"]) == (201, Analysis.objects.get().public_id)
    assert files() == []
    assert limits.remaining(owner) == 9


def test_deleting_the_analysis_leaves_nothing_to_ask_for(tus: Tus, clip: Path) -> None:
    upload_id = tus.send(clip.read_bytes())
    tus.examine(upload_id)
    services.delete_media(Media.objects.get())
    assert tus.examine(upload_id).status_code == 404


def test_expired_uploads_and_files_of_none_are_swept_and_the_others_are_not(tus: Tus, settings: Any) -> None:
    settings.SENTINEL_UPLOAD_EXPIRY_HOURS = 1
    kept, expired, locked = (tus.begin(5)["Location"].split("/")[-2] for _ in range(3))
    soon = ResumableUpload.objects.get(public_id=kept).expires_at - timezone.now()
    assert timedelta(minutes=59) < soon <= timedelta(hours=1)
    ResumableUpload.objects.exclude(public_id=kept).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert tus.ask("HEAD", f"{URL}{expired}/").status_code == 404
    long_ago = time.time() - 2 * 3600
    young, old = resumable.folder() / f"{'a' * 24}.part", resumable.folder() / f"{'b' * 24}.staged"
    for path in (young, old):
        path.touch()
    for path in (old, resumable.folder() / f"{kept}.part"):
        os.utime(path, (long_ago, long_ago))
    with (resumable.folder() / f"{locked}.part").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert resumable.sweep_uploads() == 2
    assert files() == sorted([young.name, f"{kept}.part", f"{locked}.part"])
    housekeeping.sweep_expired()
    assert files() == sorted([young.name, f"{kept}.part"])
    housekeeping.sweep_abandoned_files()
    assert files() == sorted([young.name, f"{kept}.part"])


def test_an_upload_whose_file_is_lost_is_gone(tus: Tus) -> None:
    url = tus.begin(5)["Location"]
    for path in resumable.folder().iterdir():
        path.unlink()
    assert tus.ask("HEAD", url).status_code == 404
    assert tus.add(url, 0, b"x").status_code == 404
    assert tus.ask("GET").json() == []
    ResumableUpload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert resumable.sweep_uploads() == 1
    assert not ResumableUpload.objects.exists()


def test_scripts_of_other_sites_can_upload_where_that_is_allowed(tus: Tus, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    origin = {"Origin": "https://app.example.org"}
    asked = {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,content-type,tus-resumable,upload-offset,upload-checksum",
    }
    allowed = Client().options(URL, headers={**origin, **asked})
    assert allowed["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "PATCH" in allowed["Access-Control-Allow-Methods"]
    for name in asked["Access-Control-Request-Headers"].split(","):
        assert name in allowed["Access-Control-Allow-Headers"].split(", ")
    begun = tus.begin(5, Origin="https://app.example.org")
    exposed = begun["Access-Control-Expose-Headers"].split(", ")
    for name in ("location", "upload-offset", "upload-expires", "tus-resumable"):
        assert name in exposed
        assert name in begun


def test_another_method_in_a_header_changes_nothing(tus: Tus) -> None:
    url = tus.begin(5)["Location"]
    answer = tus.ask("POST", url, X_HTTP_Method_Override="DELETE")
    assert answer.status_code == 405
    assert tus.offset(url) == 0


def test_a_file_that_was_whole_long_before_it_is_submitted_is_not_swept_before_its_row(
    tus: Tus, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = tus.send(clip.read_bytes())
    long_ago = time.time() - 2 * 3600
    os.utime(resumable.folder() / f"{upload_id}.part", (long_ago, long_ago))
    store = services.store_file

    def store_and_sweep(*arguments: Any) -> str:
        name = store(*arguments)
        # Here its rows wait for the database, and another process looks at the storage.
        housekeeping.sweep_abandoned_files()
        return name

    monkeypatch.setattr(services, "store_file", store_and_sweep)
    assert tus.examine(upload_id).status_code == 201
    assert default_storage.size(str(Media.objects.get().file)) == clip.stat().st_size

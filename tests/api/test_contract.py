"""The eleven endpoints as phone apps in the field call them: raw HTTP to a running site, row by row."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.api.raw import ENCODINGS, Answer, File, Server
from tests.conftest import PASSWORD
from tests.media_factory import make_audio, make_face_image, make_face_video, make_video
from tests.site_process import SiteProcess, running_site, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow

SLASHES = ("", "/")
NOBODY = "0123456789abcdef01234567"
ID = re.compile(r"[0-9a-f]{24}")
MEGABYTE = 1024 * 1024
REMOVED = {"code": 200, "message": "deletion successful", "success": True}
WAYS = [(encoding, slash) for encoding in ENCODINGS for slash in SLASHES]
in_all_ways = pytest.mark.parametrize(("encoding", "slash"), WAYS)
with_and_without_slash = pytest.mark.parametrize("slash", SLASHES)


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    id: str
    token: str


@dataclass(frozen=True, slots=True)
class World:
    """A site whose worker has examined a video and an image of Asha's, and has gone home."""

    site: SiteProcess
    server: Server
    asha: Person
    binod: Person
    video: str
    image: str
    video_file: Path


def sign_up(server: Server, name: str) -> Person:
    email = f"{name}@example.org"
    signed_up = server.post("/users/signup", {"username": name, "email": email, "password": PASSWORD})
    assert signed_up.status == 200, signed_up
    logged_in = server.post("/users/login", {"username": name, "password": PASSWORD}).json()
    return Person(name, logged_in["userId"], logged_in["token"])


def history(server: Server, person: Person) -> Any:
    return server.post("/fetch-history", {"userId": person.id}, token=person.token).json()


def statuses(found: Any) -> list[str]:
    return [file["status"] for file in (*found["vdata"], *found["idata"])]


def send_video(server: Server, person: Person, path: Path, **fields: Any) -> Answer:
    sent = {"userId": person.id, "video": File(path.name, path.read_bytes()), **fields}
    return server.post("/classify", sent, encoding="multipart", token=person.token)


def send_image(server: Server, person: Person, path: Path) -> Answer:
    sent = {"userId": person.id, "image": File(path.name, path.read_bytes())}
    return server.post("/get-image/", sent, encoding="multipart", token=person.token)


@pytest.fixture(scope="module")
def world(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("contract")
    detectors = write_tiny_detector(folder / "detectors", bias=20.0).parent
    environment = {
        "SENTINEL_DETECTOR": NAME,
        "SENTINEL_DETECTORS_DIR": str(detectors),
        "SENTINEL_MAX_UPLOAD_BYTES": str(MEGABYTE),
        "SENTINEL_DAILY_LIMIT": "50",
    }
    with running_site(prepared, folder / "data", **environment) as site:
        server = Server(site.url)
        asha, binod = sign_up(server, "asha"), sign_up(server, "binod")
        clip = make_face_video(folder / "clip.mp4", seconds=2)
        site.start_worker()
        video = send_video(server, asha, clip, caseId="17/2026", officerName="Inspector R. Das").json()["videoId"]
        image = send_image(server, asha, make_face_image(folder / "portrait.jpg")).json()["imageId"]
        wait_until(
            lambda: statuses(history(server, asha)) == ["FAKE", "FAKE"],
            seconds=300,
            what=lambda: f"the worker: {history(server, asha)}\n{site.log('worker')}",
        )
        # From now on whatever is sent stays unfinished.
        worker = site.processes.pop("worker")
        worker.terminate()
        worker.wait(timeout=30)
        yield World(site, server, asha, binod, video, image, clip)


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("small") / "small.mp4", seconds=1)


@pytest.fixture(scope="module")
def small_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_image(tmp_path_factory.mktemp("small") / "small.jpg")


def assert_refused(answer: Answer, status: int, error: str, message: str = "", **more: Any) -> Any:
    body = answer.json()
    expected = {"code": status, "message": message or body["message"], "success": False, "error": error, **more}
    assert (answer.status, {**body, **expected}) == (status, body)
    assert set(body) <= {"code", "message", "success", "error", "errors"}
    return body


# What holds for all of them

PROTECTED = [
    ("POST", "/classify"),
    ("POST", "/fetch-history"),
    ("GET", "/pdf"),
    ("POST", "/remove"),
    ("POST", "/get-image/"),
    ("GET", "/get-image"),
    ("GET", "/get-image/image"),
    ("POST", "/remove/image"),
    ("GET", "/pdf-image"),
]
ALL = [*PROTECTED, ("POST", "/users/signup"), ("POST", "/users/login")]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x.y.z", "Token abc", "Bearer " + "a" * 5000])
@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_valid_token_nobody_gets_in(world: World, method: str, path: str, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = world.server.ask(method, path, headers=headers)
    assert_refused(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@with_and_without_slash
@pytest.mark.parametrize(("method", "path"), ALL)
def test_another_verb_is_refused_with_those_that_are_taken(world: World, method: str, path: str, slash: str) -> None:
    answer = world.server.ask("PATCH", path.rstrip("/") + slash, token=world.asha.token)
    assert_refused(answer, 405, "method_not_allowed")
    assert method in answer.headers["Allow"]


@pytest.mark.parametrize("path", [path for method, path in ALL if method == "POST"])
def test_another_kind_of_body_is_refused(world: World, path: str) -> None:
    headers = {"Content-Type": "application/xml"}
    answer = world.server.ask("POST", path, body=b"<a/>", headers=headers, token=world.asha.token)
    assert_refused(answer, 415, "body_not_supported")


@pytest.mark.parametrize("path", [path for method, path in ALL if method == "POST"])
@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"', b"\xff\xfe", b"null", b"1e999"])
def test_broken_json_is_refused(world: World, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = world.server.ask("POST", path, body=body, headers=headers, token=world.asha.token)
    assert answer.status == 400, answer
    assert answer.json()["success"] is False


@pytest.mark.parametrize("path", ["/fetch-history", "/get-image?imageId=x", "/users/login"])
def test_html_is_had_by_nobody(world: World, path: str) -> None:
    method = "GET" if "?" in path else "POST"
    answer = world.server.ask(method, path, headers={"Accept": "text/html"}, token=world.asha.token)
    assert_refused(answer, 406, "not_acceptable")


# 1. POST /users/signup


@in_all_ways
def test_sign_up(world: World, encoding: str, slash: str) -> None:
    name = f"new-{encoding}{'-slash' if slash else ''}"
    fields = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = world.server.post(f"/users/signup{slash}", fields, encoding=encoding)
    assert (answer.status, answer.json()) == (200, {"status": "Registration Successful!", "success": True})


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({}, {"username", "email", "password"}),
        ({"username": "somebody", "email": "no address", "password": PASSWORD}, {"email"}),
        ({"username": "some body", "email": "s@example.org", "password": PASSWORD}, {"username"}),
        ({"username": "somebody", "email": "s@example.org", "password": "short"}, {"password"}),
        ({"username": "", "email": "", "password": ""}, {"username", "email", "password"}),
    ],
)
def test_sign_up_names_each_field_that_is_wrong(
    world: World, encoding: str, wrong: dict[str, str], named: set[str]
) -> None:
    body = assert_refused(world.server.post("/users/signup", wrong, encoding=encoding), 400, "invalid_field")
    assert set(body["errors"]) == named
    assert all(isinstance(text, str) for texts in body["errors"].values() for text in texts)


@pytest.mark.parametrize("taken", [{"username": "ASHA"}, {"email": "Asha@Example.org"}])
def test_sign_up_with_what_another_has(world: World, taken: dict[str, str]) -> None:
    fields = {"username": "another", "email": "another@example.org", "password": PASSWORD, **taken}
    body = assert_refused(world.server.post("/users/signup", fields), 409, "already_exists")
    assert set(body["errors"]) == set(taken)


# 2. POST /users/login


@in_all_ways
@pytest.mark.parametrize("names", [{"username": "asha"}, {"email": "asha@example.org"}])
def test_log_in(world: World, encoding: str, slash: str, names: dict[str, str]) -> None:
    answer = world.server.post(f"/users/login{slash}", {**names, "password": PASSWORD}, encoding=encoding)
    body = answer.json()
    assert answer.status == 200
    assert {key: body[key] for key in ("status", "success", "userId")} == {
        "status": "Login Successful!",
        "success": True,
        "userId": world.asha.id,
    }
    assert set(body) == {"status", "success", "token", "refresh", "userId", "user"}
    assert body["user"]["id"] == world.asha.id
    assert body["user"]["username"] == "asha"
    assert body["token"].count(".") == body["refresh"].count(".") == 2
    assert world.server.post("/fetch-history", {}, token=body["token"]).status == 200


def test_log_in_answers_the_same_whether_or_not_there_is_such_a_user(world: World) -> None:
    wrong = world.server.post("/users/login", {"username": "binod", "password": "not the one"})
    unknown = world.server.post("/users/login", {"username": "nobody-at-all", "password": "not the one"})
    assert_refused(wrong, 401, "not_authenticated")
    assert (wrong.status, wrong.body) == (unknown.status, unknown.body)
    assert set(wrong.headers) == set(unknown.headers)


def test_log_in_is_locked_after_repeated_failures(world: World) -> None:
    sign_up(world.server, "guessed")
    tries = [world.server.post("/users/login", {"username": "guessed", "password": f"guess {n}"}) for n in range(6)]
    assert [answer.status for answer in tries][:4] == [401] * 4
    assert_refused(tries[-1], 429, "rate_limited")
    assert int(tries[-1].headers["Retry-After"]) > 0
    right = world.server.post("/users/login", {"username": "guessed", "password": PASSWORD})
    assert_refused(right, 429, "rate_limited")


# 3. POST /classify


@with_and_without_slash
def test_classify(world: World, slash: str, small_clip: Path) -> None:
    before = history(world.server, world.binod)["data"]["remaining"]
    fields = {"userId": world.binod.id, "video": File("my clip.mp4", small_clip.read_bytes())}
    answer = world.server.post(f"/classify{slash}", fields, encoding="multipart", token=world.binod.token)
    body = answer.json()
    assert answer.status == 200
    assert ID.fullmatch(body["videoId"])
    assert ID.fullmatch(body["analysisId"])
    assert body == {
        "code": 200,
        "message": "Video is being processed ",
        "videoId": body["videoId"],
        "analysisId": body["analysisId"],
        "remaining": before - 1,
    }


def test_classify_needs_no_user_id(world: World, small_clip: Path) -> None:
    fields = {"video": File("clip.mp4", small_clip.read_bytes())}
    assert world.server.post("/classify", fields, encoding="multipart", token=world.binod.token).status == 200


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_classify_without_a_file(world: World, encoding: str) -> None:
    answer = world.server.post("/classify", {"userId": world.asha.id}, encoding=encoding, token=world.asha.token)
    assert_refused(answer, 400, "file_missing")


@pytest.fixture(scope="module")
def linker(world: World) -> Person:
    """Somebody who only sends links."""
    return sign_up(world.server, "chitra")


@pytest.mark.parametrize("field", ["youtubeLink", "url"])
@in_all_ways
def test_classify_a_link(world: World, linker: Person, encoding: str, slash: str, field: str) -> None:
    fields = {"userId": linker.id, field: "https://videos.example.org/watch?v=1"}
    answer = world.server.post(f"/classify{slash}", fields, encoding=encoding, token=linker.token)
    said = answer.json()
    assert (answer.status, said["code"], said["message"]) == (200, 200, "Video is being processed ")
    # However often it is sent: one file, one classification.
    (found,) = history(world.server, linker)["vdata"]
    assert (found["_id"], found["status"], said["remaining"]) == (said["videoId"], "PROCESSING", 49)


@pytest.mark.parametrize("link", ["http://127.0.0.1:22/", "http://169.254.169.254/latest/", "file:///etc/passwd", "x"])
@in_all_ways
def test_classify_a_link_into_the_network(world: World, encoding: str, slash: str, link: str) -> None:
    fields = {"userId": world.asha.id, "youtubeLink": link}
    answer = world.server.post(f"/classify{slash}", fields, encoding=encoding, token=world.asha.token)
    assert_refused(answer, 422, "link_not_supported")


def test_classify_a_file_over_the_limit(world: World, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\0" * (MEGABYTE + 1))
    assert_refused(send_video(world.server, world.asha, large), 412, "file_too_large")


def test_classify_a_file_that_is_announced_far_over_the_limit(world: World) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(500 * MEGABYTE)}
    answer = world.server.ask("POST", "/classify", body=b"--x\r\n", headers=headers, token=world.asha.token)
    assert_refused(answer, 412, "file_too_large")


def test_classify_what_is_too_long_too_fast_or_no_video(world: World, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_bytes(b"These are notes and no video. " * 50)
    size = (64, 48)
    refusals = [
        (make_video(tmp_path / "long.mp4", seconds=62, fps=5, size=size), 413, "video_too_long"),
        (make_video(tmp_path / "fast.mp4", seconds=1, fps=60, size=size), 413, "fps_too_high"),
        (make_audio(tmp_path / "sound.mp4"), 422, "no_video_stream"),
        (text, 422, "unreadable_media"),
        (make_face_image(tmp_path / "photo.jpg"), 422, "no_video_stream"),
    ]
    before = history(world.server, world.asha)["data"]["remaining"]
    for path, status, error in refusals:
        assert_refused(send_video(world.server, world.asha, path), status, error)
    # A refusal costs nothing.
    assert history(world.server, world.asha)["data"]["remaining"] == before


def limit_to(world: World, person: Person, daily: int) -> None:
    """What an administrator can do for single users."""
    with sqlite3.connect(world.site.data / "sentinel.sqlite3", timeout=20) as database:
        database.execute("UPDATE accounts_user SET daily_limit = ? WHERE public_id = ?", (daily, person.id))


def test_the_daily_limit_is_one_for_videos_and_images(world: World, small_clip: Path, small_photo: Path) -> None:
    busy = sign_up(world.server, "busy")
    limit_to(world, busy, 2)
    assert send_video(world.server, busy, small_clip).json()["remaining"] == 1
    assert send_image(world.server, busy, small_photo).json()["remaining"] == 0
    for answer in (send_video(world.server, busy, small_clip), send_image(world.server, busy, small_photo)):
        assert_refused(answer, 429, "rate_limited")
        assert 0 < int(answer.headers["Retry-After"]) <= 24 * 3600


def test_classify_takes_the_police_case(world: World, small_clip: Path) -> None:
    case = {
        "caseId": "17/2026",
        "officerName": "Inspector R. Das",
        "officerId": "4711",
        "station": "Lalbazar",
        "district": "Kolkata",
        "city": "Kolkata",
        "state": "West Bengal",
        "firId": "FIR 88",
        "firDate": "2026-11-20",
        "firDesc": "A clip was sent round.",
        "personMentioned": "N. N.",
        "cmpltName": "B. Sen",
        "cmpltNumber": "+91 33 2214 3230",
        "cmpltEmail": "sen@example.org",
        "cmpltAddr": "1 Park Street",
        "gender": "female",
    }
    assert send_video(world.server, world.binod, small_clip, **case).status == 200
    with sqlite3.connect(world.site.data / "sentinel.sqlite3", timeout=20) as database:
        kept = database.execute("SELECT complainant_name FROM media_analysis_casedetails WHERE fir_id = 'FIR 88'")
        assert kept.fetchall() == [("B. Sen",)]
    wrong = send_video(world.server, world.binod, small_clip, cmpltEmail="no address", firDate="yesterday")
    assert set(assert_refused(wrong, 400, "invalid_field")["errors"]) == {"cmpltEmail", "firDate"}


# 4. POST /fetch-history


@in_all_ways
@pytest.mark.parametrize("says_who", [True, False])
def test_history(world: World, encoding: str, slash: str, says_who: bool) -> None:
    fields = {"userId": world.asha.id} if says_who else {}
    answer = world.server.post(f"/fetch-history{slash}", fields, encoding=encoding, token=world.asha.token)
    body = answer.json()
    assert answer.status == 200
    content = world.video_file.read_bytes()
    (video,) = body["vdata"]
    (image,) = body["idata"]
    assert body == {
        "code": 200,
        "message": "User found",
        "data": {
            "id": world.asha.id,
            "vid": [{"feedback": "", "tweetId": "", "_id": world.video}],
            "img": [{"feedback": "", "tweetId": "", "_id": world.image}],
            "remaining": 48,
        },
        "vdata": [video],
        "idata": [image],
    }
    assert list(video) == [
        *("_id", "fileName", "status", "confidence", "realToFakeRatio", "timestamps", "fileChecksum", "sha256"),
        *("duration", "bitrate", "fps", "fileSize", "timeToProcess", "createdAt"),
    ]
    assert video["_id"] == world.video
    assert video["fileName"] == f"video-{world.video}.mp4"
    assert video["status"] == "FAKE"
    assert 90 < video["confidence"] < 100
    assert video["realToFakeRatio"] == 0.0
    assert all(0 <= start <= end <= 2.1 for start, end in video["timestamps"])
    assert video["timestamps"] != []
    assert video["fileChecksum"] == hashlib.md5(content).hexdigest()  # noqa: S324 -- the contract's
    assert video["sha256"] == hashlib.sha256(content).hexdigest()
    assert (video["bitrate"], video["fps"], video["fileSize"]) == (50, 25.0, len(content))
    assert video["timeToProcess"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", video["createdAt"])
    assert image["fileName"] == f"image-{world.image}.jpg"
    assert image["status"] == "FAKE"


def test_history_shows_what_is_not_finished(world: World, small_clip: Path) -> None:
    waiting = sign_up(world.server, "waiting")
    first = send_video(world.server, waiting, small_clip).json()["videoId"]
    second = send_video(world.server, waiting, small_clip).json()["videoId"]
    found = history(world.server, waiting)["vdata"]
    assert [video["_id"] for video in found] == [first, second]
    assert {video["status"] for video in found} == {"PROCESSING"}
    assert {video["confidence"] for video in found} == {None}


# userId: whose, in each of those that take it

NAMING = [
    ("POST", "/classify", {}),
    ("POST", "/fetch-history", {}),
    ("GET", "/pdf", {"videoId": NOBODY}),
    ("POST", "/remove", {"videoId": NOBODY}),
    ("POST", "/get-image/", {}),
    ("GET", "/get-image", {"imageId": NOBODY}),
    ("POST", "/remove/image", {"imageId": NOBODY, "imageFile": f"image-{NOBODY}.jpg"}),
    ("GET", "/pdf-image", {"imageId": NOBODY}),
]


@pytest.mark.parametrize(("method", "path", "more"), NAMING)
def test_another_user_named_is_403_and_an_unknown_one_404(
    world: World, method: str, path: str, more: dict[str, str]
) -> None:
    def naming(user: str) -> Answer:
        fields = {"userId": user, **more}
        if method == "GET":
            return world.server.get(path, fields, token=world.asha.token)
        return world.server.post(path, fields, token=world.asha.token)

    assert_refused(naming(world.binod.id), 403, "forbidden")
    assert_refused(naming(NOBODY), 404, "user_not_found", "User not found")


# 5. GET /pdf and 11. GET /pdf-image


def report(world: World, path: str, field: str, file: str, person: Person, **options: Any) -> Answer:
    return world.server.get(path, {"userId": person.id, field: file}, token=person.token, **options)


@with_and_without_slash
@pytest.mark.parametrize("kind", ["video", "image"])
def test_report(world: World, slash: str, kind: str) -> None:
    path = {"video": "/pdf", "image": "/pdf-image"}[kind] + slash
    file = {"video": world.video, "image": world.image}[kind]
    answer = report(world, path, f"{kind}Id", file, world.asha)
    body = answer.json()
    assert (answer.status, body) == (200, {"report": f"{file}.pdf", "url": body["url"]})
    assert body["url"].startswith(world.site.url)
    linked = world.server.get(
        body["url"].removeprefix(world.site.url), token=world.asha.token, headers={"Accept": "application/pdf"}
    )
    itself = report(world, path, f"{kind}Id", file, world.asha, headers={"Accept": "application/pdf"})
    for found in (linked, itself):
        assert found.status == 200
        assert found.headers.get_content_type() == "application/pdf"
        assert found.body.startswith(b"%PDF-")


def test_report_in_a_language_that_is_not_there(world: World) -> None:
    answer = world.server.get("/pdf", {"videoId": world.video, "lang": "xx"}, token=world.asha.token)
    assert_refused(answer, 400, "invalid_field")


def test_report_of_a_video_that_is_not_there_or_not_ones_own(world: World) -> None:
    missing = report(world, "/pdf", "videoId", NOBODY, world.asha)
    assert_refused(missing, 404, "video_not_found", "Video not found")
    foreign = report(world, "/pdf", "videoId", world.video, world.binod)
    assert_refused(foreign, 403, "forbidden", "Video doesn't belong to the user")


def test_report_of_an_image_that_is_not_there_or_not_ones_own(world: World) -> None:
    assert_refused(
        report(world, "/pdf-image", "imageId", NOBODY, world.asha), 404, "image_not_found", "Image not found"
    )
    assert_refused(report(world, "/pdf-image", "imageId", world.image, world.binod), 403, "forbidden")


def test_report_of_what_is_not_finished(world: World, small_clip: Path, small_photo: Path) -> None:
    video = send_video(world.server, world.binod, small_clip).json()["videoId"]
    image = send_image(world.server, world.binod, small_photo).json()["imageId"]
    assert_refused(report(world, "/pdf", "videoId", video, world.binod), 409, "not_finished")
    assert_refused(report(world, "/pdf-image", "imageId", image, world.binod), 409, "not_finished")


# 6. POST /remove


@in_all_ways
def test_remove(world: World, encoding: str, slash: str, small_clip: Path) -> None:
    video = send_video(world.server, world.binod, small_clip).json()["videoId"]
    fields = {"userId": world.binod.id, "videoId": video}
    answer = world.server.post(f"/remove{slash}", fields, encoding=encoding, token=world.binod.token)
    assert (answer.status, answer.json()) == (200, REMOVED)
    again = world.server.post(f"/remove{slash}", fields, encoding=encoding, token=world.binod.token)
    assert_refused(again, 404, "video_not_found", "Video not found")
    assert video not in [found["_id"] for found in history(world.server, world.binod)["vdata"]]
    assert not (world.site.data / "media" / "media" / video).exists()


def test_remove_what_is_anothers(world: World) -> None:
    answer = world.server.post("/remove", {"videoId": world.video}, token=world.binod.token)
    assert_refused(answer, 403, "forbidden")
    # An image is no video.
    image = world.server.post("/remove", {"videoId": world.image}, token=world.asha.token)
    assert_refused(image, 404, "video_not_found")


def test_remove_without_saying_what(world: World) -> None:
    body = assert_refused(world.server.post("/remove", {}, token=world.asha.token), 400, "invalid_field")
    assert set(body["errors"]) == {"videoId"}


# 7. POST /get-image/


@with_and_without_slash
def test_send_an_image(world: World, slash: str, small_photo: Path) -> None:
    before = history(world.server, world.binod)["data"]["remaining"]
    fields = {"userId": world.binod.id, "image": File("portrait.jpg", small_photo.read_bytes())}
    answer = world.server.post(f"/get-image{slash}", fields, encoding="multipart", token=world.binod.token)
    body = answer.json()
    assert answer.status == 200
    assert ID.fullmatch(body["imageId"])
    assert ID.fullmatch(body["analysisId"])
    assert body == {
        "code": 200,
        "message": "Image is being processed",
        "imageId": body["imageId"],
        "analysisId": body["analysisId"],
        "remaining": before - 1,
    }


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_send_no_image(world: World, encoding: str) -> None:
    answer = world.server.post("/get-image/", {"userId": world.asha.id}, encoding=encoding, token=world.asha.token)
    assert_refused(answer, 400, "file_missing")


def test_send_what_is_too_large_or_no_image(world: World, tmp_path: Path, small_clip: Path) -> None:
    large, text = tmp_path / "large.jpg", tmp_path / "notes.jpg"
    large.write_bytes(b"\0" * (MEGABYTE + 1))
    text.write_bytes(b"These are notes and no photo. " * 50)
    assert_refused(send_image(world.server, world.asha, large), 412, "file_too_large")
    assert_refused(send_image(world.server, world.asha, text), 422, "unreadable_media")
    assert_refused(send_image(world.server, world.asha, small_clip), 422, "unsupported_type")


# 8. GET /get-image and 9. GET /get-image/image


@with_and_without_slash
def test_the_labelled_picture(world: World, slash: str) -> None:
    query = {"userId": world.asha.id, "imageId": world.image}
    answer = world.server.get(f"/get-image{slash}", query, token=world.asha.token)
    body = answer.json()
    assert (answer.status, body) == (200, {"code": 200, "imageFile": body["imageFile"]})
    assert re.fullmatch(r"image-[0-9a-f]+\.jpg", body["imageFile"])
    picture = world.server.get(f"/get-image/image{slash}", {"imageFile": body["imageFile"]}, token=world.asha.token)
    assert picture.status == 200
    assert picture.headers.get_content_type() == "image/jpeg"
    with Image.open(BytesIO(picture.body)) as opened:
        assert (opened.format, opened.size) == ("JPEG", (512, 512))


def test_the_labelled_picture_of_anothers_image_or_of_none(world: World) -> None:
    def ask(image: str) -> Answer:
        return world.server.get("/get-image", {"imageId": image}, token=world.binod.token)

    assert_refused(ask(world.image), 403, "forbidden")
    assert_refused(ask(NOBODY), 404, "image_not_found", "Image not found")
    assert_refused(ask("../../etc/passwd"), 404, "image_not_found")
    assert set(assert_refused(ask(""), 400, "invalid_field")["errors"]) == {"imageId"}


def test_the_labelled_picture_of_an_image_that_is_not_finished(world: World, small_photo: Path) -> None:
    image = send_image(world.server, world.binod, small_photo).json()["imageId"]
    answer = world.server.get("/get-image", {"imageId": image}, token=world.binod.token)
    assert_refused(answer, 409, "not_finished")


def test_the_file_of_a_labelled_picture_is_its_owners(world: World) -> None:
    def ask(query: dict[str, str], person: Person) -> Answer:
        return world.server.get("/get-image/image", query, token=person.token)

    name = f"image-{world.image}.jpg"
    assert_refused(ask({"imageFile": name}, world.binod), 403, "forbidden")
    assert_refused(ask({"imageFile": f"image-{NOBODY}.jpg"}, world.asha), 404, "image_not_found")
    assert_refused(ask({"imageFile": "../../sentinel.sqlite3"}, world.asha), 404, "image_not_found")
    assert set(assert_refused(ask({}, world.asha), 400, "invalid_field")["errors"]) == {"imageFile"}


# 10. POST /remove/image


@in_all_ways
def test_remove_an_image(world: World, encoding: str, slash: str, small_photo: Path) -> None:
    image = send_image(world.server, world.binod, small_photo).json()["imageId"]
    fields = {"userId": world.binod.id, "imageId": image, "imageFile": f"image-{image}.jpg"}
    answer = world.server.post(f"/remove/image{slash}", fields, encoding=encoding, token=world.binod.token)
    assert (answer.status, answer.json()) == (200, REMOVED)
    again = world.server.post(f"/remove/image{slash}", fields, encoding=encoding, token=world.binod.token)
    assert_refused(again, 404, "image_not_found", "Image not found")


def test_remove_an_image_that_is_anothers_or_called_otherwise(world: World) -> None:
    fields = {"imageId": world.image, "imageFile": f"image-{world.image}.jpg"}
    assert_refused(world.server.post("/remove/image", fields, token=world.binod.token), 403, "forbidden")
    wrong = {**fields, "imageFile": f"image-{NOBODY}.jpg"}
    assert_refused(world.server.post("/remove/image", wrong, token=world.asha.token), 404, "image_not_found")
    missing = world.server.post("/remove/image", {}, token=world.asha.token)
    assert set(assert_refused(missing, 400, "invalid_field")["errors"]) == {"imageId", "imageFile"}

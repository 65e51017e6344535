"""The phone apps' endpoints about files: every answer and refusal as published, byte for byte where it is shown."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from PIL import Image

from accounts import limits, tokens
from accounts.errors import Code
from accounts.models import User
from media_analysis import links, mobile_selectors, services, tasks
from media_analysis.models import Analysis, CaseDetails, DeletionReceipt, Feedback, Media, Submission
from tests.media_analysis.factories import a_result, make_analysis, make_done, make_feedback, make_media
from tests.media_analysis.test_submit import REFUSED, assert_nothing_is_left, files_below
from tests.media_factory import make_face_image, make_image, make_video

pytestmark = pytest.mark.django_db(transaction=True)

NO_SUCH = "0" * 24


@pytest.fixture
def app(owner: User) -> Client:
    """The owner's phone."""
    return Client(headers={"authorization": f"Bearer {tokens.log_in(owner).access}"})


@pytest.fixture
def other_app(stranger: User) -> Client:
    """The stranger's phone."""
    return Client(headers={"authorization": f"Bearer {tokens.log_in(stranger).access}"})


def send(app: Client, url: str, path: Path, **fields: Any) -> Any:
    field = "video" if url.startswith("/classify") else "image"
    with path.open("rb") as file:
        return app.post(url, {field: file, **fields})


def refused(answer: Any) -> tuple[int, str]:
    """Status and machine name, after looking at the shape."""
    body = answer.json()
    assert answer["Content-Type"] == "application/json"
    assert set(body) - {"errors"} == {"code", "message", "success", "error"}
    assert body["code"] == answer.status_code
    assert body["success"] is False
    return answer.status_code, body["error"]


ENCODINGS = [(kind, slash) for kind in ("json", "form", "multipart") for slash in ("", "/")]


def post(app: Client, url: str, fields: dict[str, Any], encoding: tuple[str, str] = ("json", "")) -> Any:
    """The fields in one of the three encodings, with or without a slash at the end of the path."""
    kind, slash = encoding
    if kind == "json":
        return app.post(url + slash, json.dumps(fields), content_type="application/json")
    if kind == "form":
        return app.post(url + slash, urlencode(fields), content_type="application/x-www-form-urlencoded")
    return app.post(url + slash, fields)


# Rows 3 and 7: sending a video or an image.


@pytest.mark.parametrize("url", ["/classify", "/classify/"])
def test_classify_answers_as_published(app: Client, owner: User, clip: Path, url: str) -> None:
    answer = send(app, url, clip, userId=owner.public_id)
    media, analysis = Media.objects.get(), Analysis.objects.get()
    assert answer.status_code == 200
    assert answer.content.decode() == (
        '{"code":200,"message":"Video is being processed ",'
        f'"videoId":"{media.public_id}","analysisId":"{analysis.public_id}","remaining":9}}'
    )
    assert Submission.objects.get().source == Submission.Source.API
    assert limits.remaining(owner) == 9


@pytest.mark.parametrize("url", ["/get-image/", "/get-image"])
def test_an_image_is_answered_as_published(app: Client, owner: User, photo: Path, url: str) -> None:
    answer = send(app, url, photo)
    media, analysis = Media.objects.get(), Analysis.objects.get()
    assert answer.content.decode() == (
        '{"code":200,"message":"Image is being processed",'
        f'"imageId":"{media.public_id}","analysisId":"{analysis.public_id}","remaining":9}}'
    )
    assert Submission.objects.get().source == Submission.Source.API


@pytest.mark.parametrize(("name", "make", "status", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_classify_refuses_what_cannot_be_examined_and_it_costs_nothing(  # noqa: PLR0917
    app: Client, owner: User, settings: Any, tmp_path: Path, name: str, make: Any, status: int, code: str
) -> None:
    assert refused(send(app, "/classify", make(tmp_path / name))) == (status, code)
    assert_nothing_is_left(settings, owner)


def test_a_photo_is_no_video_and_a_video_no_image(  # noqa: PLR0917
    app: Client, owner: User, settings: Any, clip: Path, photo: Path, tmp_path: Path
) -> None:
    answer = send(app, "/classify", photo)
    assert refused(answer) == (422, "no_video_stream")
    assert answer.json()["message"] == "This file is a photo, not a video."
    answer = send(app, "/get-image/", clip)
    assert refused(answer) == (422, "unsupported_type")
    assert answer.json()["message"] == "This file is a video, not a photo."
    # Limits of videos are not what is wrong with it.
    assert refused(send(app, "/get-image/", make_video(tmp_path / "fast.mp4", fps=60, seconds=1))) == (
        422,
        "unsupported_type",
    )
    assert_nothing_is_left(settings, owner)


def test_without_a_file_it_says_so(app: Client, owner: User, settings: Any, clip: Path) -> None:
    for url in ("/classify", "/get-image"):
        for encoding in ENCODINGS:
            answer = post(app, url, {"userId": owner.public_id}, encoding)
            assert refused(answer) == (400, "file_missing")
        # Under another name, or not a file at all.
        assert refused(app.post(url, {"file": SimpleUploadedFile("a.mp4", b"x")})) == (400, "file_missing")
        assert refused(app.post(url, {"video": "text", "image": "text"})) == (400, "file_missing")
    assert_nothing_is_left(settings, owner)


def test_too_large_is_412(app: Client, owner: User, settings: Any, clip: Path, photo: Path) -> None:
    settings.SENTINEL_MAX_UPLOAD_BYTES = 10
    assert refused(send(app, "/classify", clip)) == (412, "file_too_large")
    assert refused(send(app, "/get-image", photo)) == (412, "file_too_large")
    assert_nothing_is_left(settings, owner)


def test_the_daily_limit_is_429_with_the_time_to_come_back(app: Client, owner: User, clip: Path, photo: Path) -> None:
    owner.daily_limit = 1
    owner.save()
    assert send(app, "/classify", clip).json()["remaining"] == 0
    for answer in (send(app, "/classify", clip), send(app, "/get-image/", photo)):
        assert refused(answer) == (429, "rate_limited")
        assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("name", ["youtubeLink", "url"])
def test_a_link_is_accepted_and_asked_for_again_costs_nothing(app: Client, owner: User, name: str) -> None:
    for encoding in ENCODINGS:
        answer = post(app, "/classify", {name: "https://videos.example/watch?v=1"}, encoding)
        media, analysis = Media.objects.get(), Analysis.objects.get()
        assert answer.content.decode() == (
            '{"code":200,"message":"Video is being processed ",'
            f'"videoId":"{media.public_id}","analysisId":"{analysis.public_id}","remaining":9}}'
        )
    (row,) = app.post("/fetch-history").json()["vdata"]
    assert (row["_id"], row["status"], row["fileName"]) == (media.public_id, "PROCESSING", f"video-{media.public_id}")
    assert post(app, "/remove", {"videoId": media.public_id}).status_code == 200
    assert not Analysis.objects.exists()


@pytest.mark.parametrize("link", ["http://127.0.0.1/clip.mp4", "file:///etc/passwd", "no link"])
def test_a_link_that_is_none_is_refused_and_costs_nothing(app: Client, owner: User, settings: Any, link: str) -> None:
    for encoding in ENCODINGS:
        assert refused(post(app, "/classify", {"youtubeLink": link}, encoding)) == (422, "link_not_supported")
    assert_nothing_is_left(settings, owner)


def test_a_link_that_gave_no_video_is_told_in_the_history(app: Client, owner: User) -> None:
    post(app, "/classify", {"url": "https://videos.example/watch?v=1"})
    claimed = links.claim_waiting()
    assert claimed is not None
    links.fail_fetch(claimed, Code.LINK_UNREACHABLE, "not_found")
    (row,) = app.post("/fetch-history").json()["vdata"]
    assert (row["status"], row["reason"], row["confidence"]) == ("FAILED", "link_unreachable", None)
    assert limits.remaining(owner) == 10


def test_a_file_goes_before_a_link(app: Client, clip: Path) -> None:
    assert send(app, "/classify", clip, youtubeLink="https://videos.example/1").status_code == 200


def test_a_request_repeated_under_its_key_is_answered_the_same(
    app: Client, owner: User, clip: Path, photo: Path
) -> None:
    key = {"Idempotency-Key": "6f9d"}
    with clip.open("rb") as file:
        first = app.post("/classify", {"video": file}, headers=key).json()
        file.seek(0)
        assert app.post("/classify", {"video": file}, headers=key).json() == first
        file.seek(0)
        # The same bytes at the address for images are still a video.
        assert refused(app.post("/get-image/", {"image": file}, headers=key)) == (422, "unsupported_type")
    with photo.open("rb") as file:
        assert refused(app.post("/get-image/", {"image": file}, headers=key)) == (422, "idempotency_key_reused")
        file.seek(0)
        answer = app.post("/get-image/", {"image": file}, headers={"Idempotency-Key": "a b"})
    assert refused(answer) == (400, "invalid_field")
    assert list(answer.json()["errors"]) == ["Idempotency-Key"]
    assert (Analysis.objects.count(), limits.remaining(owner)) == (1, 9)


# The police case.

CASE = {
    "caseId": " 17/2026 ",
    "officerName": "अशोक कुमार",
    "officerId": "IPS-1",
    "station": "Sadar\u202e Bazar\x00",
    "district": "Agra",
    "city": "Agra",
    "state": "Uttar Pradesh",
    "firId": "FIR 9",
    "firDate": "22/11/2026",
    "firDesc": "First line\r\nsecond\x07 line",
    "personMentioned": "N. N.",
    "cmpltName": "A. Sharma",
    "cmpltNumber": "+91 (0562) 222-33-44",
    "cmpltEmail": "a.sharma@example.in",
    "cmpltAddr": "12, Mall Road\nAgra",
    "gender": "F",
}


def test_the_case_is_kept_cleaned_and_an_identity_card_number_is_not(app: Client, clip: Path) -> None:
    answer = send(app, "/classify", clip, **CASE, aadhaar="1234 5678 9012", idCard="ABCDE1234F")
    assert answer.status_code == 200
    case = CaseDetails.objects.get()
    assert case.submission == Submission.objects.get()
    kept = {field.name: getattr(case, field.name) for field in case._meta.fields}
    assert kept["case_id"] == "17/2026"
    assert kept["officer_name"] == CASE["officerName"]
    assert kept["station"] == "Sadar Bazar"
    assert kept["fir_date"] == date(2026, 11, 22)
    assert kept["fir_description"] == "First line\nsecond line"
    assert kept["complainant_phone"] == CASE["cmpltNumber"]
    assert kept["complainant_email"] == "a.sharma@example.in"
    assert kept["gender"] == "female"
    assert not any("9012" in str(value) or "ABCDE" in str(value) for value in kept.values())


def test_a_case_without_anything_filled_is_none(app: Client, clip: Path) -> None:
    assert send(app, "/classify", clip, **dict.fromkeys(CASE, " ")).status_code == 200
    assert not CaseDetails.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cmpltEmail", "not an address"),
        ("cmpltEmail", "a" * 250 + "@example.in"),
        ("cmpltNumber", "call me"),
        ("cmpltNumber", "123"),
        ("cmpltNumber", "1" * 31),
        ("firDate", "31/02/2026"),
        ("firDate", "11/22/26"),
        ("firDate", "yesterday"),
        ("gender", "x"),
        ("caseId", "1" * 101),
        ("firDesc", "d" * 5001),
        ("cmpltAddr", "a" * 1_000_000),
    ],
)
def test_a_wrong_case_field_is_named_before_anything_is_stored_or_spent(  # noqa: PLR0917
    app: Client, owner: User, settings: Any, clip: Path, name: str, value: str
) -> None:
    answer = send(app, "/classify", clip, **{name: value})
    assert refused(answer) == (400, "invalid_field")
    assert list(answer.json()["errors"]) == [name]
    assert answer.json()["errors"][name][0]
    assert_nothing_is_left(settings, owner)


@pytest.mark.parametrize("value", [True, ["x"], {"a": 1}, "\ud800"])
def test_case_fields_of_another_type_are_wrong_fields(app: Client, value: Any) -> None:
    answer = app.post("/classify", json.dumps({"city": value}), content_type="application/json")
    assert refused(answer) == (400, "invalid_field")
    assert list(answer.json()["errors"]) == ["city"]


# Row 4: the history.


def history(app: Client, **fields: Any) -> Any:
    answer = app.post("/fetch-history", json.dumps(fields), content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_an_empty_history(app: Client, owner: User) -> None:
    expected = (
        '{"code":200,"message":"User found",'
        f'"data":{{"id":"{owner.public_id}","vid":[],"img":[],"remaining":10}},"vdata":[],"idata":[]}}'
    )
    for encoding in ENCODINGS:
        assert post(app, "/fetch-history", {"userId": owner.public_id}, encoding).content.decode() == expected
    assert app.post("/fetch-history").content.decode() == expected


def test_the_history_is_as_published(app: Client, owner: User) -> None:
    media = make_media(
        owner,
        public_id="5f12f98cf85c333030ea30cb",
        md5="f76f8c4d2eceb6d8079e5cb18ae81839",
        sha256="9" * 64,
        duration=45.037622,
        frame_count=1080,
        frame_rate=30.0,
        size=3413818,
        created_at=datetime(2026, 11, 22, 18, 5, 11, 204531, tzinfo=UTC),
    )
    limits.spend(
        owner,
        make_done(
            owner,
            media=media,
            confidence=97.4312,
            real_frames=4,
            fake_frames=28,
            seconds=8.123,
            timestamps=[[3.2, 9.6]],
        ).public_id,
    )
    answer = app.post("/fetch-history", {"userId": owner.public_id})
    assert answer.content.decode() == (
        '{"code":200,"message":"User found",'
        f'"data":{{"id":"{owner.public_id}",'
        '"vid":[{"feedback":"","tweetId":"","_id":"5f12f98cf85c333030ea30cb"}],"img":[],"remaining":9},'
        '"vdata":[{"_id":"5f12f98cf85c333030ea30cb","fileName":"video-5f12f98cf85c333030ea30cb.mp4","status":"FAKE",'
        '"confidence":97.4,"realToFakeRatio":0.143,"timestamps":[[3.2,9.6]],'
        f'"fileChecksum":"f76f8c4d2eceb6d8079e5cb18ae81839","sha256":"{"9" * 64}","duration":45.037622,'
        '"bitrate":1080,"fps":30.0,"fileSize":3413818,"timeToProcess":8123.0,"createdAt":"2026-11-22T18:05:11Z"}],'
        '"idata":[]}'
    )


def test_each_state_has_its_published_name(app: Client, owner: User) -> None:
    def none(**fields: Any) -> dict[str, Any]:
        return {"confidence": None, "real_frames": None, "fake_frames": None, **fields}

    rows: list[tuple[Analysis, str, str | None]] = [
        (make_analysis(owner), "PROCESSING", None),
        (make_analysis(owner, status="running", stage="judging"), "PROCESSING", None),
        (make_done(owner, outcome="REAL"), "REAL", None),
        (make_done(owner), "FAKE", None),
        (
            make_done(owner, outcome="INCONCLUSIVE", reason="weak_evidence", confidence=None),
            "INCONCLUSIVE",
            "weak_evidence",
        ),
        (make_done(owner, outcome="NOT_ASSESSABLE", reason="no_face", **none()), "NOT_ASSESSABLE", "no_face"),
        (make_analysis(owner, status="failed", error_code="internal_error"), "FAILED", "internal_error"),
    ]
    told = history(app)["vdata"]
    assert [row["_id"] for row in told] == [analysis.media.public_id for analysis, _, _ in rows]
    assert [(row["status"], row.get("reason")) for row in told] == [(status, reason) for _, status, reason in rows]
    for row in told:
        if row["status"] in {"PROCESSING", "INCONCLUSIVE", "NOT_ASSESSABLE", "FAILED"}:
            assert row["confidence"] is None
        if row["status"] in {"PROCESSING", "NOT_ASSESSABLE", "FAILED"}:
            assert row["realToFakeRatio"] is None
            assert row["timestamps"] == []


def test_a_ratio_without_a_fake_frame_is_null_and_certainty_is_never_told(app: Client, owner: User) -> None:
    make_done(owner, outcome="REAL", confidence=99.98, real_frames=32, fake_frames=0)
    [row] = history(app)["vdata"]
    assert (row["realToFakeRatio"], row["confidence"]) == (None, 99.9)


def test_videos_and_images_are_listed_apart_oldest_first_with_what_was_said(app: Client, owner: User) -> None:
    late = make_done(owner, media=make_media(owner, created_at=datetime(2026, 11, 22, tzinfo=UTC)))
    early = make_done(owner, media=make_media(owner, created_at=datetime(2026, 11, 20, tzinfo=UTC)))
    image = make_done(
        owner, media=make_media(owner, kind="image", container="png", duration=0, frame_rate=0, frame_count=1)
    )
    make_feedback(late, comment="I filmed it: it is real")
    make_feedback(image, opinion=Feedback.Opinion.AGREE)
    found = history(app)
    assert [row["_id"] for row in found["data"]["vid"]] == [early.media.public_id, late.media.public_id]
    assert [row["_id"] for row in found["vdata"]] == [early.media.public_id, late.media.public_id]
    assert [row["feedback"] for row in found["data"]["vid"]] == ["", "disagree: I filmed it: it is real"]
    assert found["data"]["img"] == [{"feedback": "agree", "tweetId": "", "_id": image.media.public_id}]
    assert found["idata"][0]["fileName"] == f"image-{image.media.public_id}.jpg"
    assert (found["idata"][0]["bitrate"], found["idata"][0]["fps"]) == (1, 0.0)


def test_a_file_that_the_bot_handed_in_is_listed_with_its_tweet(app: Client, owner: User) -> None:
    def hand_in(number: int) -> Analysis:
        analysis, _is_new = links.submit_link(
            owner=owner,
            source=Submission.Source.BOT,
            url="https://video.twimg.com/clip.mp4",
            idempotency_key=f"tweet:{number}",
        )
        return analysis

    first = hand_in(1590000000000000001)
    # Somebody tags the bot under the same video once more.
    assert hand_in(1590000000000000002) == first
    sent = make_done(owner)
    Submission.objects.create(media=sent.media, submitted_by=owner, source="api", idempotency_key="tweet:3")
    assert [(row["_id"], row["tweetId"]) for row in history(app)["data"]["vid"]] == [
        (first.media.public_id, "1590000000000000001"),
        (sent.media.public_id, ""),
    ]


def test_one_file_is_listed_once_with_its_latest_analysis(app: Client, owner: User) -> None:
    first = make_done(owner)
    make_done(owner, media=first.media, outcome="REAL")
    assert [row["status"] for row in history(app)["vdata"]] == ["REAL"]


def test_what_others_have_and_what_was_deleted_is_not_listed(app: Client, owner: User, stranger: User) -> None:
    make_done(stranger)
    deleted = make_done(owner)
    Media.objects.filter(pk=deleted.media_id).update(deleted_at=datetime(2026, 11, 22, tzinfo=UTC))
    found = history(app)
    assert (found["vdata"], found["data"]["vid"]) == ([], [])


def test_the_history_takes_the_same_few_queries_however_long_it_is(app: Client, owner: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            history(app)
        assert not any('"result"' in query["sql"] for query in captured.captured_queries)
        return len(captured)

    make_feedback(make_done(owner))
    few = queries()
    media = [make_media(owner) for _ in range(30)]
    for each in media:
        make_feedback(make_done(owner, media=each))
    assert queries() == few
    assert few <= 10


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "avi", "mpegts"])
def test_file_names_lead_back_to_one_file_and_never_hold_what_was_sent(owner: User, container: str) -> None:
    media = make_media(owner, container=container, original_name="../../Me at the zoo.exe")
    name = mobile_selectors.file_name(media.kind, media.public_id, media.container)
    assert name.startswith(f"video-{media.public_id}.")
    assert name.rpartition(".")[2] in {"mp4", "mov", "mkv", "avi", "ts"}


# Rows 6 and 10: deleting.


def make_image_row(owner: User, **fields: Any) -> Analysis:
    """A finished image with its labelled picture."""
    media = make_media(owner, kind="image", container="jpeg", duration=0, frame_rate=0, frame_count=1)
    claimed = services.claim_analysis(make_analysis(owner, media=media).pk)
    assert claimed is not None
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    services.finish_analysis(
        claimed, a_result(**fields), {"frame-9.jpg": picture.getvalue(), "labelled.jpg": picture.getvalue()}
    )
    return Analysis.objects.get(pk=claimed.pk)


def name_of(analysis: Analysis) -> str:
    return f"image-{analysis.media.public_id}.jpg"


REMOVED = '{"code":200,"message":"deletion successful","success":true}'


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_removing_a_video_removes_everything_and_leaves_a_receipt(
    app: Client, owner: User, settings: Any, encoding: tuple[str, str]
) -> None:
    media = make_done(owner).media
    answer = post(app, "/remove", {"userId": owner.public_id, "videoId": media.public_id}, encoding)
    assert (answer.status_code, answer.content.decode()) == (200, REMOVED)
    assert not Media.objects.exists()
    assert DeletionReceipt.objects.get().media_public_id == media.public_id
    assert files_below(Path(settings.MEDIA_ROOT)) == []
    assert refused(post(app, "/remove", {"videoId": media.public_id}, encoding)) == (404, "video_not_found")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_removing_an_image_removes_its_labelled_picture_too(
    app: Client, owner: User, settings: Any, encoding: tuple[str, str]
) -> None:
    analysis = make_image_row(owner)
    fields = {"userId": owner.public_id, "imageId": analysis.media.public_id, "imageFile": name_of(analysis)}
    answer = post(app, "/remove/image", fields, encoding)
    assert (answer.status_code, answer.content.decode()) == (200, REMOVED)
    assert files_below(Path(settings.MEDIA_ROOT)) == []
    assert refused(post(app, "/remove/image", fields, encoding)) == (404, "image_not_found")


def test_an_image_goes_only_by_its_own_name(app: Client, owner: User) -> None:
    analysis, other = make_image_row(owner), make_image_row(owner)
    for name in (name_of(other), "image-x.jpg", f"video-{analysis.media.public_id}.jpg", name_of(analysis) + "\n"):
        answer = post(app, "/remove/image", {"imageId": analysis.media.public_id, "imageFile": name})
        assert refused(answer) == (404, "image_not_found"), name
    assert Media.objects.count() == 2


# Rows 8 and 9: the labelled picture.


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_labelled_picture_has_the_name_of_the_history_and_comes_by_it(app: Client, owner: User, slash: str) -> None:
    analysis = make_image_row(owner)
    answer = app.get(f"/get-image{slash}", {"userId": owner.public_id, "imageId": analysis.media.public_id})
    assert answer.content.decode() == f'{{"code":200,"imageFile":"{name_of(analysis)}"}}'
    assert history(app)["idata"][0]["fileName"] == answer.json()["imageFile"]
    for accept in ("*/*", "image/jpeg", "image/*", "text/html"):
        picture = app.get(f"/get-image/image{slash}", {"imageFile": name_of(analysis)}, headers={"accept": accept})
        assert picture.status_code == 200
        assert picture["Content-Type"] == "image/jpeg"
        assert picture["X-Content-Type-Options"] == "nosniff"
        assert picture["Cache-Control"].startswith("private")
        assert Image.open(io.BytesIO(picture.content)).format == "JPEG"


def test_a_photo_sent_in_comes_back_with_its_face_boxed(detector: Path, app: Client, tmp_path: Path) -> None:
    sent = send(app, "/get-image/", make_face_image(tmp_path / "face.jpg"), userId="").json()
    asked = {"imageId": sent["imageId"]}
    assert refused(app.get("/get-image", asked)) == (409, "not_finished")
    assert refused(app.get("/get-image/image", {"imageFile": f"image-{sent['imageId']}.jpg"}))[0] == 404
    tasks.run_analysis(Analysis.objects.get().pk)
    name = app.get("/get-image", asked).json()["imageFile"]
    picture = Image.open(io.BytesIO(app.get("/get-image/image", {"imageFile": name}).content))
    assert picture.size == (512, 512)
    [row] = history(app)["idata"]
    assert row["status"] in {"FAKE", "REAL", "INCONCLUSIVE"}
    assert row["timeToProcess"] > 0


def test_a_photo_without_a_face_is_labelled_with_nothing(detector: Path, app: Client, tmp_path: Path) -> None:
    sent = send(app, "/get-image/", make_image(tmp_path / "a.png")).json()
    tasks.run_analysis(Analysis.objects.get().pk)
    name = app.get("/get-image", {"imageId": sent["imageId"]}).json()["imageFile"]
    assert app.get("/get-image/image", {"imageFile": name}).status_code == 200
    [row] = history(app)["idata"]
    assert (row["status"], row["reason"], row["confidence"]) == ("NOT_ASSESSABLE", "no_face", None)


def test_a_failed_image_has_no_picture_and_says_so(app: Client, owner: User) -> None:
    media = make_media(owner, kind="image", container="jpeg")
    make_analysis(owner, media=media, status="failed", error_code="internal_error")
    answer = app.get("/get-image", {"imageId": media.public_id})
    assert refused(answer) == (409, "no_result")
    assert "failed" in answer.json()["message"]
    assert refused(app.get("/get-image/image", {"imageFile": f"image-{media.public_id}.jpg"})) == (
        404,
        "image_not_found",
    )


def test_an_image_older_than_labelled_pictures_has_none(app: Client, owner: User) -> None:
    media = make_media(owner, kind="image", container="jpeg")
    make_done(owner, media=media)
    assert refused(app.get("/get-image", {"imageId": media.public_id})) == (404, "image_not_found")


def test_the_owner_may_download_it_from_the_result_page(owner: User, as_owner: Client) -> None:
    analysis = make_image_row(owner)
    page = as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()
    url = f"/analyses/{analysis.public_id}/evidence/labelled.jpg"
    assert f'href="{url}"' in page
    assert as_owner.get(url).status_code == 200
    assert "labelled.jpg" not in as_owner.get(f"/analyses/{make_done(owner).public_id}/").content.decode()


def test_reviewers_see_it_first(owner: User, as_admin: Client) -> None:
    analysis = make_image_row(owner)
    given = make_feedback(analysis)
    page = as_admin.get(reverse("admin:media_analysis_feedback_change", args=[given.pk])).content.decode()
    url = reverse("admin:media_analysis_feedback_evidence", args=[given.pk, "labelled.jpg"])
    assert 0 < page.index(url) < page.index("frame-9.jpg")
    assert as_admin.get(url)["Content-Type"] == "image/jpeg"


# Whose, and what is missing.


def objects(owner: User) -> tuple[str, str, str]:
    video, image = make_done(owner), make_image_row(owner)
    return video.media.public_id, image.media.public_id, name_of(image)


def test_somebody_elses_is_403_with_the_published_text(other_app: Client, owner: User) -> None:
    video, image, name = objects(owner)
    answers = [
        (post(other_app, "/remove", {"videoId": video}), "Video doesn't belong to the user"),
        (post(other_app, "/remove/image", {"imageId": image, "imageFile": name}), "Image doesn't belong to the user"),
        (other_app.get("/get-image", {"imageId": image}), "Image doesn't belong to the user"),
        (other_app.get("/get-image/image", {"imageFile": name}), "Image doesn't belong to the user"),
    ]
    for answer, text in answers:
        assert refused(answer) == (403, "forbidden")
        assert answer.json()["message"] == text
    assert Media.objects.count() == 2


@pytest.mark.parametrize("language", ["hi", "te"])
def test_texts_of_the_contract_are_the_same_in_every_language(
    app: Client, other_app: Client, owner: User, stranger: User, language: str
) -> None:
    User.objects.filter(pk__in=[owner.pk, stranger.pk]).update(language=language)
    video, _, _ = objects(owner)
    answers = [
        post(other_app, "/remove", {"videoId": video}),
        other_app.get("/pdf", {"videoId": video}),
        post(app, "/remove", {"videoId": NO_SUCH}),
        app.get("/pdf", {"videoId": NO_SUCH}),
        post(app, "/fetch-history", {"userId": NO_SUCH}),
    ]
    assert [answer.json()["message"] for answer in answers] == [
        *["Video doesn't belong to the user"] * 2,
        *["Video not found"] * 2,
        "User not found",
    ]
    # What the contract leaves open is told in theirs.
    assert answers[0]["Content-Language"] == language
    assert post(app, "/remove", {}).json()["message"] != "Something in the request is not right."


def test_what_is_not_there_is_404_by_its_kind(app: Client, owner: User) -> None:
    video, image, _ = objects(owner)
    missing_video, missing_image = (404, "video_not_found"), (404, "image_not_found")
    for wrong in (NO_SUCH, image, "nonsense"):
        answer = post(app, "/remove", {"videoId": wrong})
        assert refused(answer) == missing_video
        assert answer.json()["message"] == "Video not found"
    for wrong in (NO_SUCH, video, "nonsense"):
        name = f"image-{wrong}.jpg"
        assert refused(post(app, "/remove/image", {"imageId": wrong, "imageFile": name})) == missing_image
        assert refused(app.get("/get-image", {"imageId": wrong})) == missing_image
        assert refused(app.get("/get-image/image", {"imageFile": name})) == missing_image
    assert refused(app.get("/get-image/image", {"imageFile": "../../db.sqlite3"})) == missing_image
    assert Media.objects.count() == 2


CALLS = [
    ("post", "/classify", {}),
    ("post", "/fetch-history", {}),
    ("post", "/remove", {"videoId": NO_SUCH}),
    ("post", "/get-image/", {}),
    ("get", "/get-image", {"imageId": NO_SUCH}),
    ("post", "/remove/image", {"imageId": NO_SUCH, "imageFile": "image-x.jpg"}),
]


@pytest.mark.parametrize(("method", "url", "fields"), CALLS)
def test_a_user_is_named_only_by_their_own_id(
    app: Client, stranger: User, method: str, url: str, fields: dict[str, str]
) -> None:
    call = getattr(app, method)
    assert refused(call(url, {**fields, "userId": stranger.public_id})) == (403, "forbidden")
    answer = call(url, {**fields, "userId": NO_SUCH})
    assert refused(answer) == (404, "user_not_found")
    assert answer.json()["message"] == "User not found"
    assert refused(call(url, {**fields, "userId": "nobody"})) == (404, "user_not_found")


@pytest.mark.parametrize(
    ("method", "url", "names"),
    [
        ("post", "/remove", ["videoId"]),
        ("post", "/remove/image", ["imageId", "imageFile"]),
        ("get", "/get-image", ["imageId"]),
        ("get", "/get-image/image", ["imageFile"]),
    ],
)
def test_what_is_missing_is_named(app: Client, method: str, url: str, names: list[str]) -> None:
    for fields in ({}, dict.fromkeys(names, ""), dict.fromkeys(names, "\0")):
        answer = getattr(app, method)(url, fields)
        assert refused(answer) == (400, "invalid_field")
        # What stands in an address is refused before anybody asks which field it is.
        if method == "post" or not any("\0" in value for value in fields.values()):
            assert list(answer.json()["errors"]) == names


@pytest.mark.parametrize("body", ["[]", '"text"', "7", "null", "{", '{"userId": {}}', '{"videoId": ["x"]}'])
def test_bodies_that_are_no_fields_are_refused(app: Client, body: str) -> None:
    answer = app.post("/remove", body, content_type="application/json")
    assert refused(answer) == (400, "invalid_field")


@pytest.mark.parametrize(("method", "url", "fields"), [*CALLS, ("get", "/get-image/image", {"imageFile": "x"})])
def test_without_a_token_nothing_is_told(
    client: Client, as_owner: Client, method: str, url: str, fields: dict[str, str]
) -> None:
    for each in (client, as_owner):
        assert refused(getattr(each, method)(url, fields)) == (401, "not_authenticated")
    forged = Client(headers={"authorization": "Bearer forged"})
    assert refused(getattr(forged, method)(url, fields)) == (401, "not_authenticated")


def test_other_verbs_and_bodies_are_refused_as_json(app: Client) -> None:
    assert refused(app.get("/classify")) == (405, "method_not_allowed")
    assert refused(app.put("/get-image/")) == (405, "method_not_allowed")
    assert refused(app.post("/fetch-history", "<a/>", content_type="text/xml")) == (415, "body_not_supported")

"""/api/v1/analyses/ and /api/v1/receipts/: what apps send and get."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import limits, tokens
from accounts.errors import Code
from accounts.models import User
from media_analysis import (
    health_serializers,
    links,
    model_serializers,
    query_serializers,
    result_serializers,
    serializers,
    services,
)
from media_analysis.models import Analysis, DeletionReceipt, Media, Submission
from ml import contracts
from tests.conftest import make_user
from tests.media_analysis.factories import a_result, make_analysis, make_done, make_media
from tests.media_factory import make_image, make_video

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/analyses/"


@pytest.fixture
def bearer(owner: User) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {tokens.log_in(owner).access}"}}


def upload(client: Client, path: Path, **extra: Any) -> Any:
    with path.open("rb") as file:
        return client.post(URL, {"file": file}, **extra)


def with_header(options: dict[str, Any], **headers: str) -> dict[str, Any]:
    return {"headers": {**options["headers"], **headers}}


def test_a_file_sent_with_a_token_comes_from_an_app_and_one_with_the_session_from_the_website(
    bearer: dict[str, Any], as_owner: Client, clip: Path
) -> None:
    answer = upload(Client(enforce_csrf_checks=True), clip, **bearer)
    assert answer.status_code == 201
    assert answer["Location"] == f"{URL}{answer.json()['id']}/"
    assert Client().get(answer["Location"], **bearer).json()["id"] == answer.json()["id"]
    assert upload(as_owner, clip).status_code == 201
    assert list(Submission.objects.order_by("pk").values_list("source", flat=True)) == ["api", "web"]


def test_the_session_needs_its_csrf_token(owner: User, clip: Path) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    answer = upload(client, clip)
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")


def test_the_same_key_again_is_the_same_analysis_and_costs_nothing_more(
    bearer: dict[str, Any], owner: User, clip: Path
) -> None:
    options = with_header(bearer, **{"Idempotency-Key": "retry-1"})
    answers = [upload(Client(), clip, **options) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json()["id"] for answer in answers}) == Analysis.objects.count() == 1
    assert limits.remaining(owner) == 9


def test_the_same_key_with_another_file_is_refused(bearer: dict[str, Any], clip: Path, photo: Path) -> None:
    options = with_header(bearer, **{"Idempotency-Key": "retry-1"})
    upload(Client(), clip, **options)
    answer = upload(Client(), photo, **options)
    assert (answer.status_code, answer.json()["error"]) == (422, "idempotency_key_reused")
    assert Media.objects.count() == 1


def test_two_users_may_use_the_same_key(bearer: dict[str, Any], stranger: User, clip: Path, photo: Path) -> None:
    other = {"headers": {"Authorization": f"Bearer {tokens.log_in(stranger).access}"}}
    key = {"Idempotency-Key": "1"}
    assert upload(Client(), clip, **with_header(bearer, **key)).status_code == 201
    assert upload(Client(), photo, **with_header(other, **key)).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "schlüssel", "tab\t"])
def test_a_key_that_is_no_visible_ascii_of_at_most_255_is_refused(bearer: dict[str, Any], clip: Path, key: str) -> None:
    answer = upload(Client(), clip, **with_header(bearer, **{"Idempotency-Key": key}))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_field")
    assert not Media.objects.exists()


def test_a_key_of_255_is_taken(bearer: dict[str, Any], clip: Path) -> None:
    assert upload(Client(), clip, **with_header(bearer, **{"Idempotency-Key": "~" * 255})).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "file_missing"),
        ({"url": "http://127.0.0.1/clip.mp4"}, 422, "link_not_supported"),
        ({"url": "no link"}, 422, "link_not_supported"),
        ({"url": "https://example.org/clip.mp4", "start": 1}, 400, "invalid_field"),
        ({"url": "https://example.org/clip.mp4", "start": 9, "end": 1}, 400, "invalid_field"),
        ({"url": "https://example.org/clip.mp4", "start": 0, "end": 100}, 400, "invalid_field"),
        ({"start": 0, "end": 1}, 400, "invalid_field"),
        ({"upload_id": "5f12f98cf85c333030ea30cb"}, 404, "not_found"),
        ({"upload_id": "../../etc/passwd"}, 400, "invalid_field"),
        ({"upload_id": "5f12f98cf85c333030ea30cb", "url": "https://example.org/"}, 400, "invalid_field"),
        ([], 400, "invalid_field"),
        ("text", 400, "invalid_field"),
    ],
)
def test_what_names_no_file_is_refused(bearer: dict[str, Any], body: Any, status: int, code: str) -> None:
    answer = Client().post(URL, json.dumps(body), content_type="application/json", **bearer)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_a_link_is_accepted_shown_and_not_examined_twice(bearer: dict[str, Any], owner: User) -> None:
    def send(**body: Any) -> Any:
        return Client().post(URL, json.dumps(body), content_type="application/json", **bearer)

    url = "https://www.youtube.com/watch?v=jNQXAC9IVRw"
    accepted = send(url=url, start=2.5, end=14)
    said = accepted.json()
    assert (accepted.status_code, said["status"], said["stage"], said["media"]["sha256"]) == (
        201,
        "queued",
        "fetching",
        "",
    )
    again = send(url="youtu.be/jNQXAC9IVRw?si=x", start=2.5, end=14)
    assert (again.status_code, again.json()["id"]) == (200, said["id"])
    assert send(url=url).json()["id"] != said["id"]
    assert limits.remaining(owner) == 8

    claimed = links.claim_waiting()
    assert claimed is not None
    links.note_origin(claimed, title="A zoo", uploader="Asha", uploaded="2026-11-20", canonical_url=url)
    links.report_progress(claimed, 40)
    progress = Client().get(f"{URL}{said['id']}/progress/", **bearer).json()
    assert (progress["stage"], progress["progress"], progress["finished"]) == ("fetching", 40, False)
    links.fail_fetch(claimed, Code.LINK_NOT_SUPPORTED, "private")
    failed = Client().get(f"{URL}{said['id']}/", **bearer).json()
    assert (failed["error_code"], failed["link"]["problem"]) == ("link_not_supported", "private")
    assert failed["reason_text"].startswith("This video is not public.")
    assert failed["link"] | {"title": "A zoo", "uploader": "Asha", "uploaded": "2026-11-20"} == failed["link"]
    assert (failed["link"]["cut_start"], failed["link"]["cut_end"], failed["link"]["fetched_at"]) == (2.5, 14.0, None)
    assert Client().delete(f"{URL}{said['id']}/", **bearer).json()["sha256"] == ""


def test_a_file_and_a_link_at_once_are_refused(bearer: dict[str, Any], clip: Path) -> None:
    with clip.open("rb") as file:
        answer = Client().post(URL, {"file": file, "url": "https://example.org/clip.mp4"}, **bearer)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_field")
    assert not Media.objects.exists()


def test_other_bodies_are_answered_415(bearer: dict[str, Any]) -> None:
    answer = Client().post(URL, b"<xml/>", content_type="application/xml", **bearer)
    assert (answer.status_code, answer.json()["error"]) == (415, "body_not_supported")


def test_the_list_has_pages_of_a_chosen_size_newest_first(as_owner: Client, owner: User) -> None:
    now = timezone.now()
    made = [
        make_analysis(owner, spent=False, media=make_media(owner, created_at=now - timedelta(minutes=age)))
        for age in (3, 1, 2)
    ]
    # Of the same moment: still in one order.
    made += [make_analysis(owner, spent=False, media=make_media(owner, created_at=now)) for _ in range(3)]
    expected = [made[number].public_id for number in (5, 4, 3, 1, 2, 0)]
    first = as_owner.get(URL, {"page_size": 4}).json()
    second = as_owner.get(first["next"]).json()
    assert first["count"] == 6
    assert [row["id"] for row in first["results"] + second["results"]] == expected
    assert second["next"] is None


@pytest.mark.parametrize(
    "asked",
    [
        {"page_size": "0"},
        {"page_size": "101"},
        {"page_size": "many"},
        {"page": "0"},
        {"page": "last"},
        {"state": "lost"},
        {"kind": "sound"},
        {"created_after": "yesterday"},
        {"created_after": "0001-01-01T00:00:00"},
        {"created_before": "9999-12-31T23:59:59Z"},
        {"name": "x" * 256},
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(as_owner: Client, asked: dict[str, str]) -> None:
    answer = as_owner.get(URL, asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_field")
    assert set(answer.json()["errors"]) == set(asked)


def test_a_page_beyond_the_last_is_not_there(as_owner: Client) -> None:
    assert as_owner.get(URL, {"page": 2}).status_code == 404


def test_filters_narrow_the_list_down(as_owner: Client, owner: User) -> None:
    now = timezone.now()
    old = make_done(owner, media=make_media(owner, original_name="Holiday.mp4", created_at=now - timedelta(days=3)))
    photo = make_analysis(owner, spent=False, media=make_media(owner, kind="image", original_name="face.jpg"))
    failed = make_analysis(owner, spent=False, status="failed", media=make_media(owner, original_name="x.mp4"))

    def found(**asked: Any) -> set[str]:
        return {row["id"] for row in as_owner.get(URL, asked).json()["results"]}

    yesterday = (now - timedelta(days=1)).isoformat()
    assert found(state="FAKE") == found(state="done") == found(name="hOLI") == {old.public_id}
    assert found(state="queued") == found(kind="image") == {photo.public_id}
    assert found(state="failed") == {failed.public_id}
    assert found(created_before=yesterday) == {old.public_id}
    assert found(created_after=yesterday) == {photo.public_id, failed.public_id}
    assert found(created_after=yesterday, kind="video") == {failed.public_id}
    assert found(created_after=old.media.created_at.isoformat()) == found()
    assert found(created_before=old.media.created_at.isoformat()) == set()


def test_the_list_asks_the_same_few_questions_however_long_it_is_and_leaves_the_results_where_they_are(
    bearer: dict[str, Any], owner: User
) -> None:
    counts = []
    for number in (1, 9):
        for _ in range(number):
            make_done(owner)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert Client().get(URL, **bearer).status_code == 200
        counts.append(len(asked))
        assert not any('"result"' in query["sql"] or '"evidence"' in query["sql"] for query in asked)
    assert counts[0] == counts[1] <= 4


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others plan by what is in the tables")
def test_the_order_of_the_list_comes_from_an_index_and_not_from_sorting_everything(owner: User) -> None:
    from media_analysis import selectors

    seen = selectors.own_analyses(owner)
    for state in ("", "done", "FAKE"):
        plan = selectors.filter_analyses(seen, state=state)[:20].explain()
        assert "media_of_owner" in plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def full_result() -> contracts.AnalysisResult:
    """One with every field filled."""
    score = contracts.FaceScore(9, 0.36, contracts.Box(40, 30, 120, 140), 0.999, 0.91)
    voting = contracts.Voting((contracts.Branch.CONFIDENT_FAKES,), 0.9, 1, 1, 0)
    share = contracts.CountedShare(1, 10, 0.1, 0.01, 0.4)
    video = contracts.MediaKind.VIDEO
    return contracts.AnalysisResult(
        outcome=contracts.Outcome.FAKE,
        reason=None,
        fake_probability=0.91,
        pooled_probability=0.91,
        confidence=91.0,
        tracks=(contracts.TrackResult(0, 0.91, (score,), ((0.2, 0.6),), 9, voting),),
        timestamps=((0.2, 0.6),),
        frames=(contracts.SampledFrame(9, 0.36),),
        real_frames=0,
        fake_frames=1,
        media=contracts.MediaInfo(video, "mp4", "h264", 320, 240, duration=2.0, frame_rate=25.0, frame_count=50),
        detector="tiny-test",
        detector_version="1",
        weights_sha256=("c" * 64,),
        seconds=1.5,
        settings={"thresholds": {"fake": 0.7}},
        error_rates=contracts.ErrorRates(
            video, contracts.Compression.LIGHT, contracts.FaceSize.LARGE, share, share, share, "2026-11-01"
        ),
        pooled_voting=voting,
        stability=contracts.Stability(1, 0.91, (contracts.CopyScore(contracts.Copy.JPEG_60, 0.8),), 0.1),
        facts=contracts.FileFacts(encoders=("Lavf",), camera="Phone", problems=(contracts.FactsPart.METADATA,)),
    )


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def test_everything_found_is_described_and_nothing_of_it_lost(as_owner: Client, owner: User) -> None:
    found = full_result().to_dict()
    analysis = make_done(owner, result=found)
    body = as_owner.get(f"{URL}{analysis.public_id}/").json()
    # Every field comes back; `reason` of measured rates is only there for those not measured.
    assert without_nulls(body["result"]) == without_nulls(found)
    assert set(body["result"]) == set(found)
    assert body["error_rates"] == body["result"]["error_rates"]
    assert body["queue_position"] == 0


def test_rates_that_were_not_measured_say_why(as_owner: Client, owner: User) -> None:
    why = {"measured": False, "reason": "no_measurement"}
    analysis = make_done(owner, result=a_result(error_rates=why))
    rates = as_owner.get(f"{URL}{analysis.public_id}/").json()["result"]["error_rates"]
    assert without_nulls(rates) == why


def test_a_result_of_an_older_version_has_nulls_for_what_was_not_recorded(as_owner: Client, owner: User) -> None:
    body = as_owner.get(f"{URL}{make_done(owner).public_id}/").json()["result"]
    assert (body["facts"], body["stability"], body["error_rates"], body["media"]) == (None,) * 4
    assert body["tracks"][0]["voting"] is None
    assert body["tracks"][0]["faces"][0]["box"] == [40, 30, 120, 140]


def test_every_field_of_every_output_is_described() -> None:
    shapes = {
        (name, kind)
        for module in (serializers, query_serializers, result_serializers, model_serializers, health_serializers)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and name.endswith(("Output", "Input"))
    }
    assert len(shapes) > 40
    for name, kind in shapes:
        for field_name, field in kind().fields.items():
            described = field.help_text or getattr(field, "__doc__", None)
            assert described, f"{name}.{field_name}"


def test_a_waiting_one_has_no_result_and_no_pictures(as_owner: Client, owner: User) -> None:
    make_analysis(owner)
    second = make_analysis(owner)
    body = as_owner.get(f"{URL}{second.public_id}/").json()
    assert (body["result"], body["error_rates"], body["pictures"], body["queue_position"]) == (None, None, [], 1)


def done_with_pictures(owner: User) -> Analysis:
    claimed = services.claim_analysis(make_analysis(owner).pk)
    assert claimed is not None
    pictures = {"frame-9.jpg": b"frame", "crop-0-9.jpg": b"crop", "heat-0-9.jpg": b"heat", "labelled.jpg": b"labelled"}
    assert services.finish_analysis(claimed, full_result().to_dict(), pictures)
    return claimed


def test_pictures_are_listed_and_handed_out(as_owner: Client, owner: User) -> None:
    analysis = done_with_pictures(owner)
    listed = as_owner.get(f"{URL}{analysis.public_id}/pictures/").json()
    assert [(row["name"], row["kind"], row["track"], row["frame"]) for row in listed] == [
        ("frame-9.jpg", "frame", None, 9),
        ("crop-0-9.jpg", "crop", 0, 9),
        ("heat-0-9.jpg", "heat", 0, 9),
        ("labelled.jpg", "labelled", None, None),
    ]
    assert as_owner.get(f"{URL}{analysis.public_id}/").json()["pictures"] == listed
    for row in listed:
        answer = as_owner.get(row["url"], headers={"Accept": "image/jpeg"})
        assert answer.status_code == 200
        assert answer.content.decode() == row["kind"]
        assert answer["Content-Type"] == "image/jpeg"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "private" in answer["Cache-Control"]


def test_a_picture_of_somebody_else_or_of_another_name_is_not_there(
    as_owner: Client, as_stranger: Client, owner: User
) -> None:
    url = f"{URL}{done_with_pictures(owner).public_id}/pictures/"
    for client, name in ((as_stranger, "frame-9.jpg"), (as_owner, "frame-1.jpg"), (as_owner, "..%2Fx")):
        answer = client.get(url + name, headers={"Accept": "image/jpeg"})
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert Client().get(f"{url}frame-9.jpg").status_code == 401
    assert as_stranger.get(url).status_code == 404


@pytest.mark.parametrize("tail", ["", "progress/", "pictures/"])
def test_an_unchanged_analysis_is_answered_304_and_a_changed_one_is_not(
    bearer: dict[str, Any], owner: User, tail: str
) -> None:
    analysis = make_analysis(owner)
    url = f"{URL}{analysis.public_id}/{tail}"
    first = Client().get(url, **bearer)
    assert first["Cache-Control"] == "private, no-cache"
    again = with_header(bearer, **{"If-None-Match": first["ETag"]})
    unchanged = Client().get(url, **again)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    claimed = services.claim_analysis(analysis.pk)
    assert claimed is not None
    services.finish_analysis(claimed, full_result().to_dict(), {"frame-9.jpg": b"frame"})
    changed = Client().get(url, **again)
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_deleting_answers_with_the_receipt_that_is_listed_from_then_on(
    as_owner: Client, as_stranger: Client, owner: User
) -> None:
    analysis = make_done(owner)
    assert as_stranger.delete(f"{URL}{analysis.public_id}/").status_code == 404
    answer = as_owner.delete(f"{URL}{analysis.public_id}/")
    assert answer.status_code == 200
    assert answer.json()["media_id"] == analysis.media.public_id
    assert answer.json()["sha256"] == "a" * 64
    assert as_owner.get("/api/v1/receipts/").json()["results"] == [answer.json()]
    assert as_stranger.get("/api/v1/receipts/").json()["count"] == 0
    assert as_owner.get("/api/v1/receipts/", {"page_size": 1000}).status_code == 400
    assert Client().get("/api/v1/receipts/").status_code == 401
    assert as_owner.delete(f"{URL}{analysis.public_id}/").status_code == 404
    assert DeletionReceipt.objects.count() == 1


def test_only_a_failed_one_can_be_tried_again(as_owner: Client, as_stranger: Client, owner: User) -> None:
    analysis = make_analysis(owner)
    url = f"{URL}{analysis.public_id}/retry/"
    for status in ("queued", "running", "done"):
        Analysis.objects.update(status=status)
        answer = as_owner.post(url)
        assert (answer.status_code, answer.json()["error"]) == (409, "not_failed")
    Analysis.objects.update(status="failed", error_code="internal_error")
    assert as_stranger.post(url).status_code == 404
    answer = as_owner.post(url)
    assert (answer.status_code, answer.json()["status"], answer.json()["error_code"]) == (202, "queued", "")


def test_trying_again_needs_a_classification_where_the_failure_gave_it_back(as_owner: Client, owner: User) -> None:
    analysis = make_analysis(owner, spent=False, status="failed")
    owner.daily_limit = 0
    owner.save()
    answer = as_owner.post(f"{URL}{analysis.public_id}/retry/")
    assert (answer.status_code, answer.json()["error"]) == (429, "rate_limited")
    analysis.refresh_from_db()
    assert analysis.status == "failed"


def test_without_a_token_or_session_nothing_is_told(clip: Path) -> None:
    analysis = make_done(make_user("somebody"))
    client = Client()
    assert upload(client, clip).status_code == 401
    for tail in ("", f"{analysis.public_id}/", f"{analysis.public_id}/progress/", f"{analysis.public_id}/pictures/"):
        assert client.get(URL + tail).status_code == 401


def test_a_photo_and_a_video_have_their_facts(bearer: dict[str, Any], tmp_path: Path) -> None:
    video = upload(Client(), make_video(tmp_path / "v.mp4", seconds=2, fps=10), **bearer).json()["media"]
    photo = upload(Client(), make_image(tmp_path / "p.png"), **bearer).json()["media"]
    assert (video["kind"], video["frame_count"], photo["kind"], photo["frame_count"]) == ("video", 20, "image", 1)
    assert video["bit_rate"] > 0

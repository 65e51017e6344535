"""Who sees what: the owner, a stranger, nobody, an admin. A stranger's object looks exactly like none."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.errors import Code
from accounts.models import User
from media_analysis import services
from media_analysis.cases import open_case
from media_analysis.models import Analysis, DeletionReceipt, Media
from media_analysis.uploads import clean_name
from tests.media_analysis.factories import a_result, make_analysis, make_media

pytestmark = pytest.mark.django_db(transaction=True)

NO_SUCH = "0" * 24


@pytest.fixture
def done(owner: User) -> Analysis:
    claimed = services.claim_analysis(make_analysis(owner).pk)
    assert claimed is not None
    services.finish_analysis(claimed, a_result(), {"frame-9.jpg": b"frame", "crop-0-9.jpg": b"crop"})
    return Analysis.objects.get()


def pages(analysis: str, media: str) -> list[tuple[str, str]]:
    return [
        ("get", reverse("reports:result", args=[analysis])),
        ("get", reverse("reports:report_pdf", args=[analysis])),
        ("get", reverse("reports:package", args=[analysis])),
        ("post", reverse("reports:card_publish", args=[analysis])),
        ("post", reverse("reports:card_withdraw", args=[analysis])),
        ("post", reverse("media_analysis:retry", args=[analysis])),
        ("get", reverse("media_analysis:evidence", args=[analysis, "frame-9.jpg"])),
        ("get", reverse("media_analysis:delete", args=[media])),
        ("post", reverse("media_analysis:delete", args=[media])),
        ("get", reverse("media_analysis:feedback", args=[analysis])),
        ("post", reverse("media_analysis:feedback", args=[analysis])),
        ("post", reverse("media_analysis:withdraw_consent", args=[analysis])),
        ("get", f"/api/v1/analyses/{analysis}/feedback/"),
        ("put", f"/api/v1/analyses/{analysis}/feedback/"),
        ("get", f"/api/v1/analyses/{analysis}/"),
        ("get", f"/api/v1/analyses/{analysis}/progress/"),
        ("get", f"/api/v1/analyses/{analysis}/report/"),
        ("delete", f"/api/v1/analyses/{analysis}/"),
    ]


def without_secrets(answer: Any, public_id: str) -> str:
    """The page without what differs on every answer: the token against forged requests, and the id asked for."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", answer.content.decode())
    # The menu of languages leads back to the address asked for, whatever that is.
    return re.sub(r'name="next" value="[^"]*"', "", text).replace(public_id, "")


@pytest.mark.parametrize("number", range(18))
def test_a_strangers_object_cannot_be_told_from_none(done: Analysis, as_stranger: Client, number: int) -> None:
    method, url = pages(done.public_id, done.media.public_id)[number]
    _, nothing = pages(NO_SUCH, NO_SUCH)[number]
    theirs: Any = getattr(as_stranger, method)(url)
    none: Any = getattr(as_stranger, method)(nothing)
    assert theirs.status_code == none.status_code == 404
    assert without_secrets(theirs, done.public_id) == without_secrets(none, NO_SUCH)
    assert Media.objects.exists()


@pytest.mark.parametrize("number", range(18))
def test_without_a_session_pages_ask_to_log_in_and_the_api_says_401(
    done: Analysis, client: Client, number: int
) -> None:
    method, url = pages(done.public_id, done.media.public_id)[number]
    answer: Any = getattr(client, method)(url)
    if url.startswith("/api/"):
        assert (answer.status_code, answer.json()["error"]) == (401, Code.NOT_AUTHENTICATED)
    else:
        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("accounts:login"))
    assert Media.objects.exists()


def test_lists_hold_only_what_is_ones_own(done: Analysis, as_owner: Client, as_stranger: Client) -> None:
    for url in (reverse("media_analysis:history"), "/api/v1/analyses/"):
        assert done.public_id in as_owner.get(url).content.decode()
        assert done.public_id not in as_stranger.get(url).content.decode()


def test_the_owner_sees_the_result_with_its_numbers(done: Analysis, as_owner: Client) -> None:
    page = as_owner.get(reverse("reports:result", args=[done.public_id])).content.decode()
    assert "Signs of manipulation found" in page
    assert "a" * 64 in page
    assert "c" * 64 in page
    assert reverse("media_analysis:evidence", args=[done.public_id, "frame-9.jpg"]) in page


def test_evidence_is_a_picture_that_only_the_owners_browser_keeps(done: Analysis, as_owner: Client) -> None:
    answer: Any = as_owner.get(reverse("media_analysis:evidence", args=[done.public_id, "crop-0-9.jpg"]))
    assert answer.content == b"crop"
    assert answer["Content-Type"] == "image/jpeg"
    assert answer["Cache-Control"].startswith("private")
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("status", ["queued", "running", "failed"])
def test_a_result_that_is_not_there_yet_shows_its_state_and_no_verdict(
    owner: User, as_owner: Client, status: str
) -> None:
    analysis = make_analysis(owner, status=status, error_code="internal_error" if status == "failed" else "")
    answer = as_owner.get(reverse("reports:result", args=[analysis.public_id]))
    assert answer.status_code == 200
    assert answer.templates[0].name != "reports/result.html"
    assert "Signs of manipulation found" not in answer.content.decode()


def test_deleting_asks_first_then_removes_and_leaves_a_receipt(done: Analysis, as_owner: Client) -> None:
    url = reverse("media_analysis:delete", args=[done.media.public_id])
    assert as_owner.get(url).status_code == 200
    assert Media.objects.exists()
    answer = as_owner.post(url, follow=True)
    assert not Media.objects.exists()
    assert "a" * 64 in answer.content.decode()
    assert as_owner.get(reverse("reports:result", args=[done.public_id])).status_code == 404


def test_the_history_filters_by_state_result_and_name(done: Analysis, owner: User, as_owner: Client) -> None:
    waiting = make_analysis(owner)
    Media.objects.filter(pk=waiting.media_id).update(original_name="wedding.mp4")

    def listed(**asked: str) -> set[str]:
        page = as_owner.get(reverse("media_analysis:history"), asked).context["page"]
        return {analysis.public_id for analysis in page}

    assert listed() == {done.public_id, waiting.public_id}
    assert listed(state="queued") == {waiting.public_id}
    assert listed(state="FAKE") == {done.public_id}
    assert listed(state="REAL") == set()
    assert listed(name="WEDD") == {waiting.public_id}
    assert listed(state="nonsense") == {done.public_id, waiting.public_id}


# One letter or several, with a joiner or without, as it happens between the keyboards of two people.
RRA_AS_ONE, RRA = "\u09dc", "\u09a1\u09bc"
RAB, RAB_WITHOUT_JOINER = "\u09b0\u200d\u09cd\u09af\u09be\u09ac", "\u09b0\u09cd\u09af\u09be\u09ac"
O_AS_ONE, O_OF_TWO = "\u0915\u09cb", "\u0915\u09c7\u09be"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (RRA_AS_ONE, RRA),
        (RRA, RRA_AS_ONE),
        (O_OF_TWO, O_AS_ONE),
        (O_AS_ONE, O_OF_TWO),
        (RAB, RAB),
        # As names were kept before joiners were.
        (RAB_WITHOUT_JOINER, RAB),
    ],
    ids=ascii,
)
def test_a_name_is_found_however_its_letters_are_written(owner: User, as_owner: Client, name: str, asked: str) -> None:
    make_analysis(owner, media=make_media(owner, original_name=clean_name(f"{name}.mp4")))
    make_analysis(owner, media=make_media(owner, original_name="another.mp4"))
    found = as_owner.get("/analyses/", {"name": asked}).context["page"]
    assert [analysis.media.original_name for analysis in found] == [f"{name}.mp4"]


def test_a_name_keeps_its_joiners_and_loses_what_turns_it_around() -> None:
    assert clean_name(f"/home/x/{RAB}\u202e\u200b4pm.exe") == f"{RAB}4pm.exe"
    assert clean_name("\u200d\u200c") == "file"


def test_receipts_are_all_there_a_page_at_a_time(owner: User, as_owner: Client) -> None:
    now = timezone.now()
    DeletionReceipt.objects.bulk_create(
        DeletionReceipt(
            owner=owner,
            media_public_id=f"{number:024x}",
            sha256=f"{number:064x}",
            md5=f"{number:032x}",
            size=1,
            received_at=now,
            deleted_at=now - timedelta(days=number),
        )
        for number in range(25)
    )
    first, second = (as_owner.get("/analyses/", asked).content.decode() for asked in ({}, {"receipts": "2"}))
    assert "?receipts=2#receipts" in first
    assert [f"{number:064x}" in first for number in (0, 19, 20)] == [True, True, False]
    assert [f"{number:064x}" in second for number in (19, 20, 24)] == [False, True, True]


def test_a_file_that_a_phone_shares_may_go_into_a_case_and_with_case_details(owner: User, as_owner: Client) -> None:
    open_case(owner, "A matter", {})
    page = as_owner.get("/share/").content.decode()
    assert 'name="complainant_name"' in page
    assert "A matter" in page


def test_progress_is_the_little_that_a_waiting_page_needs(owner: User, as_owner: Client) -> None:
    first, second = make_analysis(owner), make_analysis(owner)
    body = as_owner.get(f"/api/v1/analyses/{second.public_id}/progress/").json()
    assert (body["status"], body["queue_position"], body["finished"]) == ("queued", 1, False)
    services.claim_analysis(first.pk)
    body = as_owner.get(f"/api/v1/analyses/{first.public_id}/progress/").json()
    assert (body["status"], body["stage"], body["stage_text"]) == ("running", "reading", "Reading the file")


def test_the_api_answers_errors_in_one_shape_and_never_html(as_owner: Client) -> None:
    for answer in (
        as_owner.get("/api/v1/analyses/nonsense/"),
        as_owner.put("/api/v1/analyses/"),
        as_owner.post("/api/v1/analyses/", b"{", content_type="application/json"),
        as_owner.get("/api/v1/nothing/"),
    ):
        body = answer.json()
        assert body["code"] == answer.status_code
        assert body["success"] is False
        assert set(body) == {"code", "message", "success", "error"}


def test_an_upload_without_the_csrf_token_is_refused(owner: User, clip: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    with clip.open("rb") as file:
        answer = client.post("/api/v1/analyses/", {"file": file})
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")


@pytest.mark.parametrize("model", ["analysis", "media", "submission", "deletionreceipt", "feedback"])
def test_the_admin_lists_finds_and_opens(done: Analysis, as_admin: Client, model: str) -> None:
    listing = reverse(f"admin:media_analysis_{model}_changelist")
    assert as_admin.get(listing).status_code == 200
    assert as_admin.get(listing, {"q": "clip"}).status_code == 200


def test_the_admin_opens_an_analysis_and_users(done: Analysis, as_admin: Client, owner: User) -> None:
    assert as_admin.get(reverse("admin:media_analysis_analysis_change", args=[done.pk])).status_code == 200
    assert as_admin.get(reverse("admin:accounts_user_changelist"), {"q": "owner"}).status_code == 200
    assert as_admin.get(reverse("admin:accounts_user_change", args=[owner.pk])).status_code == 200
    assert as_admin.get(reverse("admin:accounts_usageentry_changelist")).status_code == 200


def test_the_admin_retries_failed_analyses_only(done: Analysis, owner: User, as_admin: Client) -> None:
    failed = make_analysis(owner, status="failed", error_code="internal_error")
    url = reverse("admin:media_analysis_analysis_changelist")
    as_admin.post(url, {"action": "retry", "_selected_action": [failed.pk, done.pk]})
    failed.refresh_from_db()
    done.refresh_from_db()
    assert (failed.status, done.status) == ("queued", "done")


def test_deleting_media_in_the_admin_removes_the_files_too(done: Analysis, as_admin: Client, settings: Any) -> None:
    as_admin.post(reverse("admin:media_analysis_media_delete", args=[done.media.pk]), {"post": "yes"})
    assert not Media.objects.exists()
    assert not [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


def test_only_staff_sees_the_admin(as_owner: Client) -> None:
    assert as_owner.get(reverse("admin:index")).status_code == 302

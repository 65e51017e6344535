"""Who gets a report, and how: on the site, by the phone apps' two endpoints, and by /api/v1/."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pypdf
import pytest
from django.http import HttpResponse
from django.test import Client

from accounts import tokens
from accounts.models import User
from media_analysis import services as media_services
from media_analysis.models import Analysis
from reports.models import Report
from tests.media_analysis.factories import make_analysis, make_media
from tests.reports.factories import make_reportable

Ask = Callable[..., HttpResponse]
NOBODY = "f" * 24


@pytest.fixture
def ask(client: Client) -> Ask:
    def get(path: str, user: User | None, accept: str = "*/*", **fields: str) -> Any:
        headers = {"accept": accept}
        if user is not None:
            headers["authorization"] = f"Bearer {tokens.log_in(user).access}"
        return client.get(path, fields, headers=headers)

    return get


def is_pdf(answer: Any) -> bool:
    return answer["Content-Type"] == "application/pdf" and len(pypdf.PdfReader(BytesIO(answer.content)).pages) > 1


def error_of(answer: Any) -> tuple[int, str, str]:
    """Status, machine name and text: JSON, whatever was accepted."""
    assert answer["Content-Type"] == "application/json"
    body = answer.json()
    assert body["code"] == answer.status_code
    assert body["success"] is False
    return answer.status_code, body["error"], body["message"]


def test_the_result_page_leads_to_the_report(owner: User, as_owner: Client) -> None:
    analysis = make_reportable(owner, media={"original_name": 'a"b\r\nX-Evil: 1.mp4'})
    address = f"/analyses/{analysis.public_id}/report.pdf"
    assert address in as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()
    answer = as_owner.get(address)
    assert is_pdf(answer)
    name = f"sentinel-report-{analysis.media.public_id}.pdf"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer["Content-Language"] == "en"
    assert "no-store" in answer["Cache-Control"]


def test_nobody_else_gets_it_on_the_site(owner: User, as_stranger: Client, as_admin: Client, client: Client) -> None:
    address = f"/analyses/{make_reportable(owner).public_id}/report.pdf"
    assert as_stranger.get(address).status_code == 404
    assert as_admin.get(address).status_code == 404
    assert client.get(address).status_code == 302
    assert not Report.objects.exists()


def test_the_site_says_why_there_is_none(owner: User, as_owner: Client) -> None:
    waiting = make_analysis(owner)
    failed = make_analysis(owner, status=Analysis.Status.FAILED, error_code="internal_error")
    for analysis, text in ((waiting, "not finished yet"), (failed, "The examination failed, so there is no report.")):
        answer = as_owner.get(f"/analyses/{analysis.public_id}/report.pdf")
        assert answer.status_code == 409
        assert text in answer.content.decode()


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("path", "field", "photo"), [("/pdf", "videoId", False), ("/pdf-image", "imageId", True)])
def test_the_app_is_told_where_it_is_and_gets_it_there(
    *, owner: User, stranger: User, ask: Ask, path: str, field: str, photo: bool, slash: str
) -> None:
    media = make_reportable(owner, photo=photo).media
    answer: Any = ask(path + slash, owner, userId=owner.public_id, **{field: media.public_id})
    assert answer.status_code == 200
    body = answer.json()
    assert body["report"] == f"{media.public_id}.pdf"
    assert body["url"].startswith("http://testserver/api/v1/analyses/")
    there = body["url"].removeprefix("http://testserver")
    assert is_pdf(ask(there, owner))
    assert error_of(ask(there, stranger, accept="application/pdf"))[:2] == (404, "not_found")
    assert error_of(ask(there, None, accept="application/pdf"))[:2] == (401, "not_authenticated")
    media_services.delete_media(media)
    assert error_of(ask(there, owner))[:2] == (404, "not_found")


@pytest.mark.parametrize(("path", "field", "photo"), [("/pdf", "videoId", False), ("/pdf-image", "imageId", True)])
def test_the_app_gets_the_pdf_itself_if_it_accepts_nothing_else(
    owner: User, ask: Ask, path: str, field: str, photo: bool
) -> None:
    media = make_reportable(owner, photo=photo).media
    answer = ask(path, owner, accept="application/pdf", **{field: media.public_id})
    assert is_pdf(answer)
    assert answer["Content-Disposition"] == f'attachment; filename="{media.public_id}.pdf"'


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/pdf"])
def test_refusals_are_those_of_the_contract(owner: User, stranger: User, ask: Ask, accept: str) -> None:
    video = make_reportable(owner).media.public_id
    photo = make_reportable(owner, photo=True).media.public_id
    waiting = make_analysis(owner).media.public_id
    waiting_photo = make_analysis(owner, media=make_media(owner, kind="image")).media.public_id
    failed = make_analysis(owner, status=Analysis.Status.FAILED).media.public_id

    def refused(path: str, user: User | None = owner, **fields: str) -> tuple[int, str, str]:
        return error_of(ask(path, user, accept=accept, **fields))

    assert refused("/pdf", stranger, videoId=video) == (403, "forbidden", "Video doesn't belong to the user")
    assert refused("/pdf", userId=stranger.public_id, videoId=video)[:2] == (403, "forbidden")
    assert refused("/pdf", userId=NOBODY, videoId=video) == (404, "user_not_found", "User not found")
    assert refused("/pdf", videoId=NOBODY) == (404, "video_not_found", "Video not found")
    assert refused("/pdf", videoId=photo) == (404, "video_not_found", "Video not found")
    assert refused("/pdf", videoId=waiting) == (409, "not_finished", "The examination is not finished yet.")
    assert refused("/pdf", videoId=failed)[:2] == (409, "no_result")
    assert refused("/pdf", videoId=video, lang="xx")[:2] == (400, "invalid_field")
    assert refused("/pdf")[:2] == (400, "invalid_field")
    assert refused("/pdf", None, videoId=video)[:2] == (401, "not_authenticated")
    assert refused("/pdf-image", stranger, imageId=photo)[:2] == (403, "forbidden")
    assert refused("/pdf-image", imageId=NOBODY) == (404, "image_not_found", "Image not found")
    assert refused("/pdf-image", imageId=video) == (404, "image_not_found", "Image not found")
    assert refused("/pdf-image", imageId=waiting_photo)[:2] == (409, "not_finished")
    assert not Report.objects.exists()


def test_what_cannot_be_answered_so_is_refused_in_json(owner: User, ask: Ask) -> None:
    analysis = make_reportable(owner)
    for path, fields in (
        ("/pdf", {"videoId": analysis.media.public_id}),
        (f"/api/v1/analyses/{analysis.public_id}/report/", {}),
    ):
        assert error_of(ask(path, owner, accept="image/png", **fields))[:2] == (406, "not_acceptable")


def test_the_newer_api_answers_both_ways(owner: User, ask: Ask, as_owner: Client) -> None:
    analysis = make_reportable(owner)
    path = f"/api/v1/analyses/{analysis.public_id}/report/"
    assert is_pdf(ask(path, owner))
    assert is_pdf(ask(path, owner, accept="application/pdf", lang="en"))
    assert is_pdf(as_owner.get(path))
    body: Any = ask(path, owner, accept="application/json").json()  # type: ignore[attr-defined]
    assert body == {"report": f"{analysis.media.public_id}.pdf", "url": f"http://testserver{path}?lang=en"}
    assert Report.objects.count() == 1
    assert error_of(ask(path, owner, lang="xx"))[:2] == (400, "invalid_field")


def test_what_could_not_be_assessed_has_its_report(owner: User, ask: Ask) -> None:
    analysis = make_reportable(owner, "NOT_ASSESSABLE")
    assert is_pdf(ask("/pdf", owner, accept="application/pdf", videoId=analysis.media.public_id))

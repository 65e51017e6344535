"""Papers for the police and the court: filled in as far as the site knows, and no further."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pypdf import PdfReader

from accounts.models import User
from media_analysis import custody
from media_analysis.models import Analysis, LinkSource
from reports import document, package
from reports.paperwork import (
    LONGEST_DESCRIPTION,
    SHORTEST_DESCRIPTION,
    Party,
    compose_certificate,
    describe,
    facts_of,
)
from reports.pdf import Xhtml2Pdf, get_engine
from tests.conftest import make_user
from tests.media_analysis.factories import make_analysis
from tests.reports.factories import make_reportable

pytestmark = pytest.mark.django_db

LANGUAGES = [code for code, _name in django_settings.LANGUAGES]


@pytest.fixture
def owner() -> User:
    return make_user("owner")


@pytest.fixture
def signed_in(client: Client, owner: User) -> Client:
    client.force_login(owner)
    return client


def text_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages).split())


def address(analysis: Analysis, name: str = "papers") -> str:
    return reverse(f"reports:{name}", args=[analysis.public_id])


def test_the_certificate_repeats_the_form_and_fills_in_what_was_given(signed_in: Client, owner: User) -> None:
    analysis = make_reportable(owner)
    given = {"name": "Asha Patil", "devices": ["Mobile", "Cloud"], "roles": ["Owned"], "place": "Pune"}
    answer = signed_in.post(address(analysis), given)
    assert answer["Content-Type"] == "application/pdf"
    text = text_of(answer.content)
    for words in (
        "PART A (To be filled by the Party)",
        "PART B (To be filled by the Expert)",
        "I, Asha Patil (Name)",
        "[X] Mobile",
        "[X] Cloud",
        "[ ] Server",
        "[X] Owned",
        "[X] SHA256:",
        "Hash report, enclosed with the certificate",
        "Draft. Not a certificate until it is signed.",
    ):
        assert words in text
    assert text.replace(" ", "").count(analysis.media.sha256) == 3
    # Part B is the expert's.
    part_b = text.partition("PART B")[2].partition("Hash report, enclosed")[0]
    assert "Asha" not in part_b
    assert "[X] Mobile" not in part_b


def test_the_certificate_can_be_made_without_pango(owner: User) -> None:
    document = compose_certificate(make_reportable(owner), Party(name="Asha"), Xhtml2Pdf(), made_at=timezone.now())
    assert "I, Asha (Name)" in text_of(Xhtml2Pdf().render(document.markup, document.parts))


def test_what_was_entered_is_nowhere_but_in_the_draft(signed_in: Client, owner: User) -> None:
    analysis = make_reportable(owner)
    signed_in.post(address(analysis), {"name": "Nobody Else Knows"})
    last = custody.events_of(analysis.media.public_id).last()
    assert last is not None
    assert (last.event, last.actor, last.details) == (
        custody.Event.DOWNLOADED,
        owner.public_id,
        {"what": "certificate", "language": "en"},
    )
    assert "Nobody" not in signed_in.get(address(analysis)).content.decode()


def test_markup_that_was_entered_stays_text(signed_in: Client, owner: User) -> None:
    answer = signed_in.post(address(make_reportable(owner)), {"name": "<img src=x> & \u202eevil"})
    assert "I, <img src=x> & evil (Name)" in text_of(answer.content)


def test_too_long_entries_are_refused_with_the_form(signed_in: Client, owner: User) -> None:
    answer = signed_in.post(address(make_reportable(owner)), {"name": "x" * 201})
    assert answer.status_code == 400
    assert "errorlist" in answer.content.decode()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("outcome", ["FAKE", "NOT_ASSESSABLE"])
def test_the_description_fits_into_the_portal_s_box(owner: User, outcome: str, language: str) -> None:
    analysis = make_reportable(owner, outcome, media={"original_name": ("നീളമുള്ള & <b>" * 20)[:255]})
    text = describe(analysis, language)
    assert SHORTEST_DESCRIPTION <= len(text) <= LONGEST_DESCRIPTION
    assert analysis.media.sha256 in text
    assert "& <b>" in text
    assert "\n" not in text


def test_the_packet_holds_what_the_portal_asks_for(signed_in: Client, owner: User) -> None:
    analysis = make_reportable(owner, case={"complainant_name": "Meera"})
    page = signed_in.get(address(analysis)).content.decode()
    answer = signed_in.get(address(analysis, "packet_pdf"))
    for text in (page, text_of(answer.content)):
        for words in ("cybercrime.gov.in", "1930", analysis.media.md5, analysis.public_id, "Meera"):
            assert words in text
    last = custody.events_of(analysis.media.public_id).last()
    assert last is not None
    assert last.details["what"] == "packet"


def a_link(analysis: Analysis, **known: Any) -> LinkSource:
    link = LinkSource(media=analysis.media, url="https://youtu.be/x?si=1", key="0" * 64, **known)
    link.save()
    analysis.media.refresh_from_db()
    return link


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({}, "https://youtu.be/x?si=1"),
        ({"canonical_url": "https://www.youtube.com/watch?v=x"}, "https://www.youtube.com/watch?v=x"),
        ({"claims": {"post_url": "https://x.com/poster/status/1"}}, "https://x.com/poster/status/1"),
    ],
)
def test_the_packet_says_where_others_find_the_file(owner: User, known: dict[str, Any], told: str) -> None:
    analysis = make_reportable(owner, faces=1)
    assert "Link" not in dict(facts_of(analysis))
    a_link(analysis, **known)
    assert dict(facts_of(analysis))["Link"] == told


def test_a_file_came_when_its_link_was_fetched(owner: User) -> None:
    analysis = make_reportable(owner, faces=1)
    given = facts_of(analysis)
    fetched = analysis.media.created_at + timedelta(days=3)
    a_link(analysis, fetched_at=fetched)
    assert dict(facts_of(analysis))["Received by Sentinel"] != dict(given)["Received by Sentinel"]
    assert package.describe_analysis(analysis)["media"]["received_at"] == fetched.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_of_a_part_nobody_certifies_that_it_is_as_it_was_received(owner: User) -> None:
    analysis = make_reportable(owner, faces=1)

    def markup() -> tuple[str, str, str]:
        """Certificate, report and README."""
        now = timezone.now()
        texts = (
            compose_certificate(analysis, Party(), get_engine(), made_at=now).markup,
            document.compose(analysis, "en", get_engine(), made_at=now).markup,
            package._readmes(analysis, "original.mp4", {"en": b""}, made_at=now, site="")["README.txt"],
        )
        certificate, report, readme = (" ".join(text.split()) for text in texts)
        return certificate, report, readme

    whole = ("of the bytes as they were received", "calculated while it was received", "exactly as it was received")
    part = ("of the part from 2.0 to 9.5 seconds", "when it had been cut out", "cut out of the longer video")
    assert [said in text for said, text in zip(whole, markup(), strict=True)] == [True] * 3
    a_link(analysis, cut_start=2.5, cut_end=9.5, cut_from=2.0, cut_to=9.5, whole_sha256="d" * 64)
    assert [said in text for said, text in zip(whole, markup(), strict=True)] == [False] * 3
    assert [said in text for said, text in zip(part, markup(), strict=True)] == [True] * 3
    assert "d" * 64 in markup()[0]


def test_only_its_owner_gets_papers(client: Client, owner: User) -> None:
    analysis = make_reportable(owner)
    assert client.get(address(analysis)).status_code == 302
    client.force_login(make_user("stranger"))
    for name in ("papers", "packet_pdf"):
        assert client.get(address(analysis, name)).status_code == 404
    assert client.post(address(analysis), {}).status_code == 404


def test_there_are_no_papers_before_the_end(signed_in: Client, owner: User) -> None:
    assert signed_in.get(address(make_analysis(owner))).status_code == 409


def test_an_operator_s_wording_goes_before_ours(owner: User, tmp_path: Path, settings: Any) -> None:
    folder = tmp_path / "reports" / "paperwork"
    folder.mkdir(parents=True)
    (folder / "certificate.html").write_text(
        "<html><head><title>t</title></head><body>As our court wants it</body></html>"
    )
    templates = dict(settings.TEMPLATES[0])
    templates["DIRS"] = [tmp_path, *templates["DIRS"]]
    settings.TEMPLATES = [templates]
    engine = get_engine()
    document = compose_certificate(make_reportable(owner), Party(), engine, made_at=timezone.now())
    assert "As our court wants it" in document.markup

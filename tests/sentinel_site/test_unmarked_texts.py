"""No text on a page is left unmarked for translation.

Every message is translated into itself between brackets; whatever words stand outside of brackets then have no
translation in any language.
"""

from __future__ import annotations

import re
import time
from base64 import b32decode
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import hotp

from accounts import second_factor, tokens
from accounts.models import Passkey, User
from media_analysis import cards, cases, custody, services
from media_analysis.models import Analysis, CaseRole, Media
from reports import case_documents
from reports.models import CaseDocument
from tests.conftest import PASSWORD
from tests.media_analysis.factories import a_result, make_analysis, make_done, make_feedback, make_media

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent.parent
# Django knows Esperanto, and nobody has asked for it here.
PSEUDO = "eo"
# Names and codes that are the same in every language.
NAMES = {
    *("English", "owner", "clip", "photo", "jpg", "mp4", "Sentinel", "sha", "SHA", "MD5", "JPEG", "tiny", "test"),
    *("example", "org", "h264", "IST", "sentinel", "lite", "cccccccccccc", "bytes", "Apache", "CC0", "efficientnet"),
    *("API", "PDF", "URL", "Esperanto"),
}
SHOWN_ATTRIBUTES = {"alt", "title", "placeholder", "aria-label", "label"}


class Texts(HTMLParser):
    """Collects what a reader or a screen reader gets of a page, without code and without quotations in English."""

    SILENT = {"script", "style", "code", "pre", "svg"}

    def __init__(self) -> None:
        super().__init__()
        self.flow: list[str] = []
        self.attributes: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        quoted = given.get("lang") not in {None, PSEUDO}
        void = tag in {"img", "input", "meta", "link", "br", "hr", "use", "source"}
        if self._silent:
            if not void:
                self._silent.append(tag)
            return
        if (tag in self.SILENT or quoted) and not void:
            self._silent.append(tag)
            return
        shown = [value for name, value in attrs if name in SHOWN_ATTRIBUTES or name.startswith("data-text")]
        if tag == "meta" and given.get("name") == "description":
            shown.append(given.get("content"))
        self.attributes += [value for value in shown if value]

    def handle_endtag(self, tag: str) -> None:
        if self._silent and tag == self._silent[-1]:
            self._silent.pop()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.flow.append(data)


def bracketed(text: str) -> str:
    """The text between brackets, white space at the ends outside, as templates want it."""
    return re.sub(r"^(\s*)(.*?)(\s*)$", r"\1⟦\2⟧\3", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def pseudo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locale")
    catalog = Catalog(locale=PSEUDO)
    with (ROOT / "locale/hi/LC_MESSAGES/django.po").open("rb") as file:
        for message in read_po(file):
            if isinstance(message.id, str):
                if message.id:
                    catalog.add(message.id, bracketed(message.id), context=message.context)
            else:
                catalog.add(message.id, [bracketed(text) for text in message.id], context=message.context)
    target = folder / PSEUDO / "LC_MESSAGES"
    target.mkdir(parents=True)
    with (target / "django.mo").open("wb") as file:
        write_mo(file, catalog)
    return folder


@pytest.fixture
def _pseudo(pseudo_folder: Path, settings: Any) -> None:
    # Django forgets the catalogues it read whenever one of these changes.
    settings.LOCALE_PATHS = [pseudo_folder]
    settings.LANGUAGES = [("en", "English"), (PSEUDO, "English")]
    settings.LANGUAGE_CODE = PSEUDO


def unmarked(page: str) -> list[str]:
    """Texts of a page with words outside of brackets. A message may go on through several elements."""
    texts = Texts()
    texts.feed(page)
    left = []
    for text in ["\n".join(texts.flow), *texts.attributes]:
        bare = text
        while (shorter := re.sub(r"⟦[^⟦⟧]*⟧", " ", bare)) != bare:
            bare = shorter
        for line in bare.splitlines():
            # Neither ids nor digests are words.
            spelled = re.sub(r"\b[0-9a-f]{24,}\b", "", line)
            words = [word for word in re.findall(r"[A-Za-z]{3,}", spelled) if word not in NAMES]
            if words:
                left.append(line.strip())
    return left


def states(owner: User) -> Iterator[Analysis]:
    """An analysis in every state that a page shows."""
    yield make_analysis(owner, spent=False)
    yield make_analysis(owner, spent=False, status=Analysis.Status.RUNNING, stage=Analysis.Stage.JUDGING, progress=40)
    yield make_analysis(owner, spent=False, status=Analysis.Status.FAILED, error_code="internal_error")
    yield make_done(owner)
    yield make_done(owner, media=make_media(owner, kind=Media.Kind.IMAGE, original_name="photo.jpg"))
    nothing: dict[str, Any] = {"tracks": [], "fake_probability": None, "confidence": None, "outcome": "NOT_ASSESSABLE"}
    yield make_done(
        owner,
        outcome="NOT_ASSESSABLE",
        reason="no_face",
        fake_probability=None,
        confidence=None,
        result=a_result(**nothing, reason="no_face"),
    )
    for outcome, probability in (("REAL", 0.1), ("INCONCLUSIVE", 0.5)):
        found = a_result(outcome=outcome, fake_probability=probability)
        yield make_done(owner, outcome=outcome, fake_probability=probability, result=found)


@pytest.mark.usefixtures("_pseudo")
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/accounts/signup/",
        "/accounts/login/",
        "/accounts/password-reset/",
        "/accounts/password-reset/sent/",
        "/accounts/password-reset/complete/",
        "/models/",
        "/models/sentinel-lite/",
        "/check/",
        "/check/?d=000000000000000000000000",
        "/developers/",
        "/offline/",
        "/no/such/page/",
    ],
)
def test_pages_for_everybody_have_no_unmarked_text(client: Client, path: str) -> None:
    assert unmarked(client.get(path).content.decode()) == []


@pytest.mark.usefixtures("_pseudo")
@pytest.mark.parametrize(
    "path",
    [
        "/analyses/",
        "/analyses/new/",
        "/accounts/",
        "/accounts/delete/",
        "/accounts/x/",
        "/accounts/password/",
        "/accounts/password/done/",
        "/accounts/security/",
        "/accounts/security/code-app/",
        "/accounts/confirm/",
        "/notifications/",
        "/cases/",
        "/cases/new/",
    ],
)
def test_pages_of_a_user_have_no_unmarked_text(as_owner: Client, owner: User, path: str) -> None:
    for analysis in states(owner):
        if analysis.status == Analysis.Status.DONE:
            make_feedback(analysis, comment="")
    assert unmarked(as_owner.get(path).content.decode()) == []


@pytest.mark.usefixtures("_pseudo")
def test_pages_about_a_second_factor_have_no_unmarked_text(as_owner: Client, client: Client, owner: User) -> None:
    code = str(hotp(b32decode(second_factor.begin_totp(owner)), int(time.time()) // 30)).zfill(6)
    pages = [as_owner.post("/accounts/security/code-app/", {"code": code})]
    tokens.log_in(owner, device="clip")
    Passkey.objects.create(user=owner, name="clip", credential_digest="c")
    pages.append(as_owner.get("/accounts/security/"))
    client.post("/accounts/login/", {"username": "owner", "password": PASSWORD})
    pages += [client.get("/accounts/login/code/"), client.post("/accounts/login/code/", {"code": "c"})]
    for number, page in enumerate(pages):
        texts = re.sub(r"\b[a-z2-7]{4}(-[a-z2-7]{4}){3}\b", "", page.content.decode())
        assert unmarked(texts) == [], number


@pytest.mark.usefixtures("_pseudo")
def test_cases_and_custody_logs_have_no_unmarked_text(as_owner: Client, owner: User) -> None:
    case = cases.open_case(owner, "clip", {})
    seat = cases.take_seat(owner, case.public_id)
    cases.invite(seat, "owner@clip.example", CaseRole.VIEWER)
    cases.add_note(seat, "clip")
    media = [analysis.media for analysis in states(owner)]
    cases.add_media(seat, [each.public_id for each in media])
    services.delete_media(media.pop(), actor=owner)
    make_media(owner)
    custody.record(media[0].public_id, custody.Event.RECEIVED, actor=owner, source="web")
    for name in ("case", "case_edit", "case_files", "case_delete"):
        page = as_owner.get(reverse(f"media_analysis:{name}", args=[case.public_id]))
        assert page.status_code == 200
        assert unmarked(page.content.decode()) == [], name
    for state, error in (("waiting", ""), ("making", ""), ("ready", ""), ("failed", "internal_error")):
        document, _is_new = case_documents.ask_for(seat, "report", PSEUDO)
        CaseDocument.objects.filter(pk=document.pk).update(
            slot=state, state=state, error_code=error, total=2 * (state == "making"), finished_at=timezone.now()
        )
    CaseDocument.objects.filter(state__in=("waiting", "making")).update(finished_at=None)
    page = as_owner.get(reverse("reports:case_documents", args=[case.public_id]))
    assert page.content.decode().count("data-document=") == 4
    assert unmarked(page.content.decode()) == []
    page = as_owner.get(reverse("media_analysis:custody", args=[media[0].public_id]))
    assert unmarked(page.content.decode()) == []


@pytest.mark.usefixtures("_pseudo")
def test_results_have_no_unmarked_text_in_any_state(as_owner: Client, owner: User) -> None:
    for analysis in states(owner):
        page = as_owner.get(reverse("reports:result", args=[analysis.public_id]))
        assert page.status_code == 200
        assert unmarked(page.content.decode()) == [], analysis.outcome or analysis.status
        if analysis.status == Analysis.Status.DONE:
            papers = as_owner.get(reverse("reports:papers", args=[analysis.public_id]))
            assert unmarked(papers.content.decode()) == []


@pytest.mark.usefixtures("_pseudo")
def test_public_cards_have_no_unmarked_text(client: Client, owner: User) -> None:
    for analysis in states(owner):
        if analysis.status == Analysis.Status.DONE:
            card = cards.publish(analysis, by=owner)
            page = client.get(reverse("reports:card", args=[card.public_id]))
            assert page.status_code == 200
            assert unmarked(page.content.decode()) == [], analysis.outcome
    assert unmarked(client.get(reverse("reports:card", args=["0" * 24])).content.decode()) == []


@pytest.mark.usefixtures("_pseudo")
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/accounts/signup/", {"username": "a b", "email": "nobody", "password1": "123", "password2": "456"}),
        ("/accounts/login/", {"username": "nobody", "password": "x"}),
    ],
)
def test_what_a_form_finds_wrong_has_no_unmarked_text(client: Client, path: str, fields: dict[str, str]) -> None:
    assert unmarked(client.post(path, fields).content.decode()) == []


@pytest.mark.usefixtures("_pseudo")
def test_what_the_api_finds_wrong_has_no_unmarked_text(client: Client, as_owner: Client) -> None:
    for answer in (
        client.get("/api/v1/analyses/"),
        client.post("/users/signup", {"username": "", "email": "x", "password": "1"}),
        as_owner.post("/api/v1/analyses/", {}),
        as_owner.get("/api/v1/analyses/?page=x"),
    ):
        body = answer.json()
        texts = [body["message"], *(text for found in body.get("errors", {}).values() for text in found)]
        assert [text for text in texts if not text.startswith("⟦")] == []

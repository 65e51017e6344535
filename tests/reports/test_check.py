"""The page and the API where anybody may ask whether a document came from here."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import SkipFile
from django.test import Client

from reports import check_uploads, checking, issued, seal
from reports.checking import Answer
from reports.models import IssuedDocument
from tests.reports.sealing import NUMBER, REASON, a_pdf, a_sealed_pdf, added_to, another_key, key_of_another

pytestmark = pytest.mark.django_db
PAGE, API = "/check/", "/api/v1/check/"
TITLES = {answer: str(title) for answer, title in checking.TITLES.items()}


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def sealed() -> bytes:
    """A report that was issued here."""
    made = a_sealed_pdf()
    issued.register(digest_of(made), IssuedDocument.Kind.REPORT, public_id=NUMBER)
    return made


def ask(content: bytes, name: str = "report.pdf") -> tuple[Answer, str]:
    """What the API says of a file, and what the page shows, which have to agree."""
    client = Client()
    told: Any = client.post(API, {"file": SimpleUploadedFile(name, content)})
    assert told.status_code == 200
    body = told.json()
    answer = Answer(body["result"])
    assert body["sha256"] == digest_of(content)
    page = client.post(PAGE, {"file": SimpleUploadedFile(name, content)})
    shown = page.content.decode()
    assert [title for title in TITLES.values() if f">{title}<" in shown] == [TITLES[answer]]
    assert (body["document"] is not None) is (answer is Answer.GENUINE)
    return answer, shown


def test_what_was_issued_is_genuine_and_nothing_else_is_told(sealed: bytes) -> None:
    answer, shown = ask(sealed)
    assert answer is Answer.GENUINE
    assert NUMBER in shown
    body: Any = Client().post(API, {"file": SimpleUploadedFile("x", sealed)}).json()
    assert set(body) == {"result", "message", "sha256", "document"}
    assert set(body["document"]) == {"id", "kind", "issued_at"}
    assert (body["document"]["id"], body["document"]["kind"]) == (NUMBER, "report")


def test_one_changed_byte_in_any_region_is_found(sealed: bytes) -> None:
    places = {
        "header": 6,
        "body": 40,
        "number": sealed.index(NUMBER.encode()) + 5,
        "signed ranges": sealed.index(b"/ByteRange [0 ") + 14,
        "key word": sealed.index(b"/ByteRange") + 3,
        "signature": sealed.index(b"/Contents <") + 2500,
        "certificate": sealed.index(b"/Contents <") + 600,
        "padding": sealed.index(b"000>"),
        "end": len(sealed) - 3,
    }
    for place, position in places.items():
        changed = bytearray(sealed)
        changed[position] ^= 1
        found = checking.check_content(digest_of(bytes(changed)), bytes(changed))
        # Where the marks that the seal is found by are hit, its number still tells whose it was.
        assert found.answer in {Answer.CHANGED, Answer.DAMAGED}, place
        assert found.document is None
    changed = bytearray(sealed)
    changed[40] ^= 1
    assert ask(bytes(changed))[0] is Answer.CHANGED


@pytest.mark.parametrize("tail", [b"\n", b"% a remark\n"])
def test_what_was_added_to_is_told(sealed: bytes, tail: bytes) -> None:
    assert ask(sealed + tail)[0] is Answer.ADDED_TO


def test_a_later_update_is_told(sealed: bytes) -> None:
    assert ask(added_to(sealed))[0] is Answer.ADDED_TO


def test_the_seal_of_another_is_told() -> None:
    with key_of_another():
        theirs = seal.sign_pdf(a_pdf(2), reason="A report").content
    answer, shown = ask(theirs)
    assert answer is Answer.OTHER_KEY
    assert "Sentinel document seal " in shown


def test_a_forgery_under_our_number_is_told_as_that_of_another(sealed: bytes) -> None:
    with key_of_another():
        theirs = seal.sign_pdf(a_pdf(2), reason=REASON).content
    assert ask(theirs)[0] is Answer.OTHER_KEY


def test_the_name_in_a_foreign_seal_is_shown_as_text(settings: Any, sealed: bytes) -> None:
    found = seal.check_pdf(sealed, ())
    assert found.state is seal.State.OTHER_KEY
    assert seal._name_in(object()) == ""


def test_what_is_cut_off_is_damaged(sealed: bytes) -> None:
    assert ask(sealed[:-200])[0] is Answer.DAMAGED


@pytest.mark.parametrize("content", [b"not a PDF", b"%PDF-1.7\n%%EOF\n", b"PK\3\4 not ours"])
def test_what_is_not_ours_is_not_known(sealed: bytes, content: bytes) -> None:
    assert ask(content)[0] is Answer.UNKNOWN


def test_what_only_bears_our_number_is_not_that_document(sealed: bytes) -> None:
    content = b"%PDF-1.7 (Issued by Sentinel as document " + NUMBER.encode() + b")\n%%EOF\n"
    assert ask(content)[0] is Answer.CHANGED


def test_our_seal_without_an_entry_is_told_apart() -> None:
    assert ask(a_sealed_pdf())[0] is Answer.NOT_LISTED


def test_it_stays_genuine_under_a_new_key(sealed: bytes, settings: Any) -> None:
    changed = sealed + b"\n"
    settings.SENTINEL_SIGNING_KEY = another_key()
    assert ask(sealed)[0] is Answer.GENUINE
    assert ask(changed)[0] is Answer.ADDED_TO


def test_a_package_is_told_by_its_digest_alone(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(check_uploads, "MOST_PDF_BYTES", 1000)
    monkeypatch.setattr(check_uploads, "check_content", None)
    package = b"PK\3\4" + b"x" * 300_000
    issued.register(digest_of(package), IssuedDocument.Kind.PACKAGE)
    answer, shown = ask(package, "package.zip")
    assert answer is Answer.GENUINE
    assert "evidence package" in shown
    answer, shown = ask(package[:-1], "package.zip")
    assert answer is Answer.UNKNOWN
    # One byte of it is missing: nothing may be said that is not so of the rest.
    assert "or it was changed: a single byte is enough" in shown
    # Nothing of it is kept.
    assert not any(path.is_file() for path in Path(settings.FILE_UPLOAD_TEMP_DIR).rglob("*"))


def test_only_the_first_of_several_files_is_held() -> None:
    handler = check_uploads.CheckUploadHandler()
    handler.new_file("file", "a", "application/pdf", 3)
    handler.receive_data_chunk(b"abc", 0)
    handler.file_complete(3)
    with pytest.raises(SkipFile):
        handler.new_file("file", "b", "application/pdf", 3)


@pytest.mark.parametrize("form", ["{}", "{}".upper(), " {}\n", "{}  report.pdf", "SHA256(report.pdf)= {}", "sha256:{}"])
def test_a_digest_is_enough(sealed: bytes, form: str) -> None:
    given = form.format(digest_of(sealed))
    body: Any = Client().post(API, {"sha256": given.upper() if form.isupper() else given}, "application/json").json()
    assert body["result"] == "genuine"
    shown = Client().post(PAGE, {"sha256": given}).content.decode()
    assert TITLES[Answer.GENUINE] in shown
    assert TITLES[Answer.UNKNOWN] in Client().post(PAGE, {"sha256": "0" * 64}).content.decode()


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ({}, "file_missing", "Choose a document first, or enter its SHA-256."),
        ({"sha256": "12ab"}, "invalid_field", "A SHA-256 has 64 digits from 0 to 9 and letters from a to f."),
        ({"sha256": "a" * 65}, "invalid_field", "A SHA-256 has 64 digits from 0 to 9 and letters from a to f."),
    ],
)
def test_what_cannot_be_checked_is_refused(given: dict[str, str], code: str, text: str) -> None:
    told: Any = Client().post(API, given)
    assert (told.status_code, told.json()["error"]) == (400, code)
    page = Client().post(PAGE, given)
    assert page.status_code == 400
    assert text in page.content.decode()


@pytest.mark.parametrize("body", ["[1]", '{"sha256": 5}', '{"sha256": null}', '{"file": "x"}', '"x"'])
def test_odd_bodies_are_refused(body: str) -> None:
    told: Any = Client().post(API, body, "application/json")
    assert told.status_code == 400
    assert json.loads(told.content)["success"] is False


def test_a_file_over_the_limit_is_refused(settings: Any) -> None:
    settings.SENTINEL_MAX_UPLOAD_BYTES = 10
    for path in (PAGE, API):
        assert Client().post(path, {"file": BytesIO(b"x" * 11)}).status_code == 412


def test_a_number_leads_to_what_can_be_compared(sealed: bytes) -> None:
    shown = Client().get(PAGE, {"d": NUMBER}).content.decode()
    assert digest_of(sealed) in shown
    assert "Anybody can copy a number" in " ".join(shown.split())
    for wrong in ("0" * 24, "x", "'" * 24, NUMBER.upper()):
        assert "No document with this number was made here" in Client().get(PAGE, {"d": wrong}).content.decode()


def test_asking_often_is_refused(settings: Any, sealed: bytes) -> None:
    cache.clear()
    settings.SENTINEL_CHECK_RATE = "3/min"
    client = Client()
    statuses = [client.post(PAGE, {"sha256": "0" * 64}).status_code for _ in range(2)]
    statuses += [client.post(API, {"sha256": "0" * 64}).status_code for _ in range(2)]
    assert statuses == [200, 200, 200, 429]
    answer = client.get(PAGE, {"d": NUMBER})
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    # The form itself is there for everybody.
    assert client.get(PAGE).status_code == 200
    assert Client(REMOTE_ADDR="192.0.2.7").post(PAGE, {"sha256": "0" * 64}).status_code == 200
    cache.clear()


def test_who_is_logged_in_can_ask_too(as_owner: Client, sealed: bytes) -> None:
    for path in (PAGE, API):
        answer = as_owner.post(path, {"file": SimpleUploadedFile("x.pdf", sealed)})
        assert answer.status_code == 200
        assert NUMBER in answer.content.decode()


def test_it_is_linked_needs_no_account_and_no_token(client: Client) -> None:
    assert f'href="{PAGE}"' in client.get("/").content.decode()
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post(PAGE, {"sha256": "0" * 64})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert strict.post(API, {"sha256": "0" * 64})["Cache-Control"] == "no-store"
    assert client.head(PAGE).status_code == 200
    assert client.put(PAGE).status_code == 405


def test_the_certificates_can_be_had(client: Client) -> None:
    answer = client.get("/check/certificates.pem")
    assert answer.content.decode() == seal.certificate_pem()
    assert seal.certificate_fingerprint() in client.get(PAGE).content.decode()


def test_the_same_bytes_are_noted_once() -> None:
    first = issued.register("AB" * 32, IssuedDocument.Kind.PACKAGE)
    assert issued.register("ab" * 32, IssuedDocument.Kind.PACKAGE) == first
    assert IssuedDocument.objects.count() == 1

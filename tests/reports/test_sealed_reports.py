"""Reports as they leave the building: sealed, listed, with a code that leads to the page for checks."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pypdf
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import User
from media_analysis import services as media_services
from reports import checking, document, seal, services, timestamps
from reports.checking import Answer
from reports.models import IssuedDocument, Report, Timestamp
from reports.pdf import Xhtml2Pdf, get_engine
from tests.reports.factories import make_reportable

SITE = "https://sentinel.example.org"


def text_of(pdf: bytes, *, last: bool = False) -> str:
    pages = pypdf.PdfReader(BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in (pages[-1:] if last else pages)).split())


def scan(pdf: bytes, folder: Path) -> str:
    """What a scanner reads in the corner of the first page that the code is in; empty without one.

    At the dots an inch of office scanners: OpenCV's detector misses a code now and then that any telephone reads.
    """
    (folder / "report.pdf").write_bytes(pdf)
    for resolution in (200, 300):
        command = ["pdftoppm", "-r", str(resolution), "-png", "-l", "1", "-singlefile", "report.pdf", "page"]
        subprocess.run(command, cwd=folder, check=True)
        picture = cv2.imread(str(folder / "page.png"))
        assert isinstance(picture, np.ndarray)
        height, width = picture.shape[:2]
        if told := cv2.QRCodeDetector().detectAndDecode(picture[: height // 3, width // 2 :])[0]:
            return str(told)
    return ""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[document.SealNote]:
    """Has reports say next to nothing, which saves time; gives what they would say of their seals."""
    told: list[document.SealNote] = []

    def compose(*_args: Any, seal: document.SealNote, **_kwargs: Any) -> document.Document:
        told.append(seal)
        return document.Document('<!DOCTYPE html><html lang="en"><head><title>Short</title></head></html>')

    monkeypatch.setattr(services, "compose", compose)
    return told


needs_poppler = pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler is not installed")


@needs_poppler
@pytest.mark.parametrize("make_engine", [get_engine, Xhtml2Pdf], ids=["weasyprint", "xhtml2pdf"])
def test_a_report_is_sealed_listed_and_leads_to_its_check(
    *, owner: User, as_owner: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_engine: Any
) -> None:
    monkeypatch.setattr(services, "get_engine", make_engine)
    settings.SENTINEL_URL = SITE
    analysis = make_reportable(owner)
    answer: Any = as_owner.get(f"/analyses/{analysis.public_id}/report.pdf")
    pdf, report = answer.content, Report.objects.get()
    assert seal.check_pdf(pdf).state is seal.State.INTACT
    assert report.sha256 == hashlib.sha256(pdf).hexdigest()
    assert (report.size, report.timestamp) == (len(pdf), Timestamp.NONE)
    listed = IssuedDocument.objects.get()
    assert (listed.sha256, listed.public_id, listed.kind) == (report.sha256, report.public_id, "report")
    assert scan(pdf, tmp_path) == f"{SITE}/check/?d={report.public_id}"
    told = text_of(pdf, last=True)
    for text in (report.public_id, seal.certificate_fingerprint(), f"{SITE}/check/?d="):
        assert text.replace(" ", "") in told.replace(" ", "")
    assert pypdf.PdfReader(BytesIO(pdf)).get_fields()["Seal"]["/V"]["/Reason"].endswith(report.public_id)  # type: ignore[index]
    assert seal.numbers_in(pdf) == [report.public_id]


@pytest.mark.usefixtures("short")
def test_it_stays_genuine_when_all_else_is_deleted(owner: User) -> None:
    analysis = make_reportable(owner)
    pdf = services.read_report(services.get_report(analysis, "en"))
    media_services.delete_media(analysis.media)
    owner.delete()
    assert not Report.objects.exists()
    body: Any = Client().post("/api/v1/check/", {"file": SimpleUploadedFile("x.pdf", pdf)}).json()
    assert body["result"] == "genuine"
    changed = pdf[:-30] + bytes([pdf[-30] ^ 1]) + pdf[-29:]
    assert checking.check_content(hashlib.sha256(changed).hexdigest(), changed).answer is Answer.CHANGED
    # What is kept says nothing about anybody.
    kept = {field.name for field in IssuedDocument._meta.get_fields()}
    assert kept == {"id", "public_id", "kind", "sha256", "issued_at"}


def test_without_an_address_of_the_site_the_one_it_was_asked_at_is_taken(
    owner: User, as_owner: Client, short: list[document.SealNote]
) -> None:
    analyses = [make_reportable(owner) for _number in range(3)]
    services.get_report(analyses[0], "en")
    as_owner.get(f"/analyses/{analyses[1].public_id}/report.pdf")
    as_owner.get(f"/api/v1/analyses/{analyses[2].public_id}/report/", headers={"accept": "application/pdf"})
    expected = ["", *(f"http://testserver/check/?d={note.number}" for note in short[1:])]
    assert [note.check_url for note in short] == expected
    composed = document.compose(analyses[0], "en", get_engine(), made_at=analyses[0].created_at, seal=short[0])
    assert "check.svg" not in composed.parts
    assert "the page “Check a document” of the site that made it" in " ".join(composed.markup.split())
    assert short[0].number in composed.markup


@pytest.mark.usefixtures("short")
def test_the_row_says_that_no_time_stamp_was_to_be_had(
    owner: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timestamps, "_resting_until", 0.0)
    settings.SENTINEL_TIMESTAMP_URL = "http://127.0.0.1:9/"
    assert services.get_report(make_reportable(owner), "en").timestamp == Timestamp.FAILED


@pytest.mark.usefixtures("short")
def test_no_report_leaves_without_its_seal(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise seal.SealError("no")

    monkeypatch.setattr(seal, "_sign_pdf", fail)
    with pytest.raises(seal.SealError):
        services.get_report(make_reportable(owner), "en")
    assert not Report.objects.exists()
    assert not IssuedDocument.objects.exists()


def test_the_code_is_told_to_those_who_cannot_see_it(owner: User) -> None:
    note = document.SealNote("5f12f98cf85c333030ea30cb", f"{SITE}/check/?d=5f12f98cf85c333030ea30cb", "ab" * 32)
    analysis = make_reportable(owner)
    composed = document.compose(analysis, "en", get_engine(), made_at=analysis.created_at, seal=note)
    assert f"QR code of the address where this report can be checked: {note.check_url}" in composed.markup
    assert composed.parts["check.svg"].content_type == "image/svg+xml"

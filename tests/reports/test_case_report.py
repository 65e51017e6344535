"""The report over a case, and everything of a case in one file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile

import pypdf
import pytest
from django.template.loader import render_to_string
from django.test import Client

from accounts.models import User
from media_analysis import cases, custody, services
from media_analysis.custody import Event, What
from media_analysis.models import Analysis, Case, CaseRole
from reports import case_documents, case_maker, checking
from reports.case_report import write_case_report
from reports.pdf import get_engine
from reports.presentation import present
from reports.seal import State, check_detached, check_pdf, known_certificates
from tests.media_analysis.factories import make_analysis
from tests.reports.factories import make_reportable
from tests.reports.sealing import a_pdf
from tests.reports.test_package import received

pytestmark = pytest.mark.django_db


@pytest.fixture
def case(owner: User, stranger: User) -> Case:
    """A case of the owner, whose only other member is the stranger."""
    made = cases.open_case(owner, "The <i>case</i> of हिन्दी", {"station": "Kondhwa", "fir_id": "12/2026"})
    seat = cases.take_seat(owner, made.public_id)
    cases.accept_invitation(stranger, cases.invite(seat, "stranger", CaseRole.VIEWER).public_id)
    return made


@pytest.fixture
def found(case: Case, owner: User) -> dict[str, Analysis]:
    """A fake, one that waits, and one that is deleted, in the case."""
    seat = cases.take_seat(owner, case.public_id)
    fake = make_reportable(owner, "FAKE", media={"original_name": "=fake & <b>.mp4"})
    waiting = make_analysis(owner, spent=False)
    gone = make_reportable(owner, "REAL", media={"sha256": "9" * 64})
    for analysis in (fake, waiting, gone):
        custody.record(analysis.media.public_id, Event.RECEIVED, actor=owner)
        cases.add_media(seat, [analysis.media.public_id])
    cases.add_note(seat, "=1+1\nfirst")
    cases.add_note(seat, "second note")
    services.delete_media(gone.media, actor=owner)
    return {"fake": fake, "waiting": waiting}


def taken_away(user: User, case: Case, kind: str) -> bytes:
    """What somebody asks for, is made and downloads."""
    client = Client()
    client.force_login(user, backend="accounts.backends.UsernameOrEmailBackend")
    asked = client.post(f"/api/v1/cases/{case.public_id}/documents/", {"kind": kind})
    assert asked.status_code == 202
    claimed = case_documents.claim_next()
    assert claimed is not None
    case_maker.make(claimed)
    given = client.get(f"{asked['Location']}file/")
    assert (given.status_code, given["Cache-Control"]) == (200, "private, no-store")
    return received(given)


@pytest.mark.slow
def test_the_report_holds_everything_of_the_case(case: Case, found: dict[str, Analysis], stranger: User) -> None:
    content = taken_away(stranger, case, "report")
    pdf = pypdf.PdfReader(io.BytesIO(content))
    text = " ".join(" ".join(page.extract_text() for page in pdf.pages).split())
    for said in (
        *("The <i>case</i> of हिन्दी", "Kondhwa", "12/2026", "=fake & <b>.mp4", "Deleted file", "second note", "=1+1"),
        *("Signs of manipulation found", "for stranger", "Waiting", found["fake"].public_id),
    ):
        assert said in text, said
    assert "a" * 64 in text.replace(" ", "")
    assert "9" * 64 in text.replace(" ", "")
    checked = check_pdf(content)
    assert checked.state is State.INTACT
    taken = custody.events_of(found["fake"].media.public_id).last()
    assert taken is not None
    assert (taken.event, taken.actor, taken.details["what"]) == (Event.DOWNLOADED, stranger.public_id, What.CASE_REPORT)
    assert taken.details["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.slow
def test_the_export_holds_everything_and_no_address_of_others(
    case: Case, found: dict[str, Analysis], owner: User, stranger: User
) -> None:
    media_id = found["fake"].media.public_id
    with custody.acting_from("192.0.2.77"):
        custody.record(media_id, Event.VIEWED, actor=owner, what="page")
    content = taken_away(stranger, case, "export")
    assert b"192.0.2.77" not in content
    members = zipfile.ZipFile(io.BytesIO(content))
    waiting = found["waiting"].media.public_id
    assert set(members.namelist()) == {
        *("case-report.pdf", "case.json", "notes.json", "notes.csv", "SHA256SUMS", "SHA256SUMS.p7s"),
        *(f"reports/{media_id}-en.pdf", f"custody/{media_id}.json", f"custody/{waiting}.json"),
    }
    sums = members.read("SHA256SUMS")
    for line in sums.decode().splitlines():
        digest, name = line.split(maxsplit=1)
        assert hashlib.sha256(members.read(name.lstrip("*"))).hexdigest() == digest
    assert check_detached(sums, members.read("SHA256SUMS.p7s"), known_certificates()).state is State.INTACT
    rows = list(csv.reader(io.StringIO(members.read("notes.csv").decode("utf-8-sig"))))
    assert [row[3] for row in rows[1:]] == ["'=1+1\nfirst", "second note"]
    assert json.loads(members.read("notes.json"))[0]["text"] == "=1+1\nfirst"
    told = json.loads(members.read("case.json"))
    assert [file["deleted"] for file in told["files"]] == [False, False, True]
    assert told["files"][2]["name"] is None
    # The owner gets the addresses of their own file.
    assert b"192.0.2.77" in taken_away(owner, case, "export")


def page_of(analysis: Analysis) -> str:
    """The page of one file in the report over a case."""
    shown = {"media": analysis.media, "analysis": analysis, "report": present(analysis), "summary": None}
    return " ".join(render_to_string("reports/case_pdf/summary.html", shown).split())


def test_a_page_says_what_its_verdict_does_not_mean(owner: User) -> None:
    assert "That does not make the file genuine" in page_of(make_reportable(owner, "REAL", faces=1))
    unclear = page_of(make_reportable(owner, "INCONCLUSIVE", faces=1))
    assert "The signs are too weak to say either way." in unclear
    assert "Take this as no result" in unclear


def test_a_page_of_a_crowd_leaves_nobody_out(owner: User) -> None:
    page = page_of(make_reportable(owner, people=14, faces=1))
    assert [number for number in range(1, 20) if f"Fake probability of person {number} <" in page] == [*range(1, 15)]


def test_a_result_stands_while_its_file_is_examined_again(case: Case, owner: User) -> None:
    done = make_reportable(owner, faces=1)
    custody.record(done.media.public_id, Event.RECEIVED, actor=owner)
    cases.add_media(cases.take_seat(owner, case.public_id), [done.media.public_id])

    def shown() -> Analysis | None:
        [file] = cases.show_files(list(cases.files_of(case)))
        return file.analysis

    again = services.examine_again(done.media, requester=owner)
    assert again is not None
    assert shown() == done
    Analysis.objects.filter(pk=again.pk).update(status=Analysis.Status.FAILED)
    assert shown() == done
    Analysis.objects.filter(pk=again.pk).update(status=Analysis.Status.DONE)
    assert shown() == again


def test_a_report_whose_seal_is_destroyed_is_known_by_its_number(
    case: Case, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_engine(), "render", lambda *_args: a_pdf())
    target = io.BytesIO()
    write_case_report(target, cases.take_seat(owner, case.public_id), "hi", tell=lambda _done, _total: None)
    made = target.getvalue()
    digest = hashlib.sha256(made).hexdigest()
    assert checking.check_content(digest, made).answer is checking.Answer.GENUINE
    destroyed = made.replace(b"/ByteRange", b"/ByteRangf")
    assert checking.check_content(hashlib.sha256(destroyed).hexdigest(), destroyed).answer is checking.Answer.CHANGED

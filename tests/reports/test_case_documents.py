"""Reports and exports of cases: asked for, made once, handed out to whom they are for, and gone when they should be."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import clock
from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import cases, custody, services
from media_analysis.cases import Seat
from media_analysis.models import Analysis, Case, CaseRole, WorkerState
from media_analysis.storage import StorageAway
from reports import case_documents, case_maker
from reports.case_report import Content, Tell
from reports.models import CaseDocument
from tests.conftest import make_user
from tests.media_analysis.factories import make_done
from tests.reports.test_package import received
from tests.site_process import ROOT, SiteProcess, wait_until

pytestmark = pytest.mark.django_db

PDF = b"%PDF-1.7 of a case"
DIGEST = hashlib.sha256(PDF).hexdigest()
State = CaseDocument.State


@pytest.fixture
def case(owner: User, stranger: User) -> Case:
    """A case of the owner with the stranger as a viewer."""
    made = cases.open_case(owner, "A case", {})
    invited = cases.invite(cases.take_seat(owner, made.public_id), "stranger", CaseRole.VIEWER)
    cases.accept_invitation(stranger, invited.public_id)
    return made


@pytest.fixture
def seat(case: Case, owner: User) -> Seat:
    return cases.take_seat(owner, case.public_id)


@pytest.fixture
def file(seat: Seat, owner: User) -> Analysis:
    analysis = make_done(owner)
    cases.add_media(seat, [analysis.media.public_id])
    return analysis


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a report looks like is told by test_case_report.py."""

    def write(target: BinaryIO, seat: Seat, language: str, *, tell: Tell, **_more: str) -> Content:
        tell(0, 1)
        target.write(PDF)
        tell(1, 1)
        media = [file.media.public_id for file in cases.show_files(list(cases.files_of(seat.case))) if file.media]
        return Content(DIGEST, len(PDF), media)

    monkeypatch.setattr(case_maker, "write_case_report", write)
    monkeypatch.setattr(case_maker, "write_case_export", write)


def ask(seat: Seat, kind: str = "report", language: str = "en") -> CaseDocument:
    return case_documents.ask_for(seat, kind, language)[0]


def make_one() -> CaseDocument:
    claimed = case_documents.claim_next()
    assert claimed is not None
    case_maker.make(claimed)
    return CaseDocument.objects.get(pk=claimed.pk)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="accounts.backends.UsernameOrEmailBackend")
    return client


def page_of(document: CaseDocument) -> str:
    return reverse("reports:case_document_file", args=[document.case.public_id, document.public_id])


def api_of(document: CaseDocument, rest: str = "") -> str:
    return f"/api/v1/cases/{document.case.public_id}/documents/{document.public_id}/{rest}"


def folder_of(document: CaseDocument) -> list[str]:
    try:
        return list(default_storage.listdir(f"documents/{document.public_id}")[1])
    except FileNotFoundError:
        return []


def test_two_clicks_make_one(owner: User, case: Case) -> None:
    browser = client_of(owner)
    pages = reverse("reports:case_documents", args=[case.public_id])
    for _click in range(2):
        assert browser.post(pages, {"kind": "report"})["Location"] == pages
    api = f"/api/v1/cases/{case.public_id}/documents/"
    again = browser.post(api, {"kind": "report"}, content_type="application/json")
    assert (again.status_code, again.json()["state"]) == (200, "waiting")
    other = browser.post(api, {"kind": "report", "lang": "hi"}, content_type="application/json")
    assert (other.status_code, other.json()["language"]) == (202, "hi")
    assert other["Location"] == api_of(CaseDocument.objects.get(language="hi"))
    assert CaseDocument.objects.count() == 2
    assert browser.get(pages).content.decode().count("is not running right now") == 3
    WorkerState.objects.create(name="host:1", lanes=["default"], detector="tiny-test")
    shown = browser.get(pages).content.decode()
    assert "is not running right now" not in shown
    assert shown.count("Waiting for its turn") >= 2
    assert '<meta http-equiv="refresh"' in shown
    for wrong in ({}, {"kind": "x"}):
        assert browser.post(pages, wrong).status_code == 400
        assert browser.post(api, wrong, content_type="application/json").status_code == 400
    assert Client(enforce_csrf_checks=True).post(pages, {"kind": "report"}).status_code == 403


def test_of_two_at_the_same_moment_the_second_is_given_the_first(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    first, look = ask(seat), CaseDocument.objects.filter
    looks = []

    def look_too_early(**wanted: Any) -> Any:
        looks.append(wanted)
        return CaseDocument.objects.none() if len(looks) == 1 else look(**wanted)

    monkeypatch.setattr(CaseDocument.objects, "filter", look_too_early)
    second, is_new = case_documents.ask_for(seat, "report", "en")
    assert (second, is_new) == (first, False)
    assert "slot" in looks[0]
    assert CaseDocument.objects.get() == first


def test_one_person_has_five_under_way_at_most_and_people_take_turns(seat: Seat, case: Case, stranger: User) -> None:
    for language in ("en", "mr", "hi", "bn", "ml"):
        ask(seat, language=language)
    with pytest.raises(SentinelError) as refused:
        ask(seat, language="te")
    assert (refused.value.code, refused.value.status) == (Code.TOO_OFTEN, 429)
    ask(cases.take_seat(stranger, case.public_id))
    claimed = [case_documents.claim_next() for _each in range(3)]
    assert [each.user.username for each in claimed if each] == ["owner", "stranger", "owner"]


@pytest.mark.usefixtures("_quick")
def test_it_is_made_once_and_handed_out_with_a_word_in_the_log(owner: User, seat: Seat, file: Analysis) -> None:
    document = ask(seat)
    browser = client_of(owner)
    waiting = browser.get(api_of(document, "file/"))
    assert (waiting.status_code, waiting.json()["error"]) == (409, "not_finished")
    assert browser.get(page_of(document)).status_code == 409
    document = make_one()
    assert case_documents.claim_next() is None
    assert (document.state, document.done, document.total, document.size) == (State.READY, 1, 1, len(PDF))
    assert document.slot == document.public_id
    log = custody.events_of(file.media.public_id).filter(event=custody.Event.DOWNLOADED)
    assert browser.head(page_of(document)).status_code == 200
    assert not log.exists()
    given = browser.get(page_of(document))
    assert received(given) == PDF
    assert given["Content-Disposition"] == f'attachment; filename="sentinel-case-{document.case.public_id}.pdf"'
    taken = log.get()
    assert (taken.actor, taken.details["what"]) == (owner.public_id, "case_report")
    assert (taken.details["sha256"], taken.details["language"]) == (document.sha256, "en")
    for part, content in (("bytes=0-3", PDF[:4]), ("bytes=4-9", PDF[4:10])):
        ranged = browser.get(api_of(document, "file/"), headers={"Range": part})
        assert (ranged.status_code, received(ranged)) == (206, content)
    assert log.count() == 1
    row = browser.get(api_of(document)).json()
    assert (row["state"], row["file"]) == ("ready", api_of(document, "file/"))
    assert browser.get(f"/api/v1/cases/{document.case.public_id}/documents/").json()["results"] == [row]


@pytest.mark.usefixtures("_quick")
def test_a_newer_one_takes_the_place_of_the_older(seat: Seat) -> None:
    ask(seat)
    first = make_one()
    ask(seat)
    assert len(case_documents.documents_of(seat)) == 2
    second = make_one()
    assert [each.pk for each in case_documents.documents_of(seat)] == [second.pk] != [first.pk]


@pytest.mark.usefixtures("_quick")
def test_only_whoever_asked_gets_it_while_they_are_in_the_case(owner: User, stranger: User, seat: Seat) -> None:
    ask(cases.take_seat(stranger, seat.case.public_id))
    document = make_one()
    third = make_user("third")
    assert Client().get(page_of(document)).status_code == 302
    assert Client().get(api_of(document)).status_code == 401
    addresses = (page_of(document), api_of(document), api_of(document, "file/"))
    for address in addresses:
        assert [client_of(each).get(address).status_code for each in (owner, third)] == [404, 404], address
        assert client_of(stranger).get(address).status_code == 200, address
    assert client_of(owner).get(f"/api/v1/cases/{seat.case.public_id}/documents/").json()["count"] == 0
    # By another case of one's own neither.
    other = cases.open_case(stranger, "Another", {})
    elsewhere = api_of(document, "file/").replace(seat.case.public_id, other.public_id)
    assert client_of(stranger).get(elsewhere).status_code == 404

    cases.remove_member(seat, stranger.public_id)
    assert not CaseDocument.objects.exists()
    cases.accept_invitation(stranger, cases.invite(seat, "stranger", CaseRole.VIEWER).public_id)
    for address in addresses:
        assert client_of(stranger).get(address).status_code == 404, address


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("how", ["deleted", "taken out"])
def test_one_that_holds_a_file_that_is_gone_is_handed_out_no_more(
    owner: User, seat: Seat, file: Analysis, how: str
) -> None:
    ask(seat)
    document = make_one()
    assert folder_of(document)
    if how == "deleted":
        services.delete_media(file.media, actor=owner)
    else:
        cases.remove_media(owner, seat.case.public_id, file.media.public_id)
    browser = client_of(owner)
    gone = browser.get(api_of(document, "file/"))
    assert (gone.status_code, gone.json()["error"]) == (410, "document_outdated")
    assert folder_of(document) == []
    pages = reverse("reports:case_documents", args=[seat.case.public_id])
    assert "A file in it was deleted or taken out of the case." in browser.get(pages).content.decode()
    browser.post(pages, {"kind": "report", "lang": "en"})
    assert [each.state for each in case_documents.documents_of(seat)] == [State.WAITING]
    assert make_one().media == []


@pytest.mark.usefixtures("_quick")
def test_a_file_deleted_while_it_is_made_has_it_made_again(
    owner: User, seat: Seat, file: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(seat)
    finish = case_documents.finish

    def too_late(*arguments: Any) -> bool:
        if not file.media.deleted_at:
            services.delete_media(file.media, actor=owner)
            file.media.deleted_at = timezone.now()
        return finish(*arguments)

    monkeypatch.setattr(case_documents, "finish", too_late)
    assert make_one().state == State.WAITING
    made = make_one()
    assert (made.state, made.media, made.attempts) == (State.READY, [], 2)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("what", ["time", "case", "account"])
def test_its_file_goes_with_it(
    owner: User, seat: Seat, settings: Any, django_capture_on_commit_callbacks: Any, what: str
) -> None:
    ask(seat)
    document = make_one()
    assert folder_of(document) == [f"{document.file.rpartition('/')[2]}"]
    with django_capture_on_commit_callbacks(execute=True):
        if what == "time":
            settings.SENTINEL_CASE_DOCUMENT_HOURS = 2.0
            CaseDocument.objects.update(finished_at=timezone.now() - timedelta(hours=1.9))
            assert case_documents.sweep() == 0
            CaseDocument.objects.update(finished_at=timezone.now() - timedelta(hours=2.1))
            assert client_of(owner).get(page_of(document)).status_code == 404
            assert case_documents.sweep() == 1
        elif what == "case":
            cases.delete_case(seat)
        else:
            owner.delete()
    assert not CaseDocument.objects.exists()
    assert folder_of(document) == []


@pytest.mark.usefixtures("_quick")
def test_one_whose_file_is_lost_can_be_made_again(owner: User, seat: Seat) -> None:
    ask(seat)
    document = make_one()
    default_storage.delete(document.file)
    answers = [client_of(owner).get(api_of(document, "file/")) for _each in range(2)]
    assert [answer.json()["error"] for answer in answers] == ["not_found", "no_result"]


def test_folders_without_a_row_are_swept(seat: Seat) -> None:
    kept = ask(seat)
    assert case_documents.discard_orphans([kept.public_id, "0" * 24]) == 1


@pytest.mark.usefixtures("_quick")
def test_a_late_try_changes_nothing(seat: Seat, tmp_path: Path) -> None:
    ask(seat)
    late = case_documents.claim_next()
    assert late is not None
    case_documents.release(late, counted=True)
    with pytest.raises(case_maker.Lost):
        case_maker.Claim(late).tell(1, 2)
    document = make_one()
    assert document.attempts == 2
    path = tmp_path / "late.pdf"
    path.write_bytes(b"late")
    assert not case_documents.finish(late, path, Content(hashlib.sha256(b"late").hexdigest(), 4, []))
    assert not case_documents.fail(late, Code.INTERNAL_ERROR)
    document.refresh_from_db()
    assert (document.state, document.sha256) == (State.READY, DIGEST)
    assert folder_of(document) == [document.file.rpartition("/")[2]]


def test_three_lost_tries_fail_with_a_reason(seat: Seat, owner: User, settings: Any) -> None:
    settings.SENTINEL_STALLED_AFTER_SECONDS = 0.0
    ask(seat)
    for attempt in (1, 2, 3):
        claimed = case_documents.claim_next()
        assert claimed is not None
        assert claimed.attempts == attempt
        assert case_documents.recover_lost(clock.StandstillWatch()) == 1
    document = CaseDocument.objects.get()
    assert (document.state, document.error_code) == (State.FAILED, "internal_error")
    failed = client_of(owner).get(api_of(document, "file/"))
    assert (failed.status_code, failed.json()["error"]) == (409, "no_result")
    page = client_of(owner).get(reverse("reports:case_documents", args=[seat.case.public_id])).content.decode()
    assert "It could not be made." in page
    assert "Try again" in page


def test_what_a_worker_gives_back_counts_as_no_try(seat: Seat) -> None:
    ask(seat)
    claimed = case_documents.claim_next()
    assert claimed is not None
    assert case_documents.give_back(claimed.worker, counted=False) == 1
    document = CaseDocument.objects.get()
    assert (document.state, document.attempts, document.worker) == (State.WAITING, 0, "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SentinelError(Code.LANGUAGE_UNAVAILABLE), (State.FAILED, 1, "language_unavailable")),
        (StorageAway(), (State.WAITING, 0, "")),
        (OSError(errno.ENOSPC, "full"), (State.WAITING, 1, "")),
        (RuntimeError("broken"), (State.WAITING, 1, "")),
    ],
)
def test_what_goes_wrong_is_written_down(
    seat: Seat, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: tuple[str, int, str]
) -> None:
    def fail(*_arguments: Any, **_more: Any) -> Content:
        raise error

    monkeypatch.setattr(case_maker, "write_case_report", fail)
    monkeypatch.setattr(case_maker, "PAUSE_SECONDS", 0.0)
    ask(seat)
    document = make_one()
    assert (document.state, document.attempts, document.error_code) == expected
    assert folder_of(document) == []


def test_a_round_that_breaks_off_does_not_end_the_thread(
    seat: Seat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    ask(seat)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    case_maker.Maker().turn()
    assert "a round broke off" in caplog.text


def test_whoever_is_put_out_while_it_is_made_has_nothing(seat: Seat, stranger: User) -> None:
    ask(cases.take_seat(stranger, seat.case.public_id))
    claimed = case_documents.claim_next()
    assert claimed is not None
    cases.remove_member(seat, stranger.public_id)
    case_maker.make(claimed)
    assert not CaseDocument.objects.exists()
    assert folder_of(claimed) == []


FILL = """
from accounts.models import User
from media_analysis import cases
from reports import case_documents
from tests.reports.factories import make_reportable
owner = User.objects.create(username="owner", email="owner@example.org")
seat = cases.take_seat(owner, cases.open_case(owner, "A case", {}).public_id)
cases.add_media(seat, [make_reportable(owner, "FAKE").media.public_id for _each in range(2)])
case_documents.ask_for(seat, "export", "en")
"""
WORK = "import django; django.setup(); from reports.case_maker import Maker; Maker().run()"


@pytest.fixture
def site(prepared: Path, tmp_path: Path) -> Iterator[SiteProcess]:
    """Data of a site, of which only what makes documents runs."""
    shutil.copytree(prepared, tmp_path / "data")
    found = SiteProcess(tmp_path / "data", SENTINEL_STABILITY_CHECK="off")
    found.manage("shell", "-c", FILL)
    maker = subprocess.Popen([sys.executable, "-c", WORK], cwd=ROOT, env=found.environment)
    yield found
    maker.kill()
    maker.wait()


@pytest.mark.slow
def test_one_whose_process_is_killed_is_made_again_and_once(site: SiteProcess) -> None:
    found: list[Any] = []

    def is_now(state: str) -> bool:
        with sqlite3.connect(site.data / "sentinel.sqlite3", timeout=20) as database:
            found[:] = database.execute("SELECT state, worker, attempts, file FROM reports_casedocument").fetchone()
        return bool(found[0] == state)

    # It gives way to whatever else runs here.
    wait_until(lambda: is_now("making"), seconds=120, what="the document to be made")
    os.kill(int(found[1].rpartition(":")[2]), signal.SIGKILL)
    wait_until(lambda: is_now("ready"), seconds=180, what=lambda: f"the document: {found}")
    assert found[2] == 2
    made = site.data / "media" / found[3]
    assert made.read_bytes().startswith(b"PK")
    assert list(made.parent.iterdir()) == [made]

"""Who looks at a result or takes something away is in the custody log, and the check finds what is wrong with it."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from media_analysis import custody, services
from media_analysis.custody import Event, What
from media_analysis.models import Analysis, CustodyEvent, Media
from reports.document import VERSION
from reports.models import Report
from tests.media_analysis.factories import a_result, make_analysis, make_done, make_feedback, make_media

pytestmark = pytest.mark.django_db


@pytest.fixture
def done(owner: User) -> Analysis:
    """As it comes about: received, hashed, examined."""
    analysis = make_analysis(owner)
    media = analysis.media
    custody.record(media.public_id, Event.RECEIVED, actor=owner, source="web", size=media.size)
    custody.record(media.public_id, Event.HASHED, sha256=media.sha256, md5=media.md5)
    claimed = services.claim_analysis(analysis.pk)
    assert claimed is not None
    assert services.finish_analysis(claimed, a_result(), {"frame-9.jpg": b"frame"})
    return Analysis.objects.select_related("media").get(pk=analysis.pk)


def looks(analysis: Analysis) -> list[tuple[str, str]]:
    """Event and what of everything after the examination."""
    events = custody.events_of(analysis.media.public_id).filter(event__in=[Event.VIEWED, Event.DOWNLOADED])
    return [(event.event, event.details["what"]) for event in events]


def test_a_page_with_its_pictures_and_reloads_is_one_look(done: Analysis, as_owner: Client) -> None:
    page = reverse("reports:result", args=[done.public_id])
    for path in (page, reverse("media_analysis:evidence", args=[done.public_id, "frame-9.jpg"]), page):
        assert as_owner.get(path).status_code == 200
    assert looks(done) == [(Event.VIEWED, What.PAGE)]
    # From elsewhere, or later, it is another one.
    as_owner.get(page, REMOTE_ADDR="192.0.2.9")
    assert looks(done) == [(Event.VIEWED, What.PAGE)] * 2
    CustodyEvent.objects.filter(event=Event.VIEWED).update(at=timezone.now() - custody.ONE_LOOK - timedelta(seconds=1))
    as_owner.get(page)
    assert looks(done) == [(Event.VIEWED, What.PAGE)] * 3


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/api/v1/analyses/{}/", What.API),
        ("/api/v1/analyses/{}/pictures/", What.API),
        ("/api/v1/analyses/{}/pictures/frame-9.jpg", What.PICTURE),
    ],
)
def test_what_programs_read_is_a_look(done: Analysis, as_owner: Client, path: str, what: str) -> None:
    assert as_owner.get(path.format(done.public_id)).status_code == 200
    assert looks(done) == [(Event.VIEWED, what)]


def test_an_app_that_lists_everything_looks_at_every_result_once(owner: User, done: Analysis) -> None:
    other = make_done(owner)
    waiting = make_analysis(owner)
    client = Client(headers={"Authorization": f"Bearer {tokens.log_in(owner).access}"})
    for _ in range(2):
        assert client.post("/fetch-history").status_code == 200
    assert looks(done) == looks(other) == [(Event.VIEWED, What.APP_LIST)]
    assert looks(waiting) == []


def test_a_waiting_page_shows_nothing_that_could_be_looked_at(owner: User, as_owner: Client) -> None:
    waiting = make_analysis(owner)
    assert as_owner.get(reverse("reports:result", args=[waiting.public_id])).status_code == 200
    assert looks(waiting) == []


def test_what_reviewers_see_and_take_is_written_down(done: Analysis, as_admin: Client, admin: User) -> None:
    feedback = make_feedback(done)
    as_admin.get(reverse("admin:media_analysis_feedback_evidence", args=[feedback.pk, "frame-9.jpg"]))
    as_admin.get(reverse("admin:media_analysis_feedback_file", args=[feedback.pk]))
    assert looks(done) == [(Event.VIEWED, What.PICTURE), (Event.DOWNLOADED, What.ORIGINAL)]
    assert set(custody.events_of(done.media.public_id).reverse()[:2].values_list("actor", flat=True)) == {
        admin.public_id
    }


def test_the_admin_s_view_of_a_result_is_a_look_and_its_log_cannot_be_changed(done: Analysis, as_admin: Client) -> None:
    as_admin.get(reverse("admin:media_analysis_analysis_change", args=[done.pk]))
    assert looks(done) == [(Event.VIEWED, What.ADMIN)]
    event = CustodyEvent.objects.first()
    assert event is not None
    assert (
        as_admin.get(reverse("admin:media_analysis_custodyevent_changelist"), {"q": event.media_id}).status_code == 200
    )
    assert as_admin.get(reverse("admin:media_analysis_custodyevent_add")).status_code == 403
    assert as_admin.post(reverse("admin:media_analysis_custodyevent_change", args=[event.pk])).status_code == 403
    assert as_admin.post(reverse("admin:media_analysis_custodyevent_delete", args=[event.pk])).status_code == 403


def test_the_page_tells_the_owner_what_happened(done: Analysis, as_owner: Client, as_stranger: Client) -> None:
    as_owner.get(reverse("reports:result", args=[done.public_id]), REMOTE_ADDR="192.0.2.9")
    url = reverse("media_analysis:custody", args=[done.media.public_id])
    page = as_owner.get(url).content.decode()
    for text in ("File received (website)", "Checksums calculated", "File examined (tiny-test 1)", "Result looked at"):
        assert text in page
    assert "192.0.2.9" in page
    assert "was just checked" in page
    assert as_stranger.get(url).status_code == 404
    CustodyEvent.objects.filter(number=1).update(event=Event.FAILED)
    assert "does not agree with its own checksums" in as_owner.get(url).content.decode()


def check(*media_ids: str) -> tuple[int, str]:
    said = StringIO()
    try:
        call_command("check_custody_log", *media_ids, stdout=said, stderr=said)
    except SystemExit as end:
        return int(str(end.code)), said.getvalue()
    return 0, said.getvalue()


def a_report(analysis: Analysis) -> Report:
    """As :func:`reports.services.get_report` keeps it, without making the PDF."""
    last = custody.events_of(analysis.media.public_id).last()
    assert last is not None
    return Report.objects.create(
        analysis=analysis,
        language="en",
        version=1,
        engine="none",
        file="none",
        sha256="0" * 64,
        size=0,
        custody_events=last.number + 1,
        custody_digest=last.digest,
    )


def test_the_check_finds_nothing_wrong_with_a_whole_life(done: Analysis, owner: User) -> None:
    a_report(done)
    services.delete_media(make_media_with_log(owner), actor=owner)
    assert check() == (0, "2 files, 6 events: nothing is wrong\n")
    assert check(done.media.public_id) == (0, "1 files, 3 events: nothing is wrong\n")


def make_media_with_log(owner: User) -> Media:
    media = make_media(owner)
    custody.record(media.public_id, Event.RECEIVED, actor=owner)
    custody.record(media.public_id, Event.HASHED, sha256=media.sha256)
    return media


def test_a_file_from_before_the_log_is_told_by_its_first_event(owner: User) -> None:
    before = make_done(owner)
    assert check()[0] == 1
    custody.record(before.media.public_id, Event.BEGUN, sha256=before.media.sha256, received="2026-01-01T00:00:00.000Z")
    assert check()[0] == 0
    Analysis.objects.filter(pk=before.pk).update(finished_at=timezone.now() + timedelta(minutes=1))
    assert check()[0] == 1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda media: Media.objects.filter(pk=media.pk).update(sha256="0" * 64), "another SHA-256"),
        (lambda media: CustodyEvent.objects.filter(number=0).delete(), "does not begin with receiving"),
        (lambda media: CustodyEvent.objects.all().delete(), "does not begin with receiving"),
        (lambda media: CustodyEvent.objects.filter(number=2).delete(), "a finished examination is not in the log"),
        (lambda media: CustodyEvent.objects.filter(number=2).delete(), "events were cut off"),
        (lambda media: Analysis.objects.update(outcome="REAL"), "a finished examination is not in the log"),
        (lambda media: CustodyEvent.objects.filter(number=1).update(at=timezone.now()), "was changed after"),
        (lambda media: media.delete(), "the file is gone"),
        (lambda media: custody.record(media.public_id, Event.DELETED), "do not agree on whether"),
    ],
)
def test_the_check_finds_what_was_changed(done: Analysis, damage: Any, said: str) -> None:
    a_report(done)
    damage(done.media)
    code, told = check()
    assert code == 1
    assert said in told
    assert f"{done.media.public_id} event " in told


def test_a_chain_made_anew_is_found_by_the_reports_that_were_printed(done: Analysis) -> None:
    report = a_report(done)
    media_id = done.media.public_id
    events = list(custody.events_of(media_id))
    previous = ""
    for event in events:
        event.at -= timedelta(days=1)
        event.previous = previous
        previous = event.digest = custody.digest_of(event)
        event.save()
    assert not custody.check(custody.events_of(media_id))
    assert "a report printed another log" in check()[1]
    report.delete()
    assert check()[0] == 0


def test_an_unknown_file_is_a_fault(db: None) -> None:
    assert check("0" * 24)[0] == 1


def test_a_handed_out_report_is_written_down_with_its_language(done: Analysis, as_owner: Client) -> None:
    name = default_storage.save("made.pdf", ContentFile(b"%PDF-"))
    Report.objects.create(
        analysis=done,
        language="hi",
        version=VERSION,
        engine="none",
        file=name,
        sha256="0" * 64,
        size=5,
    )
    assert as_owner.get(reverse("reports:report_pdf", args=[done.public_id]), {"lang": "hi"}).content == b"%PDF-"
    url = f"/api/v1/analyses/{done.public_id}/report/?lang=hi"
    assert as_owner.get(url, headers={"Accept": "application/pdf"}).content == b"%PDF-"
    # Where it is to be had is not the report.
    assert as_owner.get(url, headers={"Accept": "application/json"}).status_code == 200
    events = custody.events_of(done.media.public_id).filter(event=Event.DOWNLOADED)
    assert [event.details["language"] for event in events] == ["hi", "hi"]

"""What the page of an analysis says in each state and about each outcome."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from accounts.models import User
from media_analysis.models import Analysis, CaseDetails, Submission, WorkerState
from reports.curve import LOOKS, draw_curve
from reports.presentation import present
from tests.media_analysis.factories import FACE, a_result, make_analysis, make_media

THRESHOLDS = {"fake": 0.6, "real": 0.4, "frame": 0.5}


def make_done(owner: User, outcome: str, probability: float | None, *, reason: str = "", **media: Any) -> Analysis:
    result = deepcopy(a_result(settings={"thresholds": THRESHOLDS, "detector": {"frames": 32}}))
    if probability is None:
        result["tracks"] = []
    return make_analysis(
        owner,
        media=make_media(owner, **media),
        status=Analysis.Status.DONE,
        outcome=outcome,
        reason=reason,
        fake_probability=probability,
        pooled_probability=probability,
        confidence=91.0 if outcome in {"FAKE", "REAL"} else None,
        real_frames=1,
        fake_frames=2,
        result=result,
    )


def read(client: Client, analysis: Analysis) -> str:
    answer = client.get(f"/analyses/{analysis.public_id}/")
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("outcome", "probability", "reason", "texts"),
    [
        ("FAKE", 0.91, "", ["Signs of manipulation found", "91.0 %", "Real-to-fake ratio", "0.50"]),
        ("REAL", 0.09, "", ["No sign of manipulation found", "does not make the file genuine"]),
        ("INCONCLUSIVE", 0.5, "weak_evidence", ["Can't tell", "The signs are too weak to say either way."]),
        (
            "NOT_ASSESSABLE",
            None,
            "no_face",
            ["Could not be examined, because no human face was found that stays in the picture", "There is no score"],
        ),
    ],
)
def test_each_outcome_is_told_in_plain_words(
    *, owner: User, as_owner: Client, outcome: str, probability: float | None, reason: str, texts: list[str]
) -> None:
    page = read(as_owner, make_done(owner, outcome, probability, reason=reason))
    for text in texts:
        assert escape(text) in page
    assert page.count("<h1>") == 1
    # The machine names are for the API.
    assert outcome not in page


def test_without_a_score_no_number_is_shown(owner: User, as_owner: Client) -> None:
    page = read(as_owner, make_done(owner, "NOT_ASSESSABLE", None, reason="no_face"))
    assert "Fake probability" not in page
    assert "<polyline" not in page


def test_a_photo_has_no_curve_and_no_ratio(owner: User, as_owner: Client) -> None:
    page = read(as_owner, make_done(owner, "FAKE", 0.91, kind="image"))
    assert "<polyline" not in page
    assert "Real-to-fake ratio" not in page


def test_a_hostile_file_name_is_shown_as_text(owner: User, as_owner: Client) -> None:
    page = read(as_owner, make_done(owner, "FAKE", 0.91, original_name="<script>alert(1)</script>.mp4"))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_failure_shows_its_reason_and_no_score(owner: User, as_owner: Client) -> None:
    analysis = make_analysis(owner, status=Analysis.Status.FAILED, error_code="model_unavailable")
    page = read(as_owner, analysis)
    assert "The detector could not be loaded." in page
    assert f"/analyses/{analysis.public_id}/retry/" in page
    assert "Fake probability" not in page


def test_a_waiting_one_reloads_itself_without_javascript(owner: User, as_owner: Client) -> None:
    WorkerState.objects.create(name="host:1", lanes=["default"], detector="tiny-test")
    make_analysis(owner)
    page = read(as_owner, make_analysis(owner))
    assert '<meta http-equiv="refresh" content="3">' in page
    assert "Files before it: 1" in page


def test_nobody_else_gets_the_page(owner: User, as_stranger: Client) -> None:
    analysis = make_done(owner, "FAKE", 0.91)
    assert as_stranger.get(f"/analyses/{analysis.public_id}/").status_code == 404
    assert Client().get(f"/analyses/{analysis.public_id}/").status_code == 302


def test_the_report_scales_and_flattens(owner: User) -> None:
    report = present(make_done(owner, "FAKE", 0.91))
    assert report.scale is not None
    assert (report.scale.percent, report.scale.real_up_to, report.scale.fake_from) == (91.0, 40.0, 60.0)
    assert ("detector.frames", "32") in report.settings
    assert report.deciding_person == 1


def test_lines_look_different_until_there_are_too_many() -> None:
    tracks = [{"index": index, "faces": [FACE]} for index in range(LOOKS + 1)]
    curve = draw_curve(tracks, THRESHOLDS, 2.0)
    assert curve is not None
    assert [line.look for line in curve.lines] == [*range(1, LOOKS + 1), 1]


def test_coordinates_keep_their_points_in_every_language(owner: User, as_owner: Client, settings: Any) -> None:
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    analysis = make_done(owner, "FAKE", 0.91)
    answer = as_owner.get(f"/analyses/{analysis.public_id}/", headers={"accept-language": "de"})
    page = answer.content.decode()
    assert 'viewBox="-1.500 -4.500 103 8"' in page
    assert "translate(91.0)" in page
    assert "91,0 %" in page


CREDENTIALS = {
    "status": "intact",
    "signer": "Press Photographer",
    "issuer": "Agency",
    "signed_at": "",
    "generator": "Camera 1.0",
    "actions": ["c2pa.created", "c2pa.edited"],
    "declares_generated": False,
}
FACTS = {
    "encoders": ["Lavf62.12.100"],
    "created": "2026-03-01T10:00:00+0530",
    "has_location": True,
    "camera": "Apple iPhone 15",
    "software_tags": [],
    "known_software": ["CapCut"],
    "credentials": CREDENTIALS,
    "problems": [],
}
VOTING = {"branches": ["confident_fakes"], "plain_mean": 0.6, "faces": 32, "confident": 20, "clearly_real": 5}


def done_with(owner: User, **found: Any) -> Analysis:
    analysis = make_done(owner, "FAKE", 0.91)
    analysis.result = {**(analysis.result or {}), **found}
    analysis.save()
    return analysis


def test_the_page_tells_what_the_file_says_about_itself(as_owner: Client, owner: User) -> None:
    page = read(as_owner, done_with(owner, facts=FACTS))

    for text in ("Lavf62.12.100", "2026-03-01T10:00:00+0530", "Apple iPhone 15", "CapCut", "recorded in the file"):
        assert text in page
    assert "Signed by “Press Photographer” and unchanged since" in page
    assert "c2pa.edited" in page
    assert "What is absent is unknown" in " ".join(page.split())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"status": "none", "actions": [], "generator": ""}, "none: unknown"),
        ({"status": "broken"}, "the file was changed since"),
        ({"status": "unreadable"}, "they could not be read"),
        ({"declares_generated": True}, "The signer declares that a machine made this picture or part of it."),
        # Cut out of a generated picture and put into this one.
        ({"declares_generated": True, "status": "broken"}, "nothing shows that it is this one"),
    ],
)
def test_the_page_tells_what_became_of_content_credentials(
    as_owner: Client, owner: User, changes: dict[str, Any], text: str
) -> None:
    page = read(as_owner, done_with(owner, facts={**FACTS, "credentials": {**CREDENTIALS, **changes}}))

    assert text in page
    assert ("The signer declares" in page) is (changes == {"declares_generated": True})


def test_what_a_file_claims_is_shown_as_text(as_owner: Client, owner: User) -> None:
    page = read(as_owner, done_with(owner, facts={**FACTS, "camera": "<script>alert(1)</script>"}))

    assert "<script>alert(1)" not in page


def test_the_page_tells_how_the_scores_were_counted(as_owner: Client, owner: User) -> None:
    (track,) = a_result()["tracks"]
    page = read(as_owner, done_with(owner, tracks=[{**track, "voting": VOTING}]))

    assert "How the scores were counted" in page
    assert "only the faces above 80 %" in page
    assert "60.0 %" in page


def test_the_page_tells_what_copies_gave(as_owner: Client, owner: User) -> None:
    copies = [{"copy": "jpeg_60", "fake_probability": 0.72}, {"copy": "h264_crf_36", "fake_probability": 0.66}]
    stability = {"faces": 4, "original": 0.9, "copies": copies, "seconds": 0.1}

    page = read(as_owner, done_with(owner, stability=stability))

    for text in ("Judged again on worse copies", "JPEG, low quality", "72.0 %", "Video, low quality", "66.0 %"):
        assert text in page


def test_results_from_before_these_facts_are_shown_without_them(as_owner: Client, owner: User) -> None:
    page = read(as_owner, make_done(owner, "FAKE", 0.91))

    assert "Content Credentials" not in page
    assert "How the scores were counted" not in page
    assert "worse copies" not in page


def test_a_case_is_shown_with_what_is_filled_and_escaped(owner: User, as_owner: Client) -> None:
    analysis = make_done(owner, "FAKE", 0.91)
    assert "The case" not in read(as_owner, analysis)
    submission = Submission.objects.create(media=analysis.media, submitted_by=owner, source="api")
    CaseDetails.objects.create(
        submission=submission,
        case_id="17/2026",
        officer_name="<b>Ashok</b>",
        fir_date=date(2026, 11, 22),
        fir_description="One\ntwo",
        gender="female",
    )
    page = read(as_owner, analysis)
    for text in (
        "The case",
        "Case number",
        "17/2026",
        escape("<b>Ashok</b>"),
        "22 November 2026",
        "One<br>two",
        "Female",
    ):
        assert text.lower() in page.lower(), text
    assert "Police station" not in page

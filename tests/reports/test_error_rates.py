"""What a result page and the API say of how often the detector errs."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from accounts.models import User
from media_analysis.models import Analysis
from ml.contracts import NotMeasuredReason
from reports.error_rates import NOT_RECORDED, REASONS, show_error_rates
from tests.media_analysis.factories import a_result, make_analysis, make_media

MEASURED: dict[str, Any] = {
    "measured": True,
    "kind": "video",
    "compression": "strong",
    "face_size": "small",
    "false_alarms": {"count": 1, "files": 13, "share": 0.076923, "low": 0.001946, "high": 0.360297},
    "found": {"count": 5, "files": 23, "share": 0.217391, "low": 0.074604, "high": 0.437034},
    "misses": {"count": 2, "files": 23, "share": 0.086957, "low": 0.010713, "high": 0.280383},
    "measured_on": "2026-11-23",
    "used_for_choosing": True,
}


def make_done(owner: User, rates: dict[str, Any] | None, *, probability: float | None = 0.91, **media: Any) -> Analysis:
    result = a_result()
    if rates is not None:
        result["error_rates"] = rates
    return make_analysis(
        owner,
        media=make_media(owner, **media),
        status=Analysis.Status.DONE,
        outcome="NOT_ASSESSABLE" if probability is None else "FAKE",
        reason="no_face" if probability is None else "",
        fake_probability=probability,
        pooled_probability=probability,
        result=result,
    )


def read(client: Client, analysis: Analysis) -> str:
    answer = client.get(f"/analyses/{analysis.public_id}/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_counts_shares_and_intervals_are_told_with_the_kind(owner: User, as_owner: Client) -> None:
    page = read(as_owner, make_done(owner, MEASURED))
    assert "Of 13 real videos of this kind, called fake: 1 (7.7 %, 95 % interval 0.2–36.0 %)." in page
    assert "Of 23 fabricated videos of this kind, called fake: 5 (21.7 %, 95 % interval 7.5–43.7 %)." in page
    assert "Of these fabricated ones, no sign of manipulation found in: 2 (8.7 %, 95 % interval 1.1–28.0 %)." in page
    assert "Of this kind means: strongly compressed, with small faces." in page
    assert "23 November 2026" in page
    assert "The detector was chosen by its results on these files" in page


def test_photos_are_called_photos_and_a_broad_kind_is_told(owner: User, as_owner: Client) -> None:
    rates = {**MEASURED, "kind": "image", "compression": None, "face_size": None, "used_for_choosing": False}
    page = read(as_owner, make_done(owner, rates, kind="image"))
    assert "Of 13 real photos of this kind" in page
    assert "Of this kind means" not in page
    assert "all are counted together" in page
    assert "The detector was chosen by" not in page


@pytest.mark.parametrize("reason", list(NotMeasuredReason))
def test_what_was_not_measured_has_a_reason_and_no_number(
    *, owner: User, as_owner: Client, reason: NotMeasuredReason
) -> None:
    page = read(as_owner, make_done(owner, {"measured": False, "reason": reason.value}))
    assert escape(str(REASONS[reason])) in page
    assert "Not measured for files like this one." in page
    assert "95 % interval" not in page


def test_results_from_before_error_rates_were_noted_still_show(owner: User, as_owner: Client) -> None:
    analysis = make_done(owner, None)
    assert "error_rates" not in (analysis.result or {})
    assert str(REASONS[NOT_RECORDED]) in read(as_owner, analysis)


def test_a_reason_that_a_newer_version_wrote_has_words(owner: User) -> None:
    shown = show_error_rates(make_done(owner, {"measured": False, "reason": "moon_phase"}))
    assert shown is not None
    assert shown.reason


def test_without_a_score_nothing_can_be_wrong(owner: User, as_owner: Client) -> None:
    analysis = make_done(owner, None, probability=None)
    assert show_error_rates(analysis) is None
    assert "How often the detector errs" not in read(as_owner, analysis)


def test_the_api_gives_them_with_the_analysis(owner: User, as_owner: Client) -> None:
    with_rates, old = make_done(owner, MEASURED), make_done(owner, None)
    assert as_owner.get(f"/api/v1/analyses/{with_rates.public_id}/").json()["error_rates"] == {
        **MEASURED,
        "reason": None,
    }
    assert as_owner.get(f"/api/v1/analyses/{old.public_id}/").json()["error_rates"] is None

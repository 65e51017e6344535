"""What everybody sees of a result that its owner shares: what was found, and nothing about whose file it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.template.defaultfilters import floatformat
from django.utils.translation import gettext as _

from media_analysis.models import Analysis, ResultCard
from media_analysis.wording import reason_text, verdict_text
from reports.error_rates import ShownRates, show_error_rates


@dataclass(frozen=True, slots=True)
class PublicResult:
    """The verdict on one file in the active language.

    No name, no picture, no path and no person: what is not in here can't be shown by mistake. ``confidence`` and
    ``fake_probability`` are in percent, None where there is no such number. ``stretches`` are seconds called fake.
    """

    public_id: str
    outcome: str
    verdict: str
    reason: str
    confidence: float | None
    stretches: tuple[tuple[float, float], ...]
    is_video: bool
    duration: float
    examined_at: datetime
    detector: str
    detector_version: str
    error_rates: ShownRates | None
    sha256: str


def present_card(card: ResultCard) -> PublicResult:
    analysis: Analysis = card.analysis
    found: dict[str, Any] = analysis.result or {}
    return PublicResult(
        public_id=card.public_id,
        outcome=analysis.outcome,
        verdict=verdict_text(analysis),
        reason=reason_text(analysis),
        confidence=analysis.confidence,
        # Single faces are called fake in other results too, where that would say more than the verdict does.
        stretches=_stretches(found) if analysis.outcome == Analysis.Outcome.FAKE else (),
        is_video=analysis.media.kind == "video",
        duration=analysis.media.duration,
        # An analysis is given its end together with its result; those of tests may lack it.
        examined_at=analysis.examined_at or analysis.created_at,
        detector=analysis.detector,
        detector_version=analysis.detector_version,
        error_rates=show_error_rates(analysis),
        sha256=analysis.media.sha256,
    )


def _stretches(found: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    return tuple((start, end) for start, end in found.get("timestamps", []))


def stretch_texts(result: PublicResult) -> list[str]:
    """Each stretch called fake, as words."""
    return [
        _("%(start)s–%(end)s s") % {"start": floatformat(start, 1), "end": floatformat(end, 1)}
        for start, end in result.stretches
    ]

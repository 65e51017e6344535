"""The error rates that go with a verdict, as they were written down when the file was examined."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext_lazy as _

from media_analysis.model_cards import COMPRESSIONS, FACE_SIZES
from media_analysis.models import Analysis
from ml.contracts import NotMeasuredReason

NOT_RECORDED = "not_recorded"
REASONS = {
    NotMeasuredReason.NO_MEASUREMENT: _("This detector was not measured."),
    NotMeasuredReason.OTHER_WEIGHTS: _("This detector was measured with other weights."),
    NotMeasuredReason.OTHER_SETTINGS: _("This detector was measured with other settings."),
    NotMeasuredReason.TOO_FEW_FILES: _("There were too few files of this kind to measure on."),
    NotMeasuredReason.UNREADABLE: _("The figures that were measured could not be read."),
    NOT_RECORDED: _("Nothing was noted about it when this file was examined."),
}


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``files``, in percent, with the bounds of the exact 95 % interval."""

    count: int
    files: int
    percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ShownRates:
    """``reason`` says in words why there are no figures; the figures are there if it is empty.

    ``kind`` tells in words which files were counted besides being videos or photos, and is empty for all of them.
    """

    is_video: bool
    reason: str = ""
    kind: tuple[str, ...] = ()
    false_alarms: Share | None = None
    found: Share | None = None
    misses: Share | None = None
    measured_on: date | None = None
    used_for_choosing: bool = False


def show_error_rates(analysis: Analysis) -> ShownRates | None:
    """None for an analysis without a score: then there is no verdict that could be wrong.

    Results from before error rates were noted, and reasons that a newer version may have written, have words too.
    """
    if analysis.fake_probability is None:
        return None
    is_video = analysis.media.kind == "video"
    rates: dict[str, Any] = (analysis.result or {}).get("error_rates") or {"measured": False, "reason": NOT_RECORDED}
    if not rates["measured"]:
        return ShownRates(is_video, str(REASONS.get(rates["reason"], REASONS[NotMeasuredReason.NO_MEASUREMENT])))
    steps = (COMPRESSIONS.get(rates["compression"]), FACE_SIZES.get(rates["face_size"]))
    return ShownRates(
        is_video=is_video,
        kind=tuple(str(step) for step in steps if step is not None),
        false_alarms=_share(rates["false_alarms"]),
        found=_share(rates["found"]),
        misses=_share(rates["misses"]),
        measured_on=date.fromisoformat(rates["measured_on"]),
        used_for_choosing=rates.get("used_for_choosing", False),
    )


def _share(found: dict[str, Any]) -> Share:
    return Share(found["count"], found["files"], 100 * found["share"], 100 * found["low"], 100 * found["high"])

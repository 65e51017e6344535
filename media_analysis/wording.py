"""The plain words for what was found. They never say more than that."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from accounts.errors import text_of
from media_analysis.models import Analysis

# Completes "Could not be examined, because …" and explains "Can't tell".
REASONS = {
    "no_face": _("no human face was found that stays in the picture"),
    "faces_too_small": _("the faces are too small"),
    "too_few_frames": _("too few frames show a face clearly"),
    "weak_evidence": _("The signs are too weak to say either way."),
    "unstable_evidence": _("Different parts of the media point in different directions."),
    "unstable_copies": _("The result changes when the picture is compressed once more, as messengers do."),
}


def verdict_text(analysis: Analysis) -> str:
    """The verdict, or the state that the examination is in, as a short sentence."""
    if analysis.status == Analysis.Status.FAILED:
        return str(_("The examination failed"))
    if analysis.status != Analysis.Status.DONE:
        return str(Analysis.Status(analysis.status).label)
    if analysis.outcome == Analysis.Outcome.NOT_ASSESSABLE:
        return str(_("Could not be examined, because %(reason)s") % {"reason": reason_text(analysis)})
    return str(Analysis.Outcome(analysis.outcome).label)


def reason_text(analysis: Analysis) -> str:
    """Why an analysis failed, is inconclusive or was not assessable; empty otherwise."""
    if analysis.status == Analysis.Status.FAILED:
        return text_of(analysis.error_code)
    return str(REASONS.get(analysis.reason, ""))

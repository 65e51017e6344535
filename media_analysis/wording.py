"""The plain words for what was found. They never say more than that."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from accounts.errors import text_of
from media_analysis.link_words import link_of
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
# Why a link gave no file: more exactly than the error code, and what to do.
LINK_PROBLEMS = {
    "not_found": _("There is no video at this link any more. If you have the file, upload it."),
    "private": _("This video is not public. Download it yourself and upload the file."),
    "refused": _("This site does not let us fetch the video. Download it yourself and upload the file."),
    "live": _("This is a live stream. When it is over, download the part that matters and upload the file."),
    "playlist": _("This link leads to several videos. Open the one that you mean, and paste its link."),
    "no_media": _(
        "There is no video or photo at this link. Open the video itself and copy its link, or upload the file."
    ),
    "unreachable": _("The site could not be reached. Check the link and try again, or upload the file."),
    "too_slow": _("Fetching the video took too long. Try again later, or download it yourself and upload the file."),
    "outside_cut": _("The video is shorter than the part that you asked for. Look at the start and the end again."),
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
        link = link_of(analysis.media)
        return str(LINK_PROBLEMS[link.problem]) if link and link.problem else text_of(analysis.error_code)
    return str(REASONS.get(analysis.reason, ""))

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language
from django.views.decorators.http import require_GET

from accounts.errors import Code
from media_analysis import custody, health, notifications, retention, scheduling, selectors
from media_analysis.edges import SignedInRequest, page
from media_analysis.forms import FeedbackForm
from media_analysis.link_forms import LinkForm
from media_analysis.link_words import clock, link_of
from media_analysis.models import Analysis, LinkSource, Media
from media_analysis.wording import reason_text
from reports import services
from reports.negotiation import as_download, file_name
from reports.presentation import present


@require_GET
@page
def result(request: SignedInRequest, public_id: str) -> HttpResponse:
    """The page of one analysis, whatever state it is in: how far it is, why it failed, or what was found."""
    analysis = selectors.get_analysis(request.user, public_id)
    is_own = analysis.media.owner_id == request.user.pk
    custody.look_at(analysis, actor=request.user, what=custody.What.PAGE if analysis.is_finished else custody.What.LIVE)
    if analysis.is_finished:
        notifications.mark_seen(request.user, analysis)
    if analysis.status == Analysis.Status.FAILED:
        return _failed(request, analysis, is_own=is_own)
    if not analysis.is_finished:
        context = {
            "analysis": analysis,
            "is_own": is_own,
            "is_fetching": analysis.stage == Analysis.Stage.FETCHING,
            "position": scheduling.position(analysis),
            "is_served": analysis.status != Analysis.Status.QUEUED or health.is_served(analysis),
        }
        return render(request, "reports/progress.html", context)
    given = selectors.get_feedback(request.user, analysis)
    context = {
        "analysis": analysis,
        "is_own": is_own,
        "report": present(analysis),
        "feedback": given,
        "feedback_form": FeedbackForm(given=given),
        "kept": _kept(analysis.media),
    }
    return render(request, "reports/result.html", context)


def _kept(media: Media) -> dict[str, Any]:
    """How long the file is kept, where the site keeps files for a time only."""
    return {"until": retention.deletes_at(media), "for_case": retention.is_kept_for_case(media)}


def _failed(request: SignedInRequest, analysis: Analysis, *, is_own: bool) -> HttpResponse:
    """Why there is no result; for a video at a link that is too long, with the offer to cut a part out."""
    link = link_of(analysis.media)
    too_long = analysis.error_code == Code.VIDEO_TOO_LONG or (link and link.problem == LinkSource.Problem.OUTSIDE_CUT)
    longest = settings.SENTINEL_MAX_DURATION_SECONDS
    context = {
        "analysis": analysis,
        "is_own": is_own,
        "reason": reason_text(analysis),
        "kept": _kept(analysis.media),
        "link": link,
        "duration": clock(link.duration) if link and link.duration else "",
        "max_seconds": longest,
        "part_form": LinkForm(initial={"start": clock(0), "end": clock(longest)}) if link and too_long else None,
    }
    return render(request, "reports/failed.html", context)


@require_GET
@page
def report_pdf(request: SignedInRequest, public_id: str) -> HttpResponse:
    """The report as a file, in the language of the pages unless another is asked for."""
    analysis = selectors.get_analysis(request.user, public_id)
    asked = request.GET.get("lang") or get_language() or ""
    report = services.get_report(
        analysis, services.choose_language(request.user, asked), site=request.build_absolute_uri("/")
    )
    services.note_download(report, analysis, actor=request.user)
    headers = as_download(f"sentinel-report-{file_name(analysis.media)}", report)
    return HttpResponse(services.read_report(report), content_type="application/pdf", headers=headers)

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language
from django.views.decorators.http import require_GET

from media_analysis import custody, notifications, selectors
from media_analysis.edges import SignedInRequest, page
from media_analysis.forms import FeedbackForm
from media_analysis.models import Analysis
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
        context = {"analysis": analysis, "is_own": is_own, "reason": reason_text(analysis)}
        return render(request, "reports/failed.html", context)
    if not analysis.is_finished:
        context = {"analysis": analysis, "is_own": is_own, "position": selectors.queue_position(analysis)}
        return render(request, "reports/progress.html", context)
    given = selectors.get_feedback(request.user, analysis)
    context = {
        "analysis": analysis,
        "is_own": is_own,
        "report": present(analysis),
        "feedback": given,
        "feedback_form": FeedbackForm(given=given),
    }
    return render(request, "reports/result.html", context)


@require_GET
@page
def report_pdf(request: SignedInRequest, public_id: str) -> HttpResponse:
    """The report as a file, in the language of the pages unless another is asked for."""
    analysis = selectors.get_analysis(request.user, public_id)
    asked = request.GET.get("lang") or get_language() or ""
    report = services.get_report(analysis, services.choose_language(request.user, asked))
    services.note_download(report, analysis, actor=request.user)
    headers = as_download(f"sentinel-report-{file_name(analysis.media)}", report)
    return HttpResponse(services.read_report(report), content_type="application/pdf", headers=headers)

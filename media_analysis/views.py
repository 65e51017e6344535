"""The pages: classify, watch, list, delete. Each parses, calls one service or selector, and answers."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.http import content_disposition_header
from django.utils.safestring import mark_safe
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.csrf import csrf_failure as default_csrf_failure
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe
from django.views.defaults import bad_request as default_bad_request
from django.views.defaults import permission_denied as default_permission_denied

from accounts import correlation
from accounts.answers import answer_error, is_api
from accounts.errors import PAGE_OUTDATED, Code, SentinelError
from accounts.outages import answer_outage, is_outage
from media_analysis import cases, custody, evidence, links, live, model_cards, selectors, services, streaming
from media_analysis import feedback as feedback_service
from media_analysis.edges import SignedInRequest, intake_limits, page, public_page, upload_context
from media_analysis.forms import CaseDetailsForm, FeedbackForm, HistoryFilterForm, IntoCaseForm
from media_analysis.link_forms import LinkForm
from media_analysis.models import Analysis, Feedback, Submission
from media_analysis.uploads import stage_upload

PAGE_SIZE = 20
# Evidence never changes under its name, and only its owner's browser may keep it.
EVIDENCE_CACHE = "private, max-age=86400, immutable"
NO_STORE = "private, no-store"
WRONG_CASE = gettext_lazy(
    "Something in the case details is not right. See the fields marked below, then choose the file again."
)
WRONG_LINK = gettext_lazy("Something about the link is not right. See the fields marked below.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer_error(request, SentinelError(Code.NOT_FOUND))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request.path):
        return answer_error(request, SentinelError(Code.INVALID_FIELD))
    return default_bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request.path):
        return answer_error(request, SentinelError(Code.FORBIDDEN))
    return default_permission_denied(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if is_api(request.path):
        return answer_error(request, SentinelError(Code.FORBIDDEN, text=PAGE_OUTDATED))
    return default_csrf_failure(request, reason)


def server_error(request: HttpRequest) -> HttpResponse:
    # Django asks while it handles the exception, in threads of its own too.
    if is_outage(sys.exc_info()[1]):
        return answer_outage(request)
    if is_api(request.path):
        return answer_error(request, SentinelError(Code.INTERNAL_ERROR))
    # The page comes without what others rely on, so that it comes when those are broken.
    return HttpResponse(render_to_string("500.html", {"request_id": correlation.request_id()}), status=500)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("media_analysis:classify")
    return render(
        request, "media_analysis/home.html", {**intake_limits(), "daily_limit": settings.SENTINEL_DAILY_LIMIT}
    )


@require_http_methods(["GET", "POST"])
@page
def classify(request: SignedInRequest) -> HttpResponse:
    error = None
    case_form = CaseDetailsForm(request.POST if request.method == "POST" else None)
    # A link that was shared with the app stands in the address.
    link_form = LinkForm(request.POST) if request.method == "POST" else LinkForm(initial=request.GET.dict())
    into = request.POST.get("add_to_case", "") or request.GET.get("case", "")
    if request.method == "POST":
        try:
            if not case_form.is_valid():
                raise SentinelError(Code.INVALID_FIELD, text=WRONG_CASE)
            if not link_form.is_valid():
                raise SentinelError(Code.INVALID_FIELD, text=WRONG_LINK)
            seat = cases.seat_for_file(request.user, request.POST.get("add_to_case", ""))
            analysis = _submit(request, link_form, case_form.case)
            if seat:
                cases.add_media(seat, [analysis.media.public_id])
        except SentinelError as refused:
            error = refused
            for name, texts in refused.errors.items():
                link_form.add_error(name if name in link_form.fields else None, texts)
        else:
            return redirect("reports:result", public_id=analysis.public_id)
    context = {
        **upload_context(request.user),
        "error": error,
        "case_form": case_form,
        "link_form": link_form,
        "into_form": IntoCaseForm(user=request.user, chosen=into),
    }
    response = render(request, "media_analysis/classify.html", context, status=error.status if error else 200)
    for name, value in error.headers.items() if error else ():
        response[name] = value
    return response


def _submit(request: SignedInRequest, link_form: LinkForm, case: dict[str, Any]) -> Analysis:
    """The file or the link of a form. A link that was examined before gets what there is, and a word about it."""
    user, source, link = request.user, Submission.Source.WEB, link_form.cleaned_data["link"]
    if link and request.FILES:
        raise SentinelError(Code.INVALID_FIELD, text=_("Choose a file or paste a link, not both."))
    if not link:
        staged = stage_upload(request.FILES.get("file"))
        return services.submit_media(owner=user, source=source, staged=staged, case_details=case)
    analysis, is_new = links.submit_link(owner=user, source=source, url=link, cut=link_form.cut, case_details=case)
    if is_new:
        return analysis
    if analysis.finished_at:
        text = _("You had this link examined already, on %(date)s: here is that result. It cost nothing.")
        messages.info(request, text % {"date": date_format(localtime(analysis.finished_at), "DATETIME_FORMAT")})
    else:
        messages.info(request, _("This link is being examined already."))
    return analysis


@require_GET
@page
def history(request: SignedInRequest) -> HttpResponse:
    form = HistoryFilterForm(request.GET)
    chosen = form.cleaned_data if form.is_valid() else {"state": "", "name": ""}
    analyses = selectors.filter_analyses(
        selectors.own_analyses(request.user), state=chosen["state"], name=chosen["name"]
    )
    context = {
        "form": form,
        "filtered": bool(chosen["state"] or chosen["name"]),
        "page": Paginator(analyses, PAGE_SIZE).get_page(request.GET.get("page")),
        "receipts": Paginator(selectors.receipts_of(request.user), PAGE_SIZE).get_page(request.GET.get("receipts")),
    }
    return render(request, "media_analysis/history.html", context)


@require_http_methods(["GET", "POST"])
@page
def delete(request: SignedInRequest, public_id: str) -> HttpResponse:
    media = selectors.get_own_media(request.user, public_id)
    if request.method == "GET":
        return render(request, "media_analysis/delete.html", {"media": media})
    services.delete_media(media, actor=request.user)
    messages.success(request, _("“%(name)s” was deleted with everything made from it.") % {"name": media.original_name})
    return redirect("media_analysis:history")


@require_POST
@page
def retry(request: SignedInRequest, public_id: str) -> HttpResponse:
    analysis = selectors.get_own_analysis(request.user, public_id)
    services.retry_analysis(analysis)
    return redirect("reports:result", public_id=analysis.public_id)


@require_GET
@page
def evidence_picture(request: SignedInRequest, public_id: str, name: str) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, public_id)
    # Small, and read whole: a streamed answer from synchronous code is read whole too under ASGI, with a warning.
    jpeg = evidence.read(evidence.find(analysis, name))
    custody.look_at(analysis, actor=request.user, what=custody.What.PICTURE)
    # What one may see as a member of a case one may see only as long.
    cache = EVIDENCE_CACHE if analysis.media.owner_id == request.user.pk else NO_STORE
    return HttpResponse(jpeg, content_type="image/jpeg", headers={"Cache-Control": cache})


@require_safe
@page
def media_file(request: SignedInRequest, public_id: str) -> HttpResponseBase:
    """The original file, to be shown, or with ``?download=1`` to be taken away."""
    media = selectors.get_media(request.user, public_id)
    download = request.GET.get("download") == "1"
    return streaming.answer_with_file(request, media, actor=request.user, download=download)


@require_GET
@page
def live_picture(request: SignedInRequest, public_id: str, stream: str, frame: int) -> HttpResponse:
    """A sampled frame of a try under way, for those who came too late to see it through the socket."""
    analysis = selectors.get_analysis(request.user, public_id)
    jpeg = live.read_picture(analysis.public_id, stream, frame)
    if jpeg is None:
        raise SentinelError(Code.NOT_FOUND)
    custody.look_at(analysis, actor=request.user, what=custody.What.LIVE)
    return HttpResponse(jpeg, content_type="image/jpeg")


@require_http_methods(["GET", "POST"])
@page
def feedback(request: SignedInRequest, public_id: str) -> HttpResponse:
    analysis = selectors.get_own_analysis(request.user, public_id)
    feedback_service.require_result(analysis)
    given = selectors.get_feedback(request.user, analysis)
    form = FeedbackForm(request.POST if request.method == "POST" else None, given=given)
    if not form.is_valid():
        context = {"analysis": analysis, "feedback": given, "feedback_form": form}
        return render(request, "media_analysis/feedback.html", context, status=400 if form.is_bound else 200)
    said = form.cleaned_data
    feedback_service.give_feedback(
        user=request.user,
        analysis=analysis,
        opinion=Feedback.Opinion(said["opinion"]),
        comment=said["comment"],
        consent=said["consent"],
    )
    messages.success(request, _("Thank you. What you said is kept with this result."))
    return redirect("reports:result", public_id=analysis.public_id)


@require_POST
@page
def withdraw_consent(request: SignedInRequest, public_id: str) -> HttpResponse:
    analysis = selectors.get_own_analysis(request.user, public_id)
    feedback_service.withdraw_consent(user=request.user, analysis=analysis)
    messages.success(request, _("Your permission is withdrawn."))
    return redirect("reports:result", public_id=analysis.public_id)


@require_safe
@public_page
def models(request: HttpRequest) -> HttpResponse:
    return render(request, "media_analysis/models.html", {"models": model_cards.list_models()})


@require_safe
@public_page
def model(request: HttpRequest, name: str) -> HttpResponse:
    found = model_cards.get_model(name)
    pictures_url = reverse("media_analysis:model_picture", args=[name, "x.png"]).removesuffix("x.png")
    context = {
        "model": found,
        "rows": model_cards.measured_rows(found.measured) if found.measured else [],
        # Made safe by render_card.
        "card": mark_safe(model_cards.render_card(model_cards.card_text(found), pictures_url)) if found.card else "",  # noqa: S308
    }
    return render(request, "media_analysis/model.html", context)


@require_safe
@public_page
def model_card(request: HttpRequest, name: str) -> HttpResponse:
    found = model_cards.get_model(name)
    filename = f"{name}-{found.spec.version}-model-card.md"
    return HttpResponse(
        model_cards.card_text(found),
        content_type="text/markdown; charset=utf-8",
        headers={"Content-Disposition": content_disposition_header(True, filename) or "attachment"},
    )


@require_safe
@public_page
def model_picture(request: HttpRequest, name: str, picture: str) -> HttpResponse:
    content, content_type = model_cards.card_picture(model_cards.get_model(name), picture)
    return HttpResponse(content, content_type=content_type, headers={"Cache-Control": "public, max-age=3600"})

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.translation import get_language
from django.views.decorators.http import require_GET, require_http_methods

from media_analysis import custody, selectors
from media_analysis.edges import SignedInRequest, page
from media_analysis.models import Analysis
from reports import services
from reports.negotiation import NO_STORE
from reports.paperwork import compose_certificate, compose_packet, packet_context
from reports.paperwork_forms import CertificateForm
from reports.pdf import get_engine


def _get_analysis(request: SignedInRequest, public_id: str) -> Analysis:
    analysis = selectors.get_analysis(request.user, public_id)
    services.require_result(analysis)
    return analysis


@require_http_methods(["GET", "POST"])
@page
def papers(request: SignedInRequest, public_id: str) -> HttpResponse:
    """What to copy into a complaint, and the certificate to fill in: by POST its draft as PDF. Nothing is stored."""
    analysis = _get_analysis(request, public_id)
    form = CertificateForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        engine = get_engine()
        document = compose_certificate(analysis, form.party(), engine, made_at=timezone.now())
        return _answer(request, analysis, "certificate", "en", engine.render(document.markup, document.parts))
    context = {**packet_context(analysis, get_language() or "en"), "form": form}
    return render(request, "reports/paperwork/papers.html", context, status=400 if form.is_bound else 200)


@require_GET
@page
def packet_pdf(request: SignedInRequest, public_id: str) -> HttpResponse:
    """The packet for the portal as a file, in the language of the pages."""
    analysis = _get_analysis(request, public_id)
    language = services.choose_language(request.user, request.GET.get("lang") or get_language() or "")
    engine = get_engine()
    engine.require_language(language)
    document = compose_packet(analysis, language, engine, made_at=timezone.now())
    return _answer(request, analysis, "packet", language, engine.render(document.markup, document.parts))


def _answer(request: SignedInRequest, analysis: Analysis, kind: str, language: str, pdf: bytes) -> HttpResponse:
    media_id = analysis.media.public_id
    custody.record(media_id, custody.Event.DOWNLOADED, actor=request.user, what=kind, language=language)
    disposition = content_disposition_header(True, f"sentinel-{kind}-{media_id}.pdf") or "attachment"
    headers = {**NO_STORE, "Content-Disposition": disposition, "Content-Language": language}
    return HttpResponse(pdf, content_type="application/pdf", headers=headers)

"""Reports and exports of a case: asking for them, following them, downloading them. Pages; /api/v1/ is beside it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.utils.translation import get_language
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import Code, SentinelError
from media_analysis import cases, health
from media_analysis.cases import Seat
from media_analysis.edges import SignedInRequest, page
from media_analysis.streaming import answer_stored
from reports import case_documents
from reports.case_documents import CONTENT_TYPES, Kind, State
from reports.negotiation import NO_STORE, absolute
from reports.services import choose_language


@require_http_methods(["GET", "POST"])
@page
def documents(request: SignedInRequest, public_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id)
    if request.method == "POST":
        return _ask_for(request, seat)
    shown = case_documents.documents_of(seat)
    context = {
        "case": seat.case,
        "documents": shown,
        "is_any_under_way": any(document.is_under_way for document in shown),
        # Asked only where somebody waits.
        "is_served": not any(document.state == State.WAITING for document in shown) or health.workers_state().alive > 0,
    }
    return render(request, "reports/case_documents.html", context)


def _ask_for(request: SignedInRequest, seat: Seat) -> HttpResponse:
    kind = request.POST.get("kind", "")
    if kind not in Kind.values:
        raise SentinelError(Code.INVALID_FIELD)
    language = choose_language(request.user, request.POST.get("lang") or get_language() or "")
    try:
        case_documents.ask_for(seat, kind, language, site=absolute(request, "/"))
    except SentinelError as error:
        if error.code not in {Code.TOO_OFTEN, Code.LANGUAGE_UNAVAILABLE}:
            raise
        messages.error(request, error.text)
    return redirect("reports:case_documents", public_id=seat.case.public_id)


@require_safe
@page
def document_file(request: SignedInRequest, public_id: str, document_id: str) -> HttpResponseBase:
    return hand_out(request, cases.take_seat(request.user, public_id), document_id)


def hand_out(request: HttpRequest, seat: Seat, document_id: str) -> HttpResponseBase:
    """The file of a document, a piece at a time, whole or the range that is asked for.

    Raises ``not_found``, and what :func:`reports.case_documents.require_ready` does.
    """
    document = case_documents.get_document(seat, document_id)
    case_documents.require_ready(document)
    name = case_documents.file_name(document)
    try:
        return answer_stored(
            request,
            document.file,
            etag=f'"{document.sha256}"',
            content_type=CONTENT_TYPES[Kind(document.kind)],
            headers={
                **NO_STORE,
                "Content-Disposition": content_disposition_header(True, name) or "attachment",
                "Content-Language": document.language,
                "X-Content-Type-Options": "nosniff",
            },
            note=lambda: case_documents.note_handing_out(document, by_range="Range" in request.headers),
        )
    except SentinelError as error:
        if error.code is Code.NOT_FOUND:
            # As after a backup was restored, which has the row and not the file.
            case_documents.close(document, Code.INTERNAL_ERROR)
        raise

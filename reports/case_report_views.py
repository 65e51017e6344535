"""The report over a case and the export of all of it: on the site and by /api/v1/."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseBase
from django.utils.translation import get_language
from django.views.decorators.http import require_GET
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.errors import Code
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.schema import refusals, wrong_field
from media_analysis import cases
from media_analysis.api import JSONUnlessPicture
from media_analysis.edges import SignedInRequest, page
from reports.case_report import as_download, make_case_export, make_case_report
from reports.negotiation import NO_STORE, LanguageInput, PdfRenderer
from reports.package_views import CONTENT_TYPE, hand_out
from reports.services import choose_language

CASE_ID = OpenApiParameter(
    "public_id", str, OpenApiParameter.PATH, pattern=f"^{PUBLIC_ID_PATTERN}$", description="The case's id."
)


@require_GET
@page
def case_report(request: SignedInRequest, public_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id)
    made = make_case_report(seat, choose_language(request.user, request.GET.get("lang") or get_language() or ""))
    return HttpResponse(made.pdf, content_type=PdfRenderer.media_type, headers={**NO_STORE, **as_download(made, seat)})


@require_GET
@page
def case_export(request: SignedInRequest, public_id: str) -> HttpResponseBase:
    seat = cases.take_seat(request.user, public_id)
    language = choose_language(request.user, request.GET.get("lang") or get_language() or "")
    return hand_out(make_case_export(seat, language))


def _answers(content_type: str, description: str) -> dict[tuple[int, str], OpenApiResponse]:
    refused = refusals(
        wrong_field("lang", '"xx" is not a valid choice.'),
        Code.NOT_AUTHENTICATED,
        Code.NOT_FOUND,
        Code.LANGUAGE_UNAVAILABLE,
    )
    return {
        (200, content_type): OpenApiResponse(OpenApiTypes.BINARY, description=description),
        **{(status, "application/json"): answer for status, answer in refused.items()},
    }


def _language(request: Request) -> str:
    asked = LanguageInput(data=request.query_params)
    asked.is_valid(raise_exception=True)
    user: Any = request.user
    return choose_language(user, asked.validated_data.get("lang", ""))


class CaseReportView(APIView):
    """The report over a case."""

    content_negotiation_class = JSONUnlessPicture
    # HEAD would make one and hand it to nobody.
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="The report of a case as PDF",
        description="All files with their verdicts and SHA-256, the notes, and a page for each file. Made anew at each "
        "request, which takes seconds, and written into the custody log of each file.",
        tags=["cases"],
        parameters=[CASE_ID, LanguageInput],
        responses=_answers(PdfRenderer.media_type, "The report."),
    )
    def get(self, request: Request, public_id: str) -> HttpResponse:
        user: Any = request.user
        seat = cases.take_seat(user, public_id)
        made = make_case_report(seat, _language(request))
        return HttpResponse(
            made.pdf, content_type=PdfRenderer.media_type, headers={**NO_STORE, **as_download(made, seat)}
        )


class CaseExportView(APIView):
    """Everything of a case."""

    content_negotiation_class = JSONUnlessPicture
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="Everything of a case as ZIP",
        description="The report of the case, the report of each file, the notes as CSV and JSON, the custody logs, and "
        "the signed SHA-256 of all of these. Made anew at each request, which takes seconds for each file.",
        tags=["cases"],
        parameters=[CASE_ID, LanguageInput],
        responses=_answers(CONTENT_TYPE, "The export."),
    )
    def get(self, request: Request, public_id: str) -> HttpResponseBase:
        user: Any = request.user
        return hand_out(make_case_export(cases.take_seat(user, public_id), _language(request)))

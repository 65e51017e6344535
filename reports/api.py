"""/api/v1/: the report of an analysis."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import renderers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import Code
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.schema import ALWAYS, wrong_field
from media_analysis import selectors
from reports.negotiation import LanguageInput, PdfRenderer, ReportView, responses


class AnalysisReportView(ReportView):
    # The first is for clients that accept anything.
    renderer_classes = (PdfRenderer, renderers.JSONRenderer)

    @extend_schema(
        summary="The report of an analysis as PDF",
        description="Made at the first request, which takes a second or two, and kept: later ones get the same file. "
        "It is deleted with the media. A `NOT_ASSESSABLE` analysis has a report too, a failed one has none.",
        tags=["reports"],
        parameters=[
            OpenApiParameter(
                "public_id",
                str,
                OpenApiParameter.PATH,
                pattern=f"^{PUBLIC_ID_PATTERN}$",
                description="The analysis's id.",
            ),
            LanguageInput,
        ],
        responses=responses(
            wrong_field("lang", '"xx" is not a valid choice.'), Code.NOT_AUTHENTICATED, Code.NOT_FOUND, *ALWAYS
        ),
    )
    def get(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        return self.answer(request, selectors.get_analysis(user, public_id))

"""Evidence packages for whoever may see the result: on the site and by /api/v1/."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.translation import get_language
from django.views.decorators.http import require_GET
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.errors import Code
from accounts.schema import TOO_MANY_REQUESTS, refusals, wrong_field
from media_analysis import selectors
from media_analysis.api import PUBLIC_ID, JSONUnlessPicture
from media_analysis.edges import SignedInRequest, page
from media_analysis.streaming import Pieces
from reports.negotiation import NO_STORE, LanguageInput, absolute
from reports.package import Package, make_package
from reports.services import choose_language

CONTENT_TYPE = "application/zip"


@require_GET
@page
def package(request: SignedInRequest, public_id: str) -> HttpResponseBase:
    analysis = selectors.get_analysis(request.user, public_id)
    asked = request.GET.get("lang") or get_language() or ""
    language = choose_language(request.user, asked)
    return hand_out(make_package(analysis, language, actor=request.user, site=absolute(request, "/")))


def hand_out(package: Package) -> StreamingHttpResponse:
    """A piece at a time, so that no package is ever held in memory."""
    headers = {
        **NO_STORE,
        "Content-Length": str(package.size),
        "Content-Disposition": content_disposition_header(True, package.name) or "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    pieces = Pieces(package.file, package.size)
    return StreamingHttpResponse(pieces, content_type=CONTENT_TYPE, headers=headers)


class PackageView(APIView):
    """The evidence package of an analysis."""

    content_negotiation_class = JSONUnlessPicture
    # HEAD would make a package and hand it to nobody.
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="The evidence package of an analysis as ZIP",
        description="The file as received, the report in the language asked for and in English, all numbers as JSON "
        "and CSV, the pictures, the custody log, and a signed list of the SHA-256 of all of these. Made anew at each "
        "request, which takes up to a few seconds. `manage.py verify_package` checks it without this site.",
        tags=["reports"],
        parameters=[PUBLIC_ID, LanguageInput],
        responses={
            (200, CONTENT_TYPE): OpenApiResponse(OpenApiTypes.BINARY, description="The package."),
            **{
                (status, "application/json"): answer
                for status, answer in refusals(
                    wrong_field("lang", '"xx" is not a valid choice.'),
                    Code.NOT_AUTHENTICATED,
                    Code.NOT_FOUND,
                    Code.NOT_FINISHED,
                    Code.NO_RESULT,
                    Code.REPORTS_BUSY,
                    Code.STORAGE_FULL,
                    Code.STORAGE_AWAY,
                    TOO_MANY_REQUESTS,
                ).items()
            },
        },
    )
    def get(self, request: Request, public_id: str) -> HttpResponseBase:
        user: Any = request.user
        analysis = selectors.get_analysis(user, public_id)
        asked = LanguageInput(data=request.query_params)
        asked.is_valid(raise_exception=True)
        language = choose_language(user, asked.validated_data.get("lang", ""))
        return hand_out(make_package(analysis, language, actor=user, site=absolute(request, "/")))

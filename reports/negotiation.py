"""Answering a report as PDF or as JSON, by what the client accepts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import renderers, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code, SentinelError
from accounts.schema import refusals
from media_analysis.models import Analysis, Media
from reports import services
from reports.models import Report

# Computers and phones are shared: what was downloaded is kept by whoever did it, not on the way.
NO_STORE = {"Cache-Control": "private, no-store"}
AN_ID = "5f12f98cf85c333030ea30cb"
A_URL = "https://sentinel.example.org/api/v1/analyses/5f12f98cf85c333030ea30cc/report/?lang=en"


class PdfRenderer(renderers.BaseRenderer):
    """Hands on the bytes of a PDF."""

    media_type = "application/pdf"
    format = "pdf"
    charset = None
    render_style = "binary"

    def render(self, data: bytes, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return data


class LanguageInput(serializers.Serializer[None]):
    lang = serializers.ChoiceField(
        settings.LANGUAGES,
        required=False,
        help_text="The language of the report; without it that of the account, else the one of `Accept-Language`.",
    )


class ReportOutput(serializers.Serializer[None]):
    report = serializers.CharField(help_text="What the report's file is called.")
    url = serializers.CharField(
        help_text="Where the PDF is to be had, by its owner only: with the same bearer token, or logged in on the site."
    )


class ReportView(APIView):
    """What the addresses of reports share: a refusal is JSON whatever the client accepts."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if response.status_code >= 400:
            request.accepted_renderer = renderers.JSONRenderer()
            request.accepted_media_type = "application/json"
        return super().finalize_response(request, response, *args, **kwargs)

    def answer(self, request: Request, analysis: Analysis) -> Response:
        """The report of `analysis`, in the language asked for by ``lang``. Raises ``invalid_field`` for another."""
        asked = LanguageInput(data=request.query_params)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        language = services.choose_language(user, asked.validated_data.get("lang", ""))
        name = file_name(analysis.media)
        # Made here in either case: the address that JSON names is not to be a promise.
        report = services.get_report(analysis, language, site=absolute(request, "/"))
        if request.accepted_renderer.format == PdfRenderer.format:
            services.note_download(report, analysis, actor=user)
            return Response(services.read_report(report), headers={**NO_STORE, **as_download(name, report)})
        url = f"{reverse('report-api', args=[analysis.public_id])}?lang={language}"
        return Response({"report": name, "url": absolute(request, url)}, headers=NO_STORE)


def file_name(media: Media) -> str:
    """What a report's file is called: made of an id only, so no name that somebody gave reaches a header or a disk."""
    return f"{media.public_id}.pdf"


def as_download(name: str, report: Report) -> dict[str, str]:
    """Headers that go with the file."""
    disposition = content_disposition_header(True, name) or "attachment"
    return {"Content-Disposition": disposition, "Content-Language": report.language}


def absolute(request: HttpRequest | Request, path: str) -> str:
    return str(request.build_absolute_uri(path))


def responses(*kinds: Code | SentinelError) -> dict[tuple[int, str], OpenApiResponse]:
    """A report's answers for the schema: these refusals besides those that can come of every report."""
    found = OpenApiResponse(
        ReportOutput,
        description="The report: with `Accept: application/json` where it is, with `application/pdf` the PDF itself.",
        examples=[OpenApiExample("success", value={"report": f"{AN_ID}.pdf", "url": A_URL}, response_only=True)],
    )
    refused = refusals(
        *kinds, Code.NOT_FINISHED, Code.NO_RESULT, Code.LANGUAGE_UNAVAILABLE, Code.REPORTS_BUSY, Code.STORAGE_AWAY
    )
    return {
        (200, "application/json"): found,
        (200, PdfRenderer.media_type): OpenApiResponse(OpenApiTypes.BINARY, description="The report."),
        **{(status, "application/json"): answer for status, answer in refused.items()},
    }

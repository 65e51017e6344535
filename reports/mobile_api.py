"""The phone apps' two endpoints about reports: paths, fields, codes and texts are a published contract."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import renderers, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import Code
from accounts.mobile_api import MobileView, user_asked_for
from accounts.schema import ALWAYS, wrong_field
from media_analysis import mobile_selectors
from media_analysis.mobile_serializers import ImageInput, VideoInput
from media_analysis.models import Media
from reports.negotiation import LanguageInput, PdfRenderer, ReportView, responses

DESCRIPTION = (
    "`url` is of the PDF, for the owner's eyes only: fetch it with the same bearer token. "
    "With `Accept: application/pdf` the answer is the PDF itself."
)
USER_REFUSALS = (Code.NOT_AUTHENTICATED, Code.FORBIDDEN, Code.USER_NOT_FOUND)


class MobileReportView(ReportView, MobileView):
    # The first is for clients that accept anything.
    renderer_classes = (renderers.JSONRenderer, PdfRenderer)

    def report_of(
        self, request: Request, shape: type[serializers.Serializer[Any]], field: str, kind: Media.Kind
    ) -> Response:
        asked = shape(data=request.query_params)
        asked.is_valid(raise_exception=True)
        user = user_asked_for(request, asked.validated_data)
        media = mobile_selectors.get_media(user, asked.validated_data[field], kind)
        return self.answer(request, mobile_selectors.latest_analysis(media))


class VideoReportView(MobileReportView):
    """Row 5 of the contract."""

    @extend_schema(
        summary="The report of a video",
        description=DESCRIPTION,
        tags=["mobile"],
        parameters=[VideoInput, LanguageInput],
        responses=responses(
            wrong_field("videoId", "This field is required."),
            *USER_REFUSALS,
            mobile_selectors.not_yours(Media.Kind.VIDEO),
            Code.VIDEO_NOT_FOUND,
            *ALWAYS,
        ),
    )
    def get(self, request: Request) -> Response:
        return self.report_of(request, VideoInput, "videoId", Media.Kind.VIDEO)


class ImageReportView(MobileReportView):
    """Row 11 of the contract."""

    @extend_schema(
        summary="The report of an image",
        description=DESCRIPTION,
        tags=["mobile"],
        parameters=[ImageInput, LanguageInput],
        responses=responses(
            wrong_field("imageId", "This field is required."),
            *USER_REFUSALS,
            mobile_selectors.not_yours(Media.Kind.IMAGE),
            Code.IMAGE_NOT_FOUND,
            *ALWAYS,
        ),
    )
    def get(self, request: Request) -> Response:
        return self.report_of(request, ImageInput, "imageId", Media.Kind.IMAGE)

"""The phone apps' endpoints about videos and photos: paths, fields, codes and texts are a published contract.

Each parses, calls one service or selector, and answers. `/api/v1/` has the same and more, in newer clothes.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits
from accounts.errors import Code, SentinelError
from accounts.mobile_api import MobileView, user_asked_for
from accounts.models import User
from accounts.schema import ALWAYS, WITH_BODY, refusals, success, wrong_field
from media_analysis import custody, evidence, mobile_selectors, services, validators
from media_analysis import mobile_serializers as serializers
from media_analysis.case_serializers import filled
from media_analysis.intake import KEY_HEADER, KEY_PATTERN, idempotency_key_of
from media_analysis.links import submit_link
from media_analysis.models import Analysis, Media, Submission
from media_analysis.uploads import stage_upload
from ml.contracts import MediaKind

VIDEO, IMAGE = Media.Kind.VIDEO, Media.Kind.IMAGE
# The space at the end is part of the contract.
VIDEO_ACCEPTED = "Video is being processed "
IMAGE_ACCEPTED = "Image is being processed"
REMOVED = {"code": 200, "message": "deletion successful", "success": True}
FAILED = SentinelError(
    Code.NO_RESULT, text=_("The examination failed, so there is no labelled picture. Have the image examined again.")
)
# A labelled picture never changes under its name, and only its owner's device may keep it.
PICTURE_CACHE = "private, max-age=86400, immutable"
NO_STORE = "private, no-store"

USER, FILE, OTHER = "5f12f436f85c333030ea30ca", "5f12f98cf85c333030ea30cb", "5f12f98cf85c333030ea30cc"
A_VIDEO = {
    "_id": FILE,
    "fileName": f"video-{FILE}.mp4",
    "status": "FAKE",
    "confidence": 97.4,
    "realToFakeRatio": 0.143,
    "timestamps": [[3.2, 9.6]],
    "fileChecksum": "f76f8c4d2eceb6d8079e5cb18ae81839",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "duration": 45.037622,
    "bitrate": 1080,
    "fps": 24.0,
    "fileSize": 3413818,
    "timeToProcess": 8123.0,
    "createdAt": "2026-11-22T18:05:11Z",
}
A_HISTORY = {
    "code": 200,
    "message": "User found",
    "data": {"id": USER, "vid": [{"feedback": "", "tweetId": "", "_id": FILE}], "img": [], "remaining": 7},
    "vdata": [A_VIDEO],
    "idata": [],
}
KEY = OpenApiParameter(
    KEY_HEADER,
    str,
    OpenApiParameter.HEADER,
    pattern=f"^{KEY_PATTERN}$",
    description="Your name for this request: repeated under it with the same file, it makes one examination.",
)
USER_REFUSALS = (Code.NOT_AUTHENTICATED, Code.FORBIDDEN, Code.USER_NOT_FOUND)
INTAKE_REFUSALS = (
    Code.FILE_MISSING,
    *USER_REFUSALS,
    Code.FILE_TOO_LARGE,
    Code.UNREADABLE_MEDIA,
    Code.STORAGE_FULL,
    Code.STORAGE_AWAY,
    Code.KEY_REUSED,
    Code.RATE_LIMITED,
    *WITH_BODY,
)


def _valid(shape: type[Any], given: Any) -> dict[str, Any]:
    """What a request's fields say. Raises ValidationError, which is answered as ``invalid_field``."""
    asked = shape(data=given)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


def _submit(request: Request, owner: User, kind: Media.Kind, case: dict[str, Any]) -> Analysis:
    """Take in the file of this kind that came with the request, in the field named so."""
    analysis = services.submit_media(
        owner=owner,
        source=Submission.Source.API,
        staged=stage_upload(request.FILES.get(kind.value)),
        idempotency_key=idempotency_key_of(request),
        case_details=case,
        kind=kind,
    )
    if analysis.media.kind != kind:
        # Accepted before under this key, at the other address.
        raise validators.wrong_kind(MediaKind(kind))
    return analysis


class ClassifyView(MobileView):
    """Row 3 of the contract."""

    @extend_schema(
        summary="Have a video examined",
        description="Send the file as `video`. The police case may come with it; an identity-card number is not kept. "
        "`youtubeLink` or `url` in place of the file is a link to a video, on a site such as YouTube or to the file "
        "itself: it is fetched first, and the history says `FAILED` with a `reason` if there is no video to be had. A "
        "link that you had examined before is answered with that at once and costs nothing. A refusal costs none of "
        "today's classifications.",
        tags=["mobile"],
        parameters=[KEY],
        request={
            "multipart/form-data": serializers.VideoUploadInput,
            "application/json": serializers.ClassifyInput,
            "application/x-www-form-urlencoded": serializers.ClassifyInput,
        },
        responses={
            200: success(
                serializers.VideoAcceptedOutput,
                "Accepted. What is found will be in the history.",
                {"code": 200, "message": VIDEO_ACCEPTED, "videoId": FILE, "analysisId": OTHER, "remaining": 9},
            ),
            **refusals(
                wrong_field("cmpltEmail", "Enter a valid email address."),
                Code.VIDEO_TOO_LONG,
                Code.FPS_TOO_HIGH,
                Code.NO_VIDEO_STREAM,
                validators.wrong_kind(MediaKind.VIDEO),
                Code.UNSUPPORTED_TYPE,
                Code.LINK_NOT_SUPPORTED,
                *INTAKE_REFUSALS,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        asked = _valid(serializers.ClassifyInput, request.data)
        owner, case = user_asked_for(request, asked), filled(asked)
        link = asked.get("youtubeLink") or asked.get("url")
        if link and VIDEO.value not in request.FILES:
            analysis, _is_new = submit_link(
                owner=owner,
                source=Submission.Source.API,
                url=link,
                idempotency_key=idempotency_key_of(request),
                case_details=case,
                kind=VIDEO,
            )
        else:
            analysis = _submit(request, owner, VIDEO, case)
        return Response(
            {
                "code": 200,
                "message": VIDEO_ACCEPTED,
                "videoId": analysis.media.public_id,
                "analysisId": analysis.public_id,
                "remaining": limits.remaining(owner),
            }
        )


class HistoryView(MobileView):
    """Row 4 of the contract."""

    @extend_schema(
        summary="All your videos and images with what was found",
        description="Oldest first. While a file is examined its `status` is `PROCESSING` and what is not known yet is "
        "null. With `INCONCLUSIVE`, `NOT_ASSESSABLE` and `FAILED`, `reason` says why.",
        tags=["mobile"],
        request=serializers.UserInput,
        responses={
            200: success(serializers.HistoryOutput, "Everything there is.", A_HISTORY),
            **refusals(wrong_field("userId", "Not a valid string."), *USER_REFUSALS, *WITH_BODY),
        },
    )
    def post(self, request: Request) -> Response:
        user = user_asked_for(request, _valid(serializers.UserInput, request.data))
        history, results = mobile_selectors.history(user)
        custody.look(results, actor=user, what=custody.What.APP_LIST)
        return Response({"code": 200, "message": "User found", **history})


class RemoveVideoView(MobileView):
    """Row 6 of the contract."""

    @extend_schema(
        summary="Delete a video with everything made from it",
        description="A receipt with the file's hashes stays: see `/api/v1/receipts/`.",
        tags=["mobile"],
        request=serializers.VideoInput,
        responses={
            200: success(serializers.RemovedOutput, "It is gone.", REMOVED),
            **refusals(
                wrong_field("videoId", "This field is required."),
                *USER_REFUSALS,
                mobile_selectors.not_yours(VIDEO),
                Code.VIDEO_NOT_FOUND,
                *WITH_BODY,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        asked = _valid(serializers.VideoInput, request.data)
        user = user_asked_for(request, asked)
        services.delete_media(mobile_selectors.get_media(user, asked["videoId"], VIDEO), actor=user)
        return Response(REMOVED)


class ImageView(MobileView):
    """Rows 7 and 8 of the contract: the same path, sending an image and asking for its labelled picture."""

    @extend_schema(
        summary="Have an image examined",
        description="Send the file as `image`. A refusal costs none of today's classifications.",
        tags=["mobile"],
        parameters=[KEY],
        # Bodies of the other types are read too, but no file can come in them.
        request={"multipart/form-data": serializers.ImageUploadInput},
        responses={
            200: success(
                serializers.ImageAcceptedOutput,
                "Accepted. What is found will be in the history.",
                {"code": 200, "message": IMAGE_ACCEPTED, "imageId": FILE, "analysisId": OTHER, "remaining": 9},
            ),
            **refusals(
                wrong_field("userId", "Not a valid string."),
                validators.wrong_kind(MediaKind.IMAGE),
                Code.NO_VIDEO_STREAM,
                *INTAKE_REFUSALS,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        owner = user_asked_for(request, _valid(serializers.UserInput, request.data))
        analysis = _submit(request, owner, IMAGE, {})
        return Response(
            {
                "code": 200,
                "message": IMAGE_ACCEPTED,
                "imageId": analysis.media.public_id,
                "analysisId": analysis.public_id,
                "remaining": limits.remaining(owner),
            }
        )

    @extend_schema(
        summary="The name of an image's labelled picture",
        description="The picture itself is at `GET /get-image/image`.",
        tags=["mobile"],
        parameters=[serializers.ImageInput],
        responses={
            200: success(serializers.ImageFileOutput, "It is there.", {"code": 200, "imageFile": f"image-{FILE}.jpg"}),
            **refusals(
                wrong_field("imageId", "This field is required."),
                *USER_REFUSALS,
                mobile_selectors.not_yours(IMAGE),
                Code.IMAGE_NOT_FOUND,
                Code.NOT_FINISHED,
                FAILED,
                *ALWAYS,
            ),
        },
    )
    def get(self, request: Request) -> Response:
        asked = _valid(serializers.ImageInput, request.query_params)
        user = user_asked_for(request, asked)
        media = mobile_selectors.get_media(user, asked["imageId"], IMAGE)
        analysis = mobile_selectors.latest_analysis(media)
        if analysis.status == Analysis.Status.FAILED:
            raise FAILED
        if not analysis.is_finished:
            raise SentinelError(Code.NOT_FINISHED)
        mobile_selectors.labelled_picture(analysis)
        name = mobile_selectors.file_name(media.kind, media.public_id, media.container)
        return Response({"code": 200, "imageFile": name}, headers={"Cache-Control": NO_STORE})


class AnyAccepted(BaseContentNegotiation):
    """Pictures are asked for with whatever `Accept` the client has; a refusal is JSON all the same."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class ImageFileView(MobileView):
    """Row 9 of the contract."""

    content_negotiation_class = AnyAccepted

    @extend_schema(
        summary="An image with its faces boxed and scored",
        description="The image as received, upright and at most 2560 pixels wide or high. On each face that was "
        "judged: its person's number, `FAKE`, `REAL` or `INCONCLUSIVE`, and its fake probability in percent.",
        tags=["mobile"],
        parameters=[serializers.ImageFileInput],
        responses={
            (200, "image/jpeg"): OpenApiResponse(OpenApiTypes.BINARY, description="The labelled picture."),
            **{
                (status, "application/json"): answer
                for status, answer in refusals(
                    wrong_field("imageFile", "This field is required."),
                    Code.NOT_AUTHENTICATED,
                    mobile_selectors.not_yours(IMAGE),
                    Code.IMAGE_NOT_FOUND,
                    *(kind for kind in ALWAYS if kind is not Code.NOT_ACCEPTABLE),
                ).items()
            },
        },
    )
    def get(self, request: Request) -> HttpResponse:
        asked = _valid(serializers.ImageFileInput, request.query_params)
        user: Any = request.user
        public_id = mobile_selectors.id_in_image_file(asked["imageFile"])
        media = mobile_selectors.get_media(user, public_id, IMAGE)
        analysis = mobile_selectors.latest_analysis(media)
        stored = mobile_selectors.labelled_picture(analysis)
        headers = {
            "Cache-Control": PICTURE_CACHE,
            "Content-Disposition": content_disposition_header(False, asked["imageFile"]) or "inline",
        }
        jpeg = evidence.read(stored)
        custody.look_at(analysis, actor=user, what=custody.What.PICTURE)
        return HttpResponse(jpeg, content_type="image/jpeg", headers=headers)


class RemoveImageView(MobileView):
    """Row 10 of the contract."""

    @extend_schema(
        summary="Delete an image with everything made from it",
        description="`imageFile` has to be the name that `GET /get-image` gives for this image.",
        tags=["mobile"],
        request=serializers.RemoveImageInput,
        responses={
            200: success(serializers.RemovedOutput, "It is gone.", REMOVED),
            **refusals(
                wrong_field("imageFile", "This field is required."),
                *USER_REFUSALS,
                mobile_selectors.not_yours(IMAGE),
                Code.IMAGE_NOT_FOUND,
                *WITH_BODY,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        asked = _valid(serializers.RemoveImageInput, request.data)
        user = user_asked_for(request, asked)
        media = mobile_selectors.get_media(user, asked["imageId"], IMAGE)
        if mobile_selectors.id_in_image_file(asked["imageFile"]) != media.public_id:
            raise SentinelError(Code.IMAGE_NOT_FOUND)
        services.delete_media(media, actor=user)
        return Response(REMOVED)

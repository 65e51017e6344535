"""/api/v1/: analyses as a resource. Parses, calls one service or selector, serialises."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import generics, mixins, parsers, status, viewsets
from rest_framework.decorators import action
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import TokenAuthentication
from accounts.errors import Code, SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.models import User
from accounts.parsers import JSONParser
from accounts.schema import ALWAYS, WITH_BODY, refusals
from media_analysis import (
    cases,
    custody,
    evidence,
    feedback,
    links,
    model_cards,
    resumable,
    selectors,
    serializers,
    services,
    streaming,
)
from media_analysis.api_examples import A_MODEL, A_RESULT
from media_analysis.case_serializers import filled
from media_analysis.intake import KEY_HEADER, KEY_PATTERN, idempotency_key_of
from media_analysis.link_addresses import Cut
from media_analysis.model_serializers import ModelOutput
from media_analysis.models import Analysis, DeletionReceipt, Feedback, Submission
from media_analysis.query_serializers import AnalysisFilterInput, PageInput, Pages, read_query
from media_analysis.result_serializers import PictureOutput, describe_picture
from media_analysis.uploads import stage_upload

# May be kept, but asked about each time: the answer is 304 as long as nothing changed.
REVALIDATE = "private, no-cache"
# Evidence never changes under its name, and only its owner's device may keep it.
EVIDENCE_CACHE = "private, max-age=86400, immutable"
NO_STORE = "private, no-store"

PUBLIC_ID = OpenApiParameter(
    "public_id", str, OpenApiParameter.PATH, pattern=f"^{PUBLIC_ID_PATTERN}$", description="The analysis's id."
)
SIGNED_IN = (Code.NOT_AUTHENTICATED, *ALWAYS)
ONE = (Code.NOT_FOUND, *SIGNED_IN)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of an earlier answer: 304 if it still holds."
)
RANGES = (
    OpenApiParameter(
        "Range",
        str,
        OpenApiParameter.HEADER,
        description="One range such as `bytes=0-1023`: 206 with that part. Anything else is passed over.",
    ),
    OpenApiParameter(
        "If-Range",
        str,
        OpenApiParameter.HEADER,
        description="The ETag of an earlier answer: with another one, the whole file is sent.",
    ),
)
NOT_MODIFIED = {304: OpenApiResponse(description="Nothing changed since the answer with this ETag.")}
INTAKE_REFUSALS = refusals(
    Code.FILE_MISSING,
    Code.INVALID_FIELD,
    Code.NOT_AUTHENTICATED,
    Code.FORBIDDEN,
    SentinelError(Code.NOT_FOUND),
    Code.UPLOAD_UNFINISHED,
    Code.FILE_TOO_LARGE,
    Code.VIDEO_TOO_LONG,
    Code.FPS_TOO_HIGH,
    Code.NO_VIDEO_STREAM,
    Code.UNREADABLE_MEDIA,
    Code.STORAGE_FULL,
    Code.STORAGE_AWAY,
    Code.UNSUPPORTED_TYPE,
    Code.KEY_REUSED,
    Code.LINK_NOT_SUPPORTED,
    Code.UPLOAD_LOCKED,
    Code.RATE_LIMITED,
    *WITH_BODY,
)

AN_ANALYSIS = {
    "id": "5f12f98cf85c333030ea30cc",
    "media": {
        "id": "5f12f98cf85c333030ea30cb",
        "kind": "video",
        "original_name": "clip.mp4",
        "size": 3413818,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "md5": "f76f8c4d2eceb6d8079e5cb18ae81839",
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "codec": "h264",
        "width": 1280,
        "height": 720,
        "rotation": 0,
        "duration": 45.04,
        "frame_rate": 24.0,
        "frame_count": 1080,
        "bit_rate": 606404,
        "has_audio": True,
        "created_at": "2026-11-22T18:05:11Z",
    },
    "status": "queued",
    "stage": "",
    "progress": 0,
    "outcome": "",
    "reason": "",
    "reason_text": "",
    "verdict": "",
    "error_code": "",
    "fake_probability": None,
    "pooled_probability": None,
    "confidence": None,
    "real_frames": None,
    "fake_frames": None,
    "real_to_fake_ratio": None,
    "detector": "",
    "detector_version": "",
    "weights_sha256": [],
    "software_version": "",
    "seconds": None,
    "attempts": 0,
    "created_at": "2026-11-22T18:05:11Z",
    "started_at": None,
    "finished_at": None,
}
A_FINISHED_ANALYSIS = {
    **AN_ANALYSIS,
    "status": "done",
    "progress": 100,
    **{
        key: A_RESULT[key]
        for key in (
            *("outcome", "fake_probability", "pooled_probability", "confidence", "real_frames", "fake_frames"),
            *("real_to_fake_ratio", "detector", "detector_version", "weights_sha256", "seconds"),
        )
    },
    "verdict": "Signs of manipulation found",
    "software_version": "0.1.0",
    "attempts": 1,
    "started_at": "2026-11-22T18:05:12Z",
    "finished_at": "2026-11-22T18:05:20Z",
    "result": A_RESULT,
    "queue_position": 0,
    "error_rates": A_RESULT["error_rates"],
    "case": None,
    "link": None,
    "pictures": [
        {
            "name": "frame-96.jpg",
            "url": "/api/v1/analyses/5f12f98cf85c333030ea30cc/pictures/frame-96.jpg",
            "kind": "frame",
            "track": None,
            "frame": 96,
        }
    ],
}
SOME_FEEDBACK = {
    "opinion": "disagree",
    "comment": "I filmed this myself.",
    "consent": False,
    "consent_at": None,
    "exported_at": None,
    "created_at": "2026-11-22T18:20:00Z",
    "updated_at": "2026-11-22T18:20:00Z",
}
A_RECEIPT = {
    "id": "5f12f98cf85c333030ea30cd",
    "media_id": "5f12f98cf85c333030ea30cb",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "md5": "f76f8c4d2eceb6d8079e5cb18ae81839",
    "size": 3413818,
    "received_at": "2026-11-22T18:05:11Z",
    "deleted_at": "2026-11-23T04:30:00Z",
}


def the_user(request: Request) -> User:
    """Who asks: always somebody, behind the default permissions."""
    user: Any = request.user
    return user  # type: ignore[no-any-return]


def source_of(request: Request) -> Submission.Source:
    """Apps come with a token, the site's own pages with its session."""
    by_token = isinstance(request.successful_authenticator, TokenAuthentication)
    return Submission.Source.API if by_token else Submission.Source.WEB


@extend_schema_view(
    list=extend_schema(
        summary="Your analyses, newest first",
        description="Newest received first. Everything found is in the single analysis, not in this list.",
        tags=["analyses"],
        parameters=[AnalysisFilterInput, IF_NONE_MATCH],
        responses={
            200: serializers.AnalysisSummaryOutput(many=True),
            **NOT_MODIFIED,
            **refusals(Code.INVALID_FIELD, *ONE),
        },
        examples=[OpenApiExample("One waiting analysis", value=AN_ANALYSIS, response_only=True, status_codes=[200])],
    ),
    retrieve=extend_schema(
        summary="One analysis with everything found",
        description="Tracks with a score for each face, the frames looked at, timestamps, facts and provenance of the "
        "file, measured error rates, settings, and where the pictures are.",
        tags=["analyses"],
        parameters=[PUBLIC_ID, IF_NONE_MATCH],
        responses={200: serializers.AnalysisOutput, **NOT_MODIFIED, **refusals(*ONE)},
        examples=[OpenApiExample("A fake", value=A_FINISHED_ANALYSIS, response_only=True, status_codes=[200])],
    ),
)
class AnalysisViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Analysis]):
    lookup_field = "public_id"
    lookup_value_regex = PUBLIC_ID_PATTERN
    serializer_class = serializers.AnalysisSummaryOutput
    pagination_class = Pages
    # The schema generator asks for a model without a user.
    queryset = Analysis.objects.none()

    def get_queryset(self) -> QuerySet[Analysis]:
        user: Any = self.request.user
        if not user.is_authenticated:
            return Analysis.objects.none()
        if self.action != "list":
            return selectors.analyses_visible_to(user)
        analyses = selectors.own_analyses(user)
        asked = read_query(AnalysisFilterInput, self.request.query_params)
        filters = {name: value for name, value in asked.items() if not name.startswith("page")}
        return selectors.filter_analyses(analyses, **filters)

    def get_object(self) -> Analysis:
        analysis = super().get_object()
        custody.look_at(analysis, actor=the_user(self.request), what=custody.What.API)
        return analysis

    def get_serializer_class(self) -> Any:
        return serializers.AnalysisOutput if self.action == "retrieve" else self.serializer_class

    def get_parsers(self) -> list[parsers.BaseParser]:
        return [parsers.MultiPartParser(), JSONParser()]

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if request.method in {"GET", "HEAD"}:
            response.headers.setdefault("Cache-Control", REVALIDATE)
        return response

    @extend_schema(
        summary="Submit a video or a photo",
        description="Send the file itself, name a resumable upload that is complete, or give a link. With an "
        "`Idempotency-Key` the request can be repeated until it is answered: however often it comes, it makes one "
        "analysis and costs one of today's classifications. The same holds for an `upload_id` without a key.\n\n"
        "A `url` is accepted at once and fetched later: the analysis is `queued` in the stage `fetching`, and `failed` "
        "if there is no file to be had. One that you had examined before, or are having, is answered 200 with that "
        "analysis and costs nothing.",
        tags=["analyses"],
        parameters=[
            OpenApiParameter(
                KEY_HEADER,
                str,
                OpenApiParameter.HEADER,
                pattern=f"^{KEY_PATTERN}$",
                description="Your name for this request, 1 to 255 visible ASCII characters: best a random UUID.",
            ),
            OpenApiParameter(
                "Location", str, OpenApiParameter.HEADER, response=[200, 201], description="Where the analysis is."
            ),
        ],
        request={
            "multipart/form-data": serializers.UploadInput,
            "application/json": serializers.ReferenceInput,
        },
        responses={
            200: OpenApiResponse(serializers.AnalysisSummaryOutput, description="The link was examined before."),
            201: serializers.AnalysisSummaryOutput,
            **INTAKE_REFUSALS,
        },
        examples=[
            OpenApiExample(
                "A complete upload",
                value={"upload_id": "5f12f98cf85c333030ea30cb"},
                request_only=True,
                media_type="application/json",
            ),
            OpenApiExample(
                "A part of a video on a site",
                value={"url": "https://www.youtube.com/watch?v=jNQXAC9IVRw", "start": 2.5, "end": 14},
                request_only=True,
                media_type="application/json",
            ),
            OpenApiExample("Accepted", value=AN_ANALYSIS, response_only=True, status_codes=[200, 201]),
        ],
    )
    def create(self, request: Request) -> Response:
        owner, source, key = the_user(request), source_of(request), idempotency_key_of(request)
        asked = serializers.ReferenceInput(data=request.data)
        asked.is_valid(raise_exception=True)
        elsewhere = asked.validated_data
        answer: int = status.HTTP_201_CREATED
        upload_id, url, case = elsewhere.get("upload_id"), elsewhere.get("url"), filled(elsewhere)
        detector = elsewhere.get("detector", "")
        if (upload_id or url) and request.FILES:
            raise SentinelError(Code.INVALID_FIELD)
        seat = cases.seat_for_file(owner, elsewhere.get("add_to_case", ""))
        if upload_id:
            analysis = resumable.submit_upload(
                owner=owner,
                source=source,
                upload_id=upload_id,
                idempotency_key=key,
                case_details=case,
                detector=detector,
            )
        elif url:
            cut = Cut(elsewhere["start"], elsewhere["end"]) if "end" in elsewhere else None
            analysis, is_new = links.submit_link(
                owner=owner, source=source, url=url, idempotency_key=key, case_details=case, cut=cut
            )
            answer = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        else:
            staged = stage_upload(request.FILES.get("file"))
            analysis = services.submit_media(
                owner=owner,
                source=source,
                staged=staged,
                idempotency_key=key,
                case_details=case,
                detector=detector,
            )
        if seat:
            # After a crash in between, the same request with its Idempotency-Key puts it there.
            cases.add_media(seat, [analysis.media.public_id])
        location = reverse("api:analysis-detail", args=[analysis.public_id])
        output = serializers.AnalysisSummaryOutput(analysis)
        return Response(output.data, status=answer, headers={"Location": location})

    @extend_schema(
        summary="Delete the file with everything made from it",
        description="What stays is a receipt with the file's hashes.",
        tags=["analyses"],
        parameters=[PUBLIC_ID],
        responses={200: serializers.ReceiptOutput, **refusals(Code.FORBIDDEN, *ONE)},
        examples=[OpenApiExample("Deleted", value=A_RECEIPT, response_only=True, status_codes=[200])],
    )
    def destroy(self, request: Request, public_id: str) -> Response:
        user = the_user(request)
        receipt = services.delete_media(selectors.get_own_analysis(user, public_id).media, actor=user)
        return Response(serializers.ReceiptOutput(receipt).data)

    @extend_schema(
        summary="How far it is",
        description="Ask every second or two while it is not finished, with the ETag of the last answer.",
        tags=["analyses"],
        parameters=[PUBLIC_ID, IF_NONE_MATCH],
        responses={200: serializers.ProgressOutput, **NOT_MODIFIED, **refusals(*ONE)},
        examples=[
            OpenApiExample(
                "Being examined",
                value={
                    "id": AN_ANALYSIS["id"],
                    "status": "running",
                    "stage": "judging",
                    "stage_text": "Judging the faces",
                    "progress": 62,
                    "queue_position": 0,
                    "served": True,
                    "finished": False,
                },
                response_only=True,
                status_codes=[200],
            )
        ],
    )
    @action(detail=True)
    def progress(self, request: Request, public_id: str) -> Response:
        output = serializers.ProgressOutput(selectors.get_analysis(the_user(request), public_id))
        return Response(output.data)

    @extend_schema(
        summary="Try a failed one again",
        description="Costs one of today's classifications only if its failure had given that back.",
        tags=["analyses"],
        parameters=[PUBLIC_ID],
        request=None,
        responses={
            202: serializers.AnalysisSummaryOutput,
            **refusals(Code.FORBIDDEN, Code.NOT_FAILED, Code.RATE_LIMITED, *ONE),
        },
        examples=[OpenApiExample("Queued again", value=AN_ANALYSIS, response_only=True, status_codes=[202])],
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, public_id: str) -> Response:
        analysis = selectors.get_own_analysis(the_user(request), public_id)
        if analysis.status != Analysis.Status.FAILED or not services.retry_analysis(analysis):
            raise SentinelError(Code.NOT_FAILED)
        analysis.refresh_from_db()
        return Response(serializers.AnalysisSummaryOutput(analysis).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        summary="The pictures of a result",
        description="Empty until the analysis is done.",
        tags=["analyses"],
        parameters=[PUBLIC_ID, IF_NONE_MATCH],
        responses={200: PictureOutput(many=True), **NOT_MODIFIED, **refusals(*ONE)},
        examples=[
            OpenApiExample(
                "A face",
                value={
                    "name": "crop-0-48.jpg",
                    "url": "/api/v1/analyses/5f12f98cf85c333030ea30cc/pictures/crop-0-48.jpg",
                    "kind": "crop",
                    "track": 0,
                    "frame": 48,
                },
                response_only=True,
                status_codes=[200],
            )
        ],
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def pictures(self, request: Request, public_id: str) -> Response:
        analysis = selectors.get_analysis(the_user(request), public_id)
        custody.look_at(analysis, actor=the_user(request), what=custody.What.API)
        described = [describe_picture(analysis, stored) for stored in analysis.evidence]
        return Response(PictureOutput(described, many=True).data)


class JSONUnlessPicture(BaseContentNegotiation):
    """Takes any Accept header: there is one kind of picture, and errors are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class PictureView(APIView):
    """One picture of a result."""

    content_negotiation_class = JSONUnlessPicture

    @extend_schema(
        summary="One picture of a result",
        description="A JPEG that never changes under its name.",
        tags=["analyses"],
        parameters=[
            PUBLIC_ID,
            OpenApiParameter(
                "name",
                str,
                OpenApiParameter.PATH,
                pattern=f"^{evidence.NAME_PATTERN}$",
                description="As the list of pictures has it, such as `frame-48.jpg` or `labelled.jpg`.",
            ),
            IF_NONE_MATCH,
        ],
        responses={
            (200, "image/jpeg"): OpenApiTypes.BINARY,
            **NOT_MODIFIED,
            **refusals(Code.STORAGE_AWAY, *(code for code in ONE if code is not Code.NOT_ACCEPTABLE)),
        },
    )
    def get(self, request: Request, public_id: str, name: str) -> HttpResponse:
        user = the_user(request)
        analysis = selectors.get_analysis(user, public_id)
        # Small, and read whole: a streamed answer from synchronous code is read whole too under ASGI.
        jpeg = evidence.read(evidence.find(analysis, name))
        custody.look_at(analysis, actor=user, what=custody.What.PICTURE)
        # What one may see as a member of a case one may see only as long.
        cache = EVIDENCE_CACHE if analysis.media.owner_id == user.pk else NO_STORE
        return HttpResponse(jpeg, content_type="image/jpeg", headers={"Cache-Control": cache})


class MediaView(APIView):
    """The file that was examined, as it came."""

    content_negotiation_class = JSONUnlessPicture

    @extend_schema(
        summary="The file that was examined",
        description="The original, byte for byte. Ask for a part of it with `Range` to go on after a broken "
        "download, or to play it. A download is written into the file's custody log.",
        tags=["analyses"],
        parameters=[
            PUBLIC_ID,
            *RANGES,
            IF_NONE_MATCH,
        ],
        responses={
            **{
                (status, content_type): OpenApiResponse(OpenApiTypes.BINARY, description=description)
                for status, description in ((200, "The whole file."), (206, "The part that was asked for."))
                for content_type in (*streaming.TYPES.values(), streaming.WEBM, streaming.ANY_TYPE)
            },
            **NOT_MODIFIED,
            302: OpenApiResponse(
                description="Where the site has its storage send files: the address, for a short time."
            ),
            **refusals(
                Code.RANGE_NOT_SATISFIABLE,
                Code.STORAGE_AWAY,
                *(code for code in ONE if code is not Code.NOT_ACCEPTABLE),
            ),
        },
    )
    def get(self, request: Request, public_id: str) -> HttpResponseBase:
        user = the_user(request)
        media = selectors.get_analysis(user, public_id).media
        return streaming.answer_with_file(request._request, media, actor=user, download=True)


class ReceiptListView(generics.ListAPIView[DeletionReceipt]):
    """What stays of the files that the user deleted."""

    serializer_class = serializers.ReceiptOutput
    pagination_class = Pages
    queryset = DeletionReceipt.objects.none()

    def get_queryset(self) -> QuerySet[DeletionReceipt]:
        read_query(PageInput, self.request.query_params)
        return selectors.receipts_of(the_user(self.request))

    @extend_schema(
        summary="Receipts of your deleted files, newest first",
        tags=["analyses"],
        parameters=[PageInput],
        responses={200: serializers.ReceiptOutput(many=True), **refusals(Code.INVALID_FIELD, *ONE)},
        examples=[OpenApiExample("A receipt", value=A_RECEIPT, response_only=True, status_codes=[200])],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class FeedbackView(APIView):
    """What the owner of a finished analysis says about it: one for each, changed by giving it again."""

    @extend_schema(
        summary="What you said about this analysis",
        tags=["analyses"],
        parameters=[PUBLIC_ID],
        responses={200: serializers.FeedbackOutput, **refusals(Code.FORBIDDEN, *ONE)},
        examples=[OpenApiExample("Said", value=SOME_FEEDBACK, response_only=True, status_codes=[200])],
    )
    def get(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        given = selectors.get_feedback(user, selectors.get_own_analysis(user, public_id))
        if given is None:
            raise SentinelError(Code.NOT_FOUND)
        return Response(serializers.FeedbackOutput(given).data)

    @extend_schema(
        summary="Agree or disagree with the result",
        tags=["analyses"],
        parameters=[PUBLIC_ID],
        request=serializers.FeedbackInput,
        responses={
            200: serializers.FeedbackOutput,
            **refusals(
                Code.INVALID_FIELD,
                Code.FORBIDDEN,
                Code.NOT_FINISHED,
                Code.TOO_OFTEN,
                Code.NOT_FOUND,
                Code.NOT_AUTHENTICATED,
                *WITH_BODY,
            ),
        },
        examples=[
            OpenApiExample(
                "It is wrong",
                value={"opinion": "disagree", "comment": "I filmed this myself.", "consent": False},
                request_only=True,
            ),
            OpenApiExample("Kept", value=SOME_FEEDBACK, response_only=True, status_codes=[200]),
        ],
    )
    def put(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        analysis = selectors.get_own_analysis(user, public_id)
        said = serializers.FeedbackInput(data=request.data)
        said.is_valid(raise_exception=True)
        given = feedback.give_feedback(
            user=user,
            analysis=analysis,
            opinion=Feedback.Opinion(said.validated_data["opinion"]),
            comment=said.validated_data["comment"],
            consent=said.validated_data["consent"],
        )
        return Response(serializers.FeedbackOutput(given).data)


class ModelListView(APIView):
    """The detectors of this site, for everybody to read."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="The site's detectors, the one in use first",
        tags=["models"],
        responses={200: ModelOutput(many=True), **refusals(Code.MODEL_UNAVAILABLE, *ALWAYS)},
        examples=[OpenApiExample("A detector", value=A_MODEL, response_only=True, status_codes=[200])],
        auth=[],
    )
    def get(self, request: Request) -> Response:
        return Response(ModelOutput(model_cards.list_models(), many=True).data)


class ModelView(APIView):
    """One detector."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="One detector with its measured error rates",
        tags=["models"],
        parameters=[OpenApiParameter("name", str, OpenApiParameter.PATH, description="The detector's name.")],
        responses={
            200: ModelOutput,
            **refusals(Code.NOT_FOUND, Code.MODEL_UNAVAILABLE, *ALWAYS),
        },
        examples=[OpenApiExample("A detector", value=A_MODEL, response_only=True, status_codes=[200])],
        auth=[],
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(ModelOutput(model_cards.get_model(name)).data)

"""/api/v1/: analyses as a resource. Parses, calls one service or selector, serialises."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins, parsers, status, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code, SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from media_analysis import feedback, model_cards, selectors, serializers, services
from media_analysis.models import Analysis, Feedback, Submission
from media_analysis.uploads import stage_upload

REFUSALS = {
    number: OpenApiResponse(serializers.ErrorOutput, description=text)
    for number, text in {
        400: "No file.",
        401: "Not logged in.",
        412: "Larger than the limit.",
        413: "Too long, or too many frames a second.",
        422: "Not a video or photo that can be read.",
        429: "Today's classifications are used up; see Retry-After.",
    }.items()
}
NOT_FOUND = {404: OpenApiResponse(serializers.ErrorOutput, description="Not there, or somebody else's.")}
PUBLIC_ID = OpenApiParameter("public_id", str, OpenApiParameter.PATH, pattern=f"^{PUBLIC_ID_PATTERN}$")


@extend_schema_view(
    list=extend_schema(
        summary="Your analyses, newest first",
        parameters=[
            OpenApiParameter("state", str, description="Only those with this status or outcome."),
            OpenApiParameter("name", str, description="Only those whose file name contains this."),
        ],
        responses=serializers.AnalysisSummaryOutput(many=True),
    ),
    retrieve=extend_schema(
        summary="One analysis with everything found",
        parameters=[PUBLIC_ID],
        responses={200: serializers.AnalysisOutput, **NOT_FOUND},
    ),
)
class AnalysisViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Analysis]):
    lookup_field = "public_id"
    lookup_value_regex = PUBLIC_ID_PATTERN
    serializer_class = serializers.AnalysisSummaryOutput
    # The schema generator asks for a model without a user.
    queryset = Analysis.objects.none()

    def get_queryset(self) -> QuerySet[Analysis]:
        user: Any = self.request.user
        if not user.is_authenticated:
            return Analysis.objects.none()
        asked = self.request.query_params
        return selectors.filter_analyses(
            selectors.analyses_visible_to(user), state=asked.get("state", ""), name=asked.get("name", "")
        )

    def get_serializer_class(self) -> Any:
        return serializers.AnalysisOutput if self.action == "retrieve" else self.serializer_class

    def get_parsers(self) -> list[parsers.BaseParser]:
        return [parsers.MultiPartParser()]

    @extend_schema(
        summary="Submit a video or a photo",
        request={"multipart/form-data": serializers.UploadInput},
        responses={201: serializers.AnalysisSummaryOutput, **REFUSALS},
    )
    def create(self, request: Request) -> Response:
        staged = stage_upload(request.FILES.get("file"))
        user: Any = request.user
        analysis = services.submit_media(owner=user, source=Submission.Source.WEB, staged=staged)
        output = serializers.AnalysisSummaryOutput(analysis)
        return Response(output.data, status=status.HTTP_201_CREATED)

    @extend_schema(
        summary="Delete the file with everything made from it",
        parameters=[PUBLIC_ID],
        responses={204: None, **NOT_FOUND},
    )
    def destroy(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        services.delete_media(selectors.get_analysis(user, public_id).media)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="How far it is", parameters=[PUBLIC_ID], responses={200: serializers.ProgressOutput, **NOT_FOUND}
    )
    @action(detail=True)
    def progress(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        output = serializers.ProgressOutput(selectors.get_analysis(user, public_id))
        return Response(output.data, headers={"Cache-Control": "no-store"})


class FeedbackView(APIView):
    """What the owner of a finished analysis says about it: one for each, changed by giving it again."""

    @extend_schema(
        summary="What you said about this analysis",
        parameters=[PUBLIC_ID],
        responses={200: serializers.FeedbackOutput, **NOT_FOUND},
    )
    def get(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        given = selectors.get_feedback(user, selectors.get_analysis(user, public_id))
        if given is None:
            raise SentinelError(Code.NOT_FOUND)
        return Response(serializers.FeedbackOutput(given).data)

    @extend_schema(
        summary="Agree or disagree with the result",
        parameters=[PUBLIC_ID],
        request=serializers.FeedbackInput,
        responses={
            200: serializers.FeedbackOutput,
            400: OpenApiResponse(serializers.ErrorOutput, description="A field is missing or wrong: see `errors`."),
            **NOT_FOUND,
            409: OpenApiResponse(serializers.ErrorOutput, description="There is no result yet."),
            429: OpenApiResponse(serializers.ErrorOutput, description="Changed too often today."),
        },
    )
    def put(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        analysis = selectors.get_analysis(user, public_id)
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
        summary="The site's detectors, the one in use first", responses=serializers.ModelOutput(many=True), auth=[]
    )
    def get(self, request: Request) -> Response:
        return Response(serializers.ModelOutput(model_cards.list_models(), many=True).data)


class ModelView(APIView):
    """One detector."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="One detector with its measured error rates",
        responses={
            200: serializers.ModelOutput,
            404: OpenApiResponse(serializers.ErrorOutput, description="No detector has that name."),
        },
        auth=[],
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(serializers.ModelOutput(model_cards.get_model(name)).data)

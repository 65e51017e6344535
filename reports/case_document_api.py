"""/api/v1/: reports and exports of a case. Parses, calls one service, serialises."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code, SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.schema import ALWAYS, WITH_BODY, refusals, wrong_field
from accounts.times import RowSerializer, UtcField
from media_analysis import cases
from media_analysis.api import IF_NONE_MATCH, NOT_MODIFIED, RANGES, JSONUnlessPicture
from media_analysis.query_serializers import PageInput, Pages, read_query
from reports import case_documents
from reports.case_document_views import hand_out
from reports.models import CaseDocument
from reports.negotiation import NO_STORE, absolute
from reports.services import choose_language

TAGS = ["cases"]
ONE = (Code.NOT_FOUND, Code.NOT_AUTHENTICATED, *ALWAYS)


def _id(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.PATH, pattern=f"^{PUBLIC_ID_PATTERN}$", description=description)


CASE_ID = _id("public_id", "The case's id.")
DOCUMENT_ID = _id("document_id", "The document's id.")
WAITING = {
    "id": "5f12f98cf85c333030ea30d1",
    "kind": "export",
    "language": "hi",
    "state": "waiting",
    "done": 0,
    "total": 0,
    "size": 0,
    "sha256": "",
    "error_code": "",
    "created_at": "2026-11-23T10:00:00Z",
    "finished_at": None,
    "kept_until": None,
    "file": None,
}
READY = {
    **WAITING,
    "state": "ready",
    "done": 40,
    "total": 40,
    "size": 31_457_280,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "finished_at": "2026-11-23T10:02:10Z",
    "kept_until": "2026-11-24T10:02:10Z",
    "file": "/api/v1/cases/5f12f98cf85c333030ea30ce/documents/5f12f98cf85c333030ea30d1/file/",
}


class CaseDocumentInput(serializers.Serializer[None]):
    kind = serializers.ChoiceField(
        CaseDocument.Kind.choices,
        help_text="`report`: all files with their verdicts and SHA-256, the notes, and a page for each of the first 50 "
        "examined files, as PDF. `export`: that, the full report of every file, the notes as CSV and JSON, the custody "
        "logs, and the signed SHA-256 of all of these, as ZIP.",
    )
    lang = serializers.ChoiceField(
        settings.LANGUAGES,
        required=False,
        help_text="Its language; without it that of the account, else the one of `Accept-Language`.",
    )


class CaseDocumentOutput(RowSerializer[CaseDocument]):
    """A report over a case or an export of it, which only whoever asked for it sees."""

    id = serializers.CharField(source="public_id", help_text="The document's id.")
    kept_until = UtcField(allow_null=True, help_text="When it goes, once it is ready or failed; null before.")
    file = serializers.SerializerMethodField(help_text="Where the file is to be had once it is ready; null before.")

    class Meta:
        model = CaseDocument
        fields = (
            *("id", "kind", "language", "state", "done", "total", "size", "sha256", "error_code"),
            *("created_at", "finished_at", "kept_until", "file"),
        )
        extra_kwargs = {
            "kind": {"help_text": "report or export."},
            "language": {"help_text": "The language that it is in."},
            "state": {"help_text": "waiting, making, ready or failed."},
            "done": {"help_text": "How many files are through while it is made."},
            "total": {"help_text": "Of how many; 0 while it waits."},
            "size": {"help_text": "In bytes, once it is ready."},
            "sha256": {"help_text": "SHA-256 of the file, once it is ready."},
            "error_code": {
                "help_text": "Machine name of why it failed; empty unless it did. `document_outdated`: a file in it "
                "was deleted or taken out of the case since."
            },
            "created_at": {"help_text": "When it was asked for."},
            "finished_at": {"help_text": "When it was ready or failed; null before."},
        }

    def get_file(self, document: CaseDocument) -> str | None:
        if document.state != CaseDocument.State.READY:
            return None
        return reverse("case-document-file-api", args=[document.case.public_id, document.public_id])


def _example(name: str, value: Any, code: int = 200) -> OpenApiExample:
    return OpenApiExample(name, value=value, response_only=True, status_codes=[code])


class CaseDocumentListView(generics.GenericAPIView[Any]):
    """What was made for oneself in a case."""

    serializer_class = CaseDocumentOutput
    pagination_class = Pages
    queryset = CaseDocument.objects.none()

    @extend_schema(
        summary="Your reports and exports of a case",
        description="Those that were made for you and are kept, and those that are under way, newest first.",
        tags=TAGS,
        parameters=[CASE_ID, PageInput],
        responses={200: CaseDocumentOutput(many=True), **refusals(Code.INVALID_FIELD, *ONE)},
        examples=[_example("A document", READY)],
    )
    def get(self, request: Request, public_id: str) -> Response:
        read_query(PageInput, request.query_params)
        user: Any = request.user
        shown = self.paginate_queryset(case_documents.documents_of(cases.take_seat(user, public_id))) or []
        return self.get_paginated_response(CaseDocumentOutput(shown, many=True).data)

    @extend_schema(
        summary="Have a report or an export of a case made",
        description="It is made by the worker, which takes a second or more for each file: ask for it until `state` is "
        "`ready` or `failed`. While one of the same kind and language is under way for you, that is the answer, with "
        "200. It is kept for a day; a newer one of the same kind and language takes its place.",
        tags=TAGS,
        parameters=[CASE_ID],
        request=CaseDocumentInput,
        responses={
            202: CaseDocumentOutput,
            200: OpenApiResponse(CaseDocumentOutput, description="One is under way already."),
            **refusals(
                wrong_field("kind", "This field is required."),
                Code.LANGUAGE_UNAVAILABLE,
                case_documents.too_many(),
                *ONE,
                *(each for each in WITH_BODY if each not in ALWAYS),
            ),
        },
        examples=[
            OpenApiExample("An export in Hindi", value={"kind": "export", "lang": "hi"}, request_only=True),
            _example("Placed", WAITING, 202),
            _example("Under way", {**WAITING, "state": "making", "done": 12, "total": 40}),
        ],
    )
    def post(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        asked = CaseDocumentInput(data=request.data)
        asked.is_valid(raise_exception=True)
        seat = cases.take_seat(user, public_id)
        language = choose_language(user, asked.validated_data.get("lang", ""))
        document, is_new = case_documents.ask_for(
            seat, asked.validated_data["kind"], language, site=absolute(request, "/")
        )
        return Response(
            CaseDocumentOutput(document).data,
            status=status.HTTP_202_ACCEPTED if is_new else status.HTTP_200_OK,
            headers={"Location": reverse("case-document-api", args=[public_id, document.public_id])},
        )


class CaseDocumentView(APIView):
    """How far it is."""

    @extend_schema(
        summary="One report or export of a case",
        tags=TAGS,
        parameters=[CASE_ID, DOCUMENT_ID],
        responses={200: CaseDocumentOutput, **refusals(*ONE)},
        examples=[_example("Ready", READY)],
    )
    def get(self, request: Request, public_id: str, document_id: str) -> Response:
        user: Any = request.user
        document = case_documents.get_document(cases.take_seat(user, public_id), document_id)
        return Response(CaseDocumentOutput(document).data, headers=NO_STORE)


class CaseDocumentFileView(APIView):
    """The file."""

    content_negotiation_class = JSONUnlessPicture

    @extend_schema(
        summary="Download a report or an export of a case",
        description="For whoever asked for it, while they are in the case. Ask for a part of it with `Range` to go on "
        "after a broken download. A download is written into the custody log of each file in it.",
        tags=TAGS,
        parameters=[
            CASE_ID,
            DOCUMENT_ID,
            *RANGES,
            IF_NONE_MATCH,
        ],
        responses={
            **{
                (code, content_type): OpenApiResponse(OpenApiTypes.BINARY, description=description)
                for code, description in ((200, "The whole file."), (206, "The part that was asked for."))
                for content_type in case_documents.CONTENT_TYPES.values()
            },
            **NOT_MODIFIED,
            **refusals(
                SentinelError(Code.NOT_FINISHED, text="It is not ready yet."),
                SentinelError(Code.NO_RESULT, text="It could not be made. Try again."),
                Code.DOCUMENT_OUTDATED,
                Code.RANGE_NOT_SATISFIABLE,
                Code.STORAGE_AWAY,
                *(each for each in ONE if each is not Code.NOT_ACCEPTABLE),
            ),
        },
    )
    def get(self, request: Request, public_id: str, document_id: str) -> HttpResponseBase:
        user: Any = request.user
        return hand_out(request._request, cases.take_seat(user, public_id), document_id)

"""/api/v1/: cases. Parses, calls one service or selector, serialises."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.models import User
from accounts.schema import ALWAYS, WITH_BODY, refusals, wrong_field
from media_analysis import case_serializers as shapes
from media_analysis import cases
from media_analysis.models import Case, CaseInvitation, CaseMedia, CaseMember, CaseNote, CaseRole
from media_analysis.query_serializers import PageInput, Pages, read_query

TAGS = ["cases"]
SIGNED_IN = (Code.NOT_AUTHENTICATED, *ALWAYS)
ONE = (Code.NOT_FOUND, *SIGNED_IN)
# What changes something in a case.
CHANGE = (Code.FORBIDDEN, Code.CASE_CLOSED, *ONE, *WITH_BODY)


def _id(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.PATH, pattern=f"^{PUBLIC_ID_PATTERN}$", description=description)


CASE_ID = _id("public_id", "The case's id.")
MEDIA_ID = _id("media_id", "The file's id: `media.id` of its analysis.")
USER_ID = _id("user_id", "The member's user id.")
INVITATION_ID = _id("public_id", "The invitation's id.")

A_CASE = {
    "id": "5f12f98cf85c333030ea30ce",
    "title": "State v. X",
    "status": "open",
    "owner": "asha",
    "role": "owner",
    "file_count": 2,
    "created_at": "2026-11-22T18:05:11Z",
    "updated_at": "2026-11-23T04:30:00Z",
}
A_WHOLE_CASE = {
    **A_CASE,
    "details": {
        "case_id": "C-77",
        "officer_name": "R. Patil",
        "officer_id": "",
        "station": "Kondhwa",
        "district": "Pune",
        "city": "Pune",
        "state": "Maharashtra",
        "fir_id": "FIR 12/2026",
        "fir_date": "2026-11-20",
        "fir_description": "",
        "person_mentioned": "",
        "complainant_name": "",
        "complainant_phone": "",
        "complainant_email": "complainant@example.org",
        "complainant_address": "",
        "gender": "",
    },
}
A_FILE = {
    "media_id": "5f12f98cf85c333030ea30cb",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "added_at": "2026-11-22T18:10:00Z",
    "added_by": "asha",
    "deleted": False,
    "original_name": "clip.mp4",
    "owner": "asha",
    "analysis_id": "5f12f98cf85c333030ea30cc",
    "status": "done",
    "outcome": "FAKE",
    "confidence": 97.4,
}
A_NOTE = {
    "id": "5f12f98cf85c333030ea30cf",
    "author": "asha",
    "text": "The same room as in the second clip.",
    "created_at": "2026-11-22T18:20:00Z",
}
A_MEMBER = {"user_id": "5f12f436f85c333030ea30ca", "username": "ravi", "role": "examiner", "joined_at": "2026-11-22T19:00:00Z"}  # fmt: skip  # noqa: E501
AN_INVITATION = {
    "id": "5f12f98cf85c333030ea30d0",
    "invited_as": "ravi",
    "role": "examiner",
    "created_at": "2026-11-22T18:30:00Z",
}
AN_INVITATION_TO_ME = {
    "id": "5f12f98cf85c333030ea30d0",
    "title": "State v. X",
    "owner": "asha",
    "role": "examiner",
    "created_at": "2026-11-22T18:30:00Z",
}


def _example(name: str, value: Any, code: int = 200) -> list[OpenApiExample]:
    return [OpenApiExample(name, value=value, response_only=True, status_codes=[code])]


def _user(request: Request) -> User:
    user: Any = request.user
    return user  # type: ignore[no-any-return]


def _valid(shape: type[Any], given: Any, **options: Any) -> dict[str, Any]:
    asked = shape(data=given, **options)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


class CaseListView(generics.ListAPIView[Case]):
    """The cases that somebody is in, with their role in each."""

    serializer_class = shapes.CaseSummaryOutput
    pagination_class = Pages
    queryset = Case.objects.none()

    def get_queryset(self) -> Any:
        read_query(PageInput, self.request.query_params)
        return cases.seats_of(_user(self.request))

    @extend_schema(
        summary="The cases that you are in, last changed first",
        tags=TAGS,
        parameters=[PageInput],
        responses={200: shapes.CaseSummaryOutput(many=True), **refusals(Code.INVALID_FIELD, *ONE)},
        examples=_example("A case", A_CASE),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        summary="Open a case",
        description="You are its owner. It goes with your account.",
        tags=TAGS,
        parameters=[
            OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="Where it is.")
        ],
        request=shapes.CaseInput,
        responses={
            201: shapes.CaseDetailOutput,
            **refusals(wrong_field("title", "This field is required."), *SIGNED_IN, *WITH_BODY),
        },
        examples=[
            OpenApiExample("A new case", value={"title": "State v. X", "station": "Kondhwa"}, request_only=True),
            *_example("Opened", A_WHOLE_CASE, 201),
        ],
    )
    def post(self, request: Request) -> Response:
        given = shapes.complete(_valid(shapes.CaseInput, request.data))
        case = cases.open_case(_user(request), given.pop("title"), given)
        output = shapes.CaseDetailOutput(cases.seats_of(_user(request)).get(pk=case.pk))
        location = reverse("case-api", args=[case.public_id])
        return Response(output.data, status=status.HTTP_201_CREATED, headers={"Location": location})


class CaseView(APIView):
    """A case with what is known of it, for its members."""

    @extend_schema(
        summary="One case",
        tags=TAGS,
        parameters=[CASE_ID],
        responses={200: shapes.CaseDetailOutput, **refusals(*ONE)},
        examples=_example("A case", A_WHOLE_CASE),
    )
    def get(self, request: Request, public_id: str) -> Response:
        return self._answer(request, public_id)

    @extend_schema(
        summary="Change a case, close or reopen it",
        description="For its owner. What is absent stays as it is. In a closed case only `status` can be changed.",
        tags=TAGS,
        parameters=[CASE_ID],
        request=shapes.CaseChangeInput,
        responses={
            200: shapes.CaseDetailOutput,
            **refusals(wrong_field("status", '"x" is not a valid choice.'), *CHANGE),
        },
        examples=[
            OpenApiExample("Close it", value={"status": "closed"}, request_only=True),
            *_example("Changed", A_WHOLE_CASE),
        ],
    )
    def patch(self, request: Request, public_id: str) -> Response:
        asked = _valid(shapes.CaseChangeInput, request.data, partial=True)
        wanted = asked.pop("status", None)
        if wanted == Case.Status.OPEN:
            cases.set_status(cases.take_seat(_user(request), public_id, CaseRole.OWNER), Case.Status.OPEN)
        seat = cases.take_seat(_user(request), public_id, CaseRole.OWNER, to_change=bool(asked))
        if asked:
            cases.change_case(seat, asked)
        if wanted == Case.Status.CLOSED:
            cases.set_status(seat, Case.Status.CLOSED)
        return self._answer(request, public_id)

    @extend_schema(
        summary="Delete a case with its notes",
        description="For its owner. The files in it stay with those whose they are.",
        tags=TAGS,
        parameters=[CASE_ID],
        responses={204: OpenApiResponse(description="It is gone."), **refusals(Code.FORBIDDEN, *ONE)},
    )
    def delete(self, request: Request, public_id: str) -> HttpResponse:
        cases.delete_case(cases.take_seat(_user(request), public_id, CaseRole.OWNER))
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)

    def _answer(self, request: Request, public_id: str) -> Response:
        seat = cases.take_seat(_user(request), public_id)
        return Response(shapes.CaseDetailOutput(cases.seats_of(seat.user).get(pk=seat.case.pk)).data)


class CaseMediaListView(generics.GenericAPIView[Any]):
    serializer_class = shapes.CaseFileOutput
    pagination_class = Pages
    queryset = CaseMedia.objects.none()

    @extend_schema(
        summary="The files of a case",
        description="In the order in which they came. What is found in each is at `/api/v1/analyses/{analysis_id}/`, "
        "for all members. Of a deleted file only the id and SHA-256 stay.",
        tags=TAGS,
        parameters=[CASE_ID, PageInput],
        responses={200: shapes.CaseFileOutput(many=True), **refusals(Code.INVALID_FIELD, *ONE)},
        examples=_example("A file", A_FILE),
    )
    def get(self, request: Request, public_id: str) -> Response:
        read_query(PageInput, request.query_params)
        seat = cases.take_seat(_user(request), public_id)
        files = cases.show_files(self.paginate_queryset(cases.files_of(seat.case)) or [])
        cases.look_at_files(files, actor=seat.user)
        return self.get_paginated_response(shapes.CaseFileOutput(files, many=True).data)

    @extend_schema(
        summary="Put files of yours into a case",
        description="For its owner and examiners. All members see them from then on. If one of them is not yours, none "
        "is added; one that is in it already stays.",
        tags=TAGS,
        parameters=[CASE_ID],
        request=shapes.CaseMediaInput,
        responses={
            200: shapes.AddedOutput,
            **refusals(wrong_field("media", "This field is required."), *CHANGE),
        },
        examples=[
            OpenApiExample("A file", value={"media": ["5f12f98cf85c333030ea30cb"]}, request_only=True),
            *_example("Added", {"added": 1}),
        ],
    )
    def post(self, request: Request, public_id: str) -> Response:
        asked = _valid(shapes.CaseMediaInput, request.data)
        seat = cases.take_seat(_user(request), public_id, CaseRole.EXAMINER, to_change=True)
        return Response({"added": cases.add_media(seat, asked["media"])})


class CaseMediaView(APIView):
    @extend_schema(
        summary="Take a file out of a case",
        description="For whoever added it and for the case's owner, while the case is open; for the file's owner "
        "always, even after they left.",
        tags=TAGS,
        parameters=[CASE_ID, MEDIA_ID],
        responses={
            204: OpenApiResponse(description="It is not in the case any more."),
            **refusals(Code.FORBIDDEN, Code.CASE_CLOSED, *ONE),
        },
    )
    def delete(self, request: Request, public_id: str, media_id: str) -> HttpResponse:
        cases.remove_media(_user(request), public_id, media_id)
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)


class CaseNoteListView(generics.ListAPIView[CaseNote]):
    serializer_class = shapes.CaseNoteOutput
    pagination_class = Pages
    queryset = CaseNote.objects.none()

    @extend_schema(
        summary="The notes of a case",
        description="In the order in which they were written.",
        tags=TAGS,
        parameters=[CASE_ID, PageInput],
        responses={200: shapes.CaseNoteOutput(many=True), **refusals(Code.INVALID_FIELD, *ONE)},
        examples=_example("A note", A_NOTE),
    )
    def get(self, request: Request, public_id: str) -> Response:
        read_query(PageInput, request.query_params)
        notes = cases.notes_of(cases.take_seat(_user(request), public_id).case)
        shown = self.paginate_queryset(notes) or []
        return self.get_paginated_response(shapes.CaseNoteOutput(shown, many=True).data)

    @extend_schema(
        summary="Write a note",
        description="For the case's owner and examiners. It can be neither changed nor deleted.",
        tags=TAGS,
        parameters=[CASE_ID],
        request=shapes.CaseNoteInput,
        responses={
            201: shapes.CaseNoteOutput,
            **refusals(wrong_field("text", "This field may not be blank."), *CHANGE),
        },
        examples=[
            OpenApiExample("A note", value={"text": A_NOTE["text"]}, request_only=True),
            *_example("Written", A_NOTE, 201),
        ],
    )
    def post(self, request: Request, public_id: str) -> Response:
        asked = _valid(shapes.CaseNoteInput, request.data)
        seat = cases.take_seat(_user(request), public_id, CaseRole.EXAMINER, to_change=True)
        note = cases.add_note(seat, asked["text"])
        return Response(shapes.CaseNoteOutput(note).data, status=status.HTTP_201_CREATED)


class CaseMemberListView(generics.ListAPIView[CaseMember]):
    """Everybody who is in a case, its owner first. Whoever is only invited is not."""

    serializer_class = shapes.CaseMemberOutput
    pagination_class = Pages
    queryset = CaseMember.objects.none()

    @extend_schema(
        summary="Who is in a case",
        tags=TAGS,
        parameters=[CASE_ID, PageInput],
        responses={200: shapes.CaseMemberOutput(many=True), **refusals(Code.INVALID_FIELD, *ONE)},
        examples=_example("A member", A_MEMBER),
    )
    def get(self, request: Request, public_id: str) -> Response:
        read_query(PageInput, request.query_params)
        members = cases.members_of(cases.take_seat(_user(request), public_id).case)
        shown = self.paginate_queryset(members) or []
        return self.get_paginated_response(shapes.CaseMemberOutput(shown, many=True).data)

    @extend_schema(
        summary="Invite somebody to a case",
        description="For its owner. By the exact user name or e-mail address of an account that is there already; the "
        "answer is the same if there is none. They are in the case when they accept.",
        tags=TAGS,
        parameters=[CASE_ID],
        request=shapes.InvitationInput,
        responses={
            202: shapes.InvitationOutput,
            **refusals(wrong_field("who", "Enter a user name or an e-mail address."), *CHANGE),
        },
        examples=[
            OpenApiExample("An examiner", value={"who": "ravi", "role": "examiner"}, request_only=True),
            *_example("Invited", AN_INVITATION, 202),
        ],
    )
    def post(self, request: Request, public_id: str) -> Response:
        asked = _valid(shapes.InvitationInput, request.data)
        seat = cases.take_seat(_user(request), public_id, CaseRole.OWNER, to_change=True)
        made = cases.invite(seat, asked["who"], CaseRole(asked["role"]))
        return Response(shapes.InvitationOutput(made).data, status=status.HTTP_202_ACCEPTED)


class CaseMemberView(APIView):
    @extend_schema(
        summary="Change somebody's role",
        description="For the case's owner, whose own role cannot be changed.",
        tags=TAGS,
        parameters=[CASE_ID, USER_ID],
        request=shapes.RoleInput,
        responses={
            200: shapes.CaseMemberOutput,
            **refusals(wrong_field("role", '"x" is not a valid choice.'), *CHANGE),
        },
        examples=[
            OpenApiExample("To viewer", value={"role": "viewer"}, request_only=True),
            *_example("Changed", A_MEMBER),
        ],
    )
    def put(self, request: Request, public_id: str, user_id: str) -> Response:
        asked = _valid(shapes.RoleInput, request.data)
        seat = cases.take_seat(_user(request), public_id, CaseRole.OWNER, to_change=True)
        return Response(shapes.CaseMemberOutput(cases.change_role(seat, user_id, CaseRole(asked["role"]))).data)

    @extend_schema(
        summary="Remove somebody from a case, or leave it",
        description="Of its owner, anybody but themselves; of everybody else, themselves. Files that they added stay.",
        tags=TAGS,
        parameters=[CASE_ID, USER_ID],
        responses={204: OpenApiResponse(description="They are out of it."), **refusals(Code.FORBIDDEN, *ONE)},
    )
    def delete(self, request: Request, public_id: str, user_id: str) -> HttpResponse:
        cases.remove_member(cases.take_seat(_user(request), public_id), user_id)
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)


class InvitationListView(generics.ListAPIView[CaseInvitation]):
    """Unanswered invitations, newest first."""

    serializer_class = shapes.InvitationToMeOutput
    pagination_class = Pages
    queryset = CaseInvitation.objects.none()

    def get_queryset(self) -> Any:
        read_query(PageInput, self.request.query_params)
        return cases.invitations_to(_user(self.request))

    @extend_schema(
        summary="Cases that you are invited to",
        tags=TAGS,
        parameters=[PageInput],
        responses={200: shapes.InvitationToMeOutput(many=True), **refusals(Code.INVALID_FIELD, *ONE)},
        examples=_example("An invitation", AN_INVITATION_TO_ME),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class InvitationView(APIView):
    """An unanswered invitation, for whoever is invited and for the owner of the case."""

    @extend_schema(
        summary="Decline an invitation, or withdraw one of yours",
        tags=TAGS,
        parameters=[INVITATION_ID],
        responses={204: OpenApiResponse(description="It is gone."), **refusals(*ONE)},
    )
    def delete(self, request: Request, public_id: str) -> HttpResponse:
        cases.end_invitation(_user(request), public_id)
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)


class InvitationAcceptView(APIView):
    @extend_schema(
        summary="Accept an invitation",
        description="Everybody in the case sees your user name, and what you look at is written down.",
        tags=TAGS,
        parameters=[INVITATION_ID],
        request=None,
        responses={
            200: shapes.CaseDetailOutput,
            **refusals(Code.INVALID_FIELD, Code.FORBIDDEN, Code.CASE_CLOSED, *ONE),
        },
        examples=_example("Joined", {**A_WHOLE_CASE, "role": "examiner"}),
    )
    def post(self, request: Request, public_id: str) -> Response:
        case = cases.accept_invitation(_user(request), public_id)
        return Response(shapes.CaseDetailOutput(cases.seats_of(_user(request)).get(pk=case.pk)).data)

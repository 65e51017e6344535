"""/api/v1/check/: whether a document came from here, for everybody."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code, SentinelError
from accounts.schema import WITH_BODY, refusals, success, wrong_field
from accounts.throttles import ChecksPerAddress
from accounts.times import RowSerializer
from reports.check_uploads import CheckUploadHandler, check_given
from reports.checking import Answer, Finding
from reports.models import IssuedDocument

A_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
GENUINE = {
    "result": "genuine",
    "message": "It is byte for byte as this site made it. This does not say that what stands in it is right.",
    "sha256": A_DIGEST,
    "document": {"id": "5f12f98cf85c333030ea30cb", "kind": "report", "issued_at": "2026-11-22T18:05:11.204531Z"},
}


class CheckInput(serializers.Serializer[None]):
    file = serializers.FileField(
        required=False,
        help_text="The PDF or the package, whole. It is hashed as it comes and not stored. Comes before `sha256`.",
    )
    sha256 = serializers.CharField(
        required=False, help_text="The SHA-256 of the file instead: 64 hexadecimal digits, whatever stands around them."
    )


class IssuedDocumentOutput(RowSerializer[IssuedDocument]):
    id = serializers.CharField(source="public_id", help_text="The number that is printed in the document.")

    class Meta:
        model = IssuedDocument
        fields = ("id", "kind", "issued_at")
        extra_kwargs = {
            "kind": {"help_text": "What kind of document it is."},
            "issued_at": {"help_text": "When it was made."},
        }


class CheckOutput(serializers.Serializer[Finding]):
    result = serializers.ChoiceField(
        [(str(answer), str(answer)) for answer in Answer],
        source="answer",
        help_text="`genuine`: made by this site, byte for byte. `added_to`: made by this site, with something added "
        "later. `changed`: carries the seal or number of a document of this site, and is another. `not_listed`: sealed "
        "by this site's key, but not in its list. `other_key`: sealed by somebody else. `damaged`: the end is missing, "
        "or the seal cannot be read. `unknown`: not in the list of reports and packages, and without a seal: none of "
        "them, or changed.",
    )
    message = serializers.CharField(source="text", help_text="The same for a user, in their language.")
    sha256 = serializers.CharField(help_text="The SHA-256 of what was sent, to compare.")
    document = IssuedDocumentOutput(allow_null=True, help_text="The document, if it is genuine.")


class CheckView(APIView):
    """For everybody: whether a token is there is not even looked at."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (ChecksPerAddress,)

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        request.upload_handlers = [CheckUploadHandler(request)]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        summary="Check whether a document came from this site",
        description="For everybody who holds a report or an evidence package. The answer tells nothing of what is in "
        "it. It stays `genuine` after the media and the account were deleted.",
        tags=["reports"],
        auth=[],
        request={
            "multipart/form-data": CheckInput,
            "application/json": CheckInput,
            "application/x-www-form-urlencoded": CheckInput,
        },
        examples=[OpenApiExample("digest", value={"sha256": A_DIGEST}, request_only=True)],
        responses={
            200: success(CheckOutput, "What the check found.", GENUINE),
            **refusals(
                SentinelError(Code.FILE_MISSING, text="Choose a document first, or enter its SHA-256."),
                wrong_field("sha256", "A SHA-256 has 64 digits from 0 to 9 and letters from a to f."),
                Code.FILE_TOO_LARGE,
                *WITH_BODY,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        data: Any = request.data if hasattr(request.data, "get") else {}
        digest = data.get("sha256")
        found = check_given(data.get("file"), digest if isinstance(digest, str) else "")
        return Response(CheckOutput(found).data, headers={"Cache-Control": "no-store"})

"""/api/v1/uploads/: files in pieces, by the tus resumable upload protocol 1.0.0 (https://tus.io/protocols/).

The core, and the extensions creation, creation-with-upload, checksum, termination and expiration. Parses headers, calls
one function of :mod:`media_analysis.resumable`, answers with headers.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import parsers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code, SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.models import User
from accounts.schema import ALWAYS, refusals
from media_analysis import resumable, serializers
from media_analysis.models import ResumableUpload

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,termination,expiration"
OFFSET_TYPE = "application/offset+octet-stream"
# A Content-Length or an offset has no more digits than this: int() of very long texts is slow.
MAX_DIGITS = 18
MAX_METADATA_LENGTH = 4096

AN_UPLOAD = {
    "id": "5f12f98cf85c333030ea30cb",
    "name": "clip.mp4",
    "size": 3413818,
    "offset": 1048576,
    "complete": False,
    "created_at": "2026-11-22T18:05:11Z",
    "expires_at": "2026-11-23T18:05:11Z",
}


def _given(name: str, description: str, *, required: bool = False, **schema: Any) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, required=required, description=description, **schema)


def _answered(name: str, description: str, *statuses: int) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, response=list(statuses), description=description)


UPLOAD_ID = OpenApiParameter(
    "public_id", str, OpenApiParameter.PATH, pattern=f"^{PUBLIC_ID_PATTERN}$", description="The upload's id."
)
GIVEN_VERSION = _given("Tus-Resumable", "The version of the protocol.", required=True, enum=[VERSION])
GIVEN_CHECKSUM = _given("Upload-Checksum", "Algorithm (sha1, sha256 or md5), a blank, and the body's digest in Base64.")
SIGNED_IN = (Code.NOT_AUTHENTICATED, *ALWAYS)
CHANGED = (Code.FORBIDDEN, Code.TUS_VERSION, *SIGNED_IN)
PARTS = (
    Code.INVALID_FIELD,
    Code.UPLOAD_LOCKED,
    Code.UPLOAD_TOO_LARGE,
    Code.FILE_TOO_LARGE,
    Code.CHECKSUM_MISMATCH,
    Code.STORAGE_FULL,
    Code.BODY_NOT_SUPPORTED,
    *CHANGED,
)


class PartParser(parsers.BaseParser):
    """Never called, since bodies are read as they come: it tells the schema their type."""

    media_type = OFFSET_TYPE


class TusView(APIView):
    """What the addresses of the protocol share: the version, and that everybody may ask what the server can do."""

    parser_classes = (PartParser,)
    # What asks for it need not speak the protocol: our own JSON.
    without_version = frozenset({"OPTIONS", "GET"})

    def get_permissions(self) -> Any:
        return [AllowAny()] if self.request.method == "OPTIONS" else super().get_permissions()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        speaks_protocol = request.method in self.allowed_methods and request.method not in self.without_version
        if speaks_protocol and request.headers.get("Tus-Resumable") != VERSION:
            raise SentinelError(Code.TUS_VERSION, headers={"Tus-Version": VERSION})

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Tus-Resumable"] = VERSION
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """What the server can do."""
        return Response(
            status=204,
            headers={
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Max-Size": str(settings.SENTINEL_MAX_UPLOAD_BYTES),
                "Tus-Checksum-Algorithm": ",".join(resumable.CHECKSUM_ALGORITHMS),
            },
        )


class UploadListView(TusView):
    """The user's open uploads, and where new ones begin."""

    @extend_schema(
        summary="Your open uploads, newest first",
        description="Those that no analysis was made of yet. Not part of the tus protocol.",
        tags=["uploads"],
        responses={200: serializers.UploadOutput(many=True), **refusals(*SIGNED_IN)},
        examples=[OpenApiExample("A third has come", value=AN_UPLOAD, response_only=True, status_codes=[200])],
    )
    def get(self, request: Request) -> Response:
        return Response(serializers.UploadOutput(resumable.list_uploads(_user(request)), many=True).data)

    @extend_schema(
        summary="Begin a resumable upload",
        description="By the [tus protocol](https://tus.io/protocols/resumable-upload) 1.0.0, which has clients for all "
        "platforms: use one, with this as its endpoint and parts of 1 to 5 MB. The address in `Location` takes the "
        "file in parts; the first may come with this request. Once all of it is there, "
        "`POST /api/v1/analyses/` with its id has it examined. `OPTIONS` on this address says what the server can do, "
        "also to those who are not logged in. Deferred lengths, concatenation and `X-HTTP-Method-Override` are not "
        "supported.",
        tags=["uploads"],
        parameters=[
            GIVEN_VERSION,
            _given("Upload-Length", "Size of the whole file in bytes.", required=True, pattern=r"^\d{1,18}$"),
            _given(
                "Upload-Metadata",
                "Keys with values in Base64, such as `filename Y2xpcC5tcDQ=`; `filename` is kept as the file's name.",
            ),
            GIVEN_CHECKSUM,
            _answered("Location", "Where the parts go.", 201),
            _answered("Upload-Offset", "How many bytes have come.", 201),
            _answered("Upload-Expires", "When it will be deleted, finished or not.", 201),
            _answered("Tus-Resumable", "The version of the protocol.", 201),
        ],
        request={OFFSET_TYPE: OpenApiTypes.BINARY},
        responses={
            201: OpenApiResponse(description="Begun; the body is empty."),
            **refusals(Code.TOO_MANY_UPLOADS, *PARTS),
        },
    )
    def post(self, request: Request) -> Response:
        size = _whole_number(request, "Upload-Length")
        metadata = request.headers.get("Upload-Metadata", "")
        if len(metadata) > MAX_METADATA_LENGTH:
            raise SentinelError(Code.INVALID_FIELD)
        # Some clients name the type or the length 0 of a body that is not there.
        has_body = request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in request.headers
        read = _body(request) if has_body else None
        checksum = _checksum(request)
        upload = resumable.begin_upload(owner=_user(request), size=size, metadata=metadata)
        offset = 0
        if read is not None:
            try:
                offset = resumable.append(upload, offset=0, read=read, checksum=checksum)
            except SentinelError:
                resumable.end_upload(upload)
                raise
        location = reverse("upload-api", args=[upload.public_id])
        return Response(status=201, headers={"Location": location, **_state(upload, offset)})


class UploadView(TusView):
    """One upload that is under way."""

    def head(self, request: Request, public_id: str) -> Response:
        """How far it is, by the protocol."""
        upload = resumable.get_upload(_user(request), public_id)
        headers = {"Upload-Length": str(upload.size), **_state(upload, resumable.offset_of(upload))}
        if upload.metadata:
            headers["Upload-Metadata"] = upload.metadata
        return Response(headers=headers)

    @extend_schema(
        summary="How far an upload is",
        description="As JSON. `HEAD` on the same address says it in the protocol's headers.",
        tags=["uploads"],
        parameters=[UPLOAD_ID],
        responses={200: serializers.UploadOutput, **refusals(Code.NOT_FOUND, *SIGNED_IN)},
        examples=[OpenApiExample("A third has come", value=AN_UPLOAD, response_only=True, status_codes=[200])],
    )
    def get(self, request: Request, public_id: str) -> Response:
        return Response(serializers.UploadOutput(resumable.get_upload(_user(request), public_id)).data)

    @extend_schema(
        summary="Send the next part",
        description="If it breaks off, what has come counts: ask with `HEAD` where to go on. With a checksum, a part "
        "counts only if all of it came as it was sent.",
        tags=["uploads"],
        parameters=[
            UPLOAD_ID,
            GIVEN_VERSION,
            _given("Upload-Offset", "Where the part begins.", required=True, pattern=r"^\d{1,18}$"),
            GIVEN_CHECKSUM,
            _answered("Upload-Offset", "How many bytes have come, all safe on disk.", 204),
            _answered("Upload-Expires", "When it will be deleted, finished or not.", 204),
            _answered("Tus-Resumable", "The version of the protocol.", 204),
        ],
        request={OFFSET_TYPE: OpenApiTypes.BINARY},
        responses={
            204: OpenApiResponse(description="It has come."),
            **refusals(Code.NOT_FOUND, Code.UPLOAD_CONFLICT, *PARTS),
        },
    )
    def patch(self, request: Request, public_id: str) -> Response:
        upload = resumable.get_upload(_user(request), public_id)
        offset = resumable.append(
            upload, offset=_whole_number(request, "Upload-Offset"), read=_body(request), checksum=_checksum(request)
        )
        return Response(status=204, headers=_state(upload, offset))

    @extend_schema(
        summary="Give an upload up",
        description="Deletes what has come.",
        tags=["uploads"],
        parameters=[UPLOAD_ID, GIVEN_VERSION],
        responses={
            204: OpenApiResponse(description="Gone."),
            **refusals(Code.NOT_FOUND, Code.UPLOAD_LOCKED, *CHANGED),
        },
    )
    def delete(self, request: Request, public_id: str) -> Response:
        resumable.end_upload(resumable.get_upload(_user(request), public_id))
        return Response(status=204)


def _user(request: Request) -> User:
    user: Any = request.user
    return user  # type: ignore[no-any-return]


def _state(upload: ResumableUpload, offset: int) -> dict[str, str]:
    return {"Upload-Offset": str(offset), "Upload-Expires": http_date(upload.expires_at.timestamp())}


def _whole_number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise SentinelError(Code.INVALID_FIELD)
    return int(text)


def _body(request: Request) -> Callable[[int], bytes]:
    """Reads the body a piece at a time. Raises ``body_not_supported`` for one of another type than the protocol's."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != OFFSET_TYPE:
        raise SentinelError(Code.BODY_NOT_SUPPORTED)
    return request._request.read


def _checksum(request: Request) -> resumable.Checksum | None:
    """Raises ``invalid_field`` for one that cannot be read or whose algorithm is not known."""
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return None
    algorithm, _, digest = header.partition(" ")
    try:
        return resumable.Checksum(algorithm, base64.b64decode(digest, validate=True))
    except (binascii.Error, ValueError):
        raise SentinelError(Code.INVALID_FIELD) from None

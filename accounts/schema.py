"""Describing the API's refusals, the same way everywhere, from the codes and texts that are really answered."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from accounts.answers import error_body
from accounts.api_errors import too_many_requests
from accounts.errors import Code, SentinelError
from accounts.forms import LogInForm
from accounts.lockout import locked_out
from accounts.serializers import ErrorOutput


def refusals(*kinds: Code | SentinelError) -> dict[int, OpenApiResponse]:
    """The answers with these errors, by status, each with an example. Say more of one by giving it whole."""
    by_status: dict[int, list[SentinelError]] = {}
    for kind in kinds:
        error = SentinelError(kind) if isinstance(kind, Code) else kind
        by_status.setdefault(error.status, []).append(error)
    return {
        status: OpenApiResponse(
            ErrorOutput,
            description=" ".join(error.text for error in errors),
            examples=[
                OpenApiExample(
                    f"{error.code}{'' if number == 0 else f' {number + 1}'}",
                    value=error_body(error),
                    response_only=True,
                )
                for number, error in enumerate(errors)
            ],
        )
        for status, errors in sorted(by_status.items())
    }


TOO_MANY_REQUESTS = too_many_requests(30)
LOCKED_OUT = locked_out()
SECOND_FACTOR = SentinelError(Code.SECOND_FACTOR_REQUIRED)
WRONG_CREDENTIALS = SentinelError(Code.NOT_AUTHENTICATED, text=LogInForm.error_messages["invalid_login"])
TAKEN = SentinelError(Code.ALREADY_EXISTS, errors={"username": ["This user name is taken."]})
# What holds tokens is kept nowhere on the way (RFC 6749, section 5.1).
NO_STORE = {"Cache-Control": "no-store"}
# Can come of any address.
ALWAYS = (Code.NOT_ACCEPTABLE, TOO_MANY_REQUESTS, Code.UNAVAILABLE)
# Of any address that takes a body.
WITH_BODY = (*ALWAYS, Code.BODY_NOT_SUPPORTED, Code.TOO_SLOW)

ACCESS = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoiYWNjZXNzIn0.c2lnbmF0dXJl"
REFRESH = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"
TOKENS = {"access": ACCESS, "refresh": REFRESH, "expires_in": 3600}
MOBILE_USER = {
    "id": "5f12f436f85c333030ea30ca",
    "username": "asha",
    "email": "asha@example.org",
    "language": "",
    "remaining": 10,
    "createdAt": "2026-11-22T18:05:11Z",
}
PROFILE = {
    "id": "5f12f436f85c333030ea30ca",
    "username": "asha",
    "email": "asha@example.org",
    "first_name": "Asha",
    "last_name": "",
    "language": "",
    "date_joined": "2026-11-22T18:05:11.204531Z",
    "limits": {"daily": 10, "used": 3, "remaining": 7, "resets_at": "2026-11-23T18:30:00Z"},
}
SESSION = {
    "id": "5f12f98cf85c333030ea30cb",
    "device": "Asha's phone",
    "created_at": "2026-11-22T18:05:11.204531Z",
    "last_used_at": "2026-11-23T03:42:40.118204Z",
    "current": True,
}
PUSH_DEVICE = {
    "id": "5f12f98cf85c333030ea30cc",
    "name": "Asha's phone",
    "endpoint": "https://push.example.net/send/Zk3vQ1",
    "created_at": "2026-11-22T18:05:11.204531Z",
}


def success(
    shape: Any, description: str, value: Any, *, name: str = "success", listed: bool = False
) -> OpenApiResponse:
    """An answer with its example."""
    return OpenApiResponse(
        shape(many=True) if listed else shape,
        description=description,
        examples=[OpenApiExample(name, value=value, response_only=True)],
    )


def wrong_field(name: str, text: str) -> SentinelError:
    """What a body with a wrong field is answered."""
    return SentinelError(Code.INVALID_FIELD, errors={name: [text]})

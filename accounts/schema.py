"""Describing the API's refusals, the same way everywhere, from the codes and texts that are really answered."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from accounts.answers import error_body
from accounts.api_errors import too_many_requests
from accounts.errors import Code, SentinelError
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
# Can come of any address.
ALWAYS = (Code.NOT_ACCEPTABLE, TOO_MANY_REQUESTS)
# Of any address that takes a body.
WITH_BODY = (*ALWAYS, Code.BODY_NOT_SUPPORTED)

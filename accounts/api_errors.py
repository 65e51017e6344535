"""One shape for every error that the API answers."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from accounts.answers import error_body
from accounts.errors import PAGE_OUTDATED, PAGE_OUTDATED_CODE, Code, SentinelError, is_disk_full
from accounts.outages import is_outage, unavailable

logger = logging.getLogger(__name__)


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Turn whatever a view raised into an answer; what nobody expected is logged and told to nobody."""
    known = _translate(error, context)
    if known.code is Code.UNAVAILABLE:
        logger.warning("The database is away: %s", error)
    if known.code is Code.INTERNAL_ERROR:
        logger.exception("Unexpected error in %s", context["view"].__class__.__name__, exc_info=error)
    set_rollback()
    return Response(error_body(known), status=known.status, headers=known.headers)


def field_errors(detail: Any, name: str = "") -> dict[str, list[str]]:
    """What DRF says of wrong fields in one flat shape: a list of texts for each field, inner fields as ``outer.inner``.

    What is wrong with the whole stands under ``non_field_errors``.
    """
    if isinstance(detail, dict):
        flat: dict[str, list[str]] = {}
        for key, inner in detail.items():
            flat |= field_errors(inner, f"{name}.{key}" if name else str(key))
        return flat
    texts = detail if isinstance(detail, list) else [detail]
    return {name or "non_field_errors": [str(text) for text in texts]}


def _translate(error: Exception, context: dict[str, Any]) -> SentinelError:  # noqa: PLR0911 -- one line a kind
    match error:
        case SentinelError():
            return error
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            challenge = context["view"].get_authenticate_header(context["request"])
            return SentinelError(Code.NOT_AUTHENTICATED, headers={"WWW-Authenticate": challenge} if challenge else {})
        case exceptions.PermissionDenied() if error.get_codes() == PAGE_OUTDATED_CODE:
            return SentinelError(Code.FORBIDDEN, text=PAGE_OUTDATED)
        case exceptions.PermissionDenied() | PermissionDenied():
            return SentinelError(Code.FORBIDDEN)
        case exceptions.NotFound() | Http404():
            return SentinelError(Code.NOT_FOUND)
        case exceptions.Throttled():
            return too_many_requests(error.wait)  # type: ignore[attr-defined]
        case exceptions.MethodNotAllowed():
            return SentinelError(Code.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(context["view"].allowed_methods)})
        case exceptions.UnsupportedMediaType():
            return SentinelError(Code.BODY_NOT_SUPPORTED)
        case exceptions.NotAcceptable():
            return SentinelError(Code.NOT_ACCEPTABLE)
        case exceptions.ValidationError():
            return SentinelError(Code.INVALID_FIELD, errors=field_errors(error.detail))
        case exceptions.ParseError() | SuspiciousOperation():
            return SentinelError(Code.INVALID_FIELD)
        case OSError() if is_disk_full(error):
            logger.error("A disk is full", exc_info=error)
            return SentinelError(Code.STORAGE_FULL, headers={"Retry-After": "60"})
    return unavailable() if is_outage(error) else SentinelError(Code.INTERNAL_ERROR)


def too_many_requests(wait: float | None) -> SentinelError:
    """After too many requests in a short time; `wait` is in seconds, None where it is not known."""
    return SentinelError(
        Code.RATE_LIMITED,
        text=_("Too many requests in a short time. Wait a little and try again."),
        headers={"Retry-After": str(max(math.ceil(wait or 1), 1))},
    )

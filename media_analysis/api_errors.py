"""One shape for every error that the API answers."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from media_analysis.edges import error_body
from media_analysis.errors import Code, SentinelError

logger = logging.getLogger(__name__)


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Turn whatever a view raised into an answer; what nobody expected is logged and told to nobody."""
    known = _translate(error)
    if known.code is Code.INTERNAL_ERROR:
        logger.exception("Unexpected error in %s", context["view"].__class__.__name__, exc_info=error)
    set_rollback()
    body = error_body(known)
    if isinstance(error, exceptions.ValidationError):
        body["errors"] = error.detail
    return Response(body, status=known.status, headers=known.headers)


def _translate(error: Exception) -> SentinelError:  # noqa: PLR0911 -- one line a kind
    match error:
        case SentinelError():
            return error
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return SentinelError(Code.NOT_AUTHENTICATED, headers={"WWW-Authenticate": "Session"})
        case exceptions.PermissionDenied() | PermissionDenied():
            return SentinelError(Code.FORBIDDEN)
        case exceptions.NotFound() | Http404():
            return SentinelError(Code.NOT_FOUND)
        case exceptions.MethodNotAllowed():
            return SentinelError(Code.METHOD_NOT_ALLOWED)
        case exceptions.UnsupportedMediaType() | exceptions.ParseError() | exceptions.ValidationError():
            return SentinelError(Code.INVALID_FIELD)
        case exceptions.NotAcceptable():
            return SentinelError(Code.INVALID_FIELD)
    return SentinelError(Code.INTERNAL_ERROR)

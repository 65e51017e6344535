"""One shape for every error that the API answers."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from accounts.answers import error_body
from accounts.errors import Code, SentinelError

logger = logging.getLogger(__name__)


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Turn whatever a view raised into an answer; what nobody expected is logged and told to nobody."""
    known = _translate(error, context)
    if known.code is Code.INTERNAL_ERROR:
        logger.exception("Unexpected error in %s", context["view"].__class__.__name__, exc_info=error)
    set_rollback()
    body = error_body(known)
    if isinstance(error, exceptions.ValidationError):
        body["errors"] = error.detail
    return Response(body, status=known.status, headers=known.headers)


def _translate(error: Exception, context: dict[str, Any]) -> SentinelError:  # noqa: PLR0911 -- one line a kind
    match error:
        case SentinelError():
            return error
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            challenge = context["view"].get_authenticate_header(context["request"])
            return SentinelError(Code.NOT_AUTHENTICATED, headers={"WWW-Authenticate": challenge} if challenge else {})
        case exceptions.PermissionDenied() | PermissionDenied():
            return SentinelError(Code.FORBIDDEN)
        case exceptions.NotFound() | Http404():
            return SentinelError(Code.NOT_FOUND)
        case exceptions.MethodNotAllowed():
            return SentinelError(Code.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(context["view"].allowed_methods)})
        case exceptions.UnsupportedMediaType():
            return SentinelError(Code.BODY_NOT_SUPPORTED)
        case exceptions.NotAcceptable():
            return SentinelError(Code.NOT_ACCEPTABLE)
        case exceptions.ParseError() | exceptions.ValidationError():
            return SentinelError(Code.INVALID_FIELD)
    return SentinelError(Code.INTERNAL_ERROR)

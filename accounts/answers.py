"""Answering a refusal: as JSON to programs, as a page to people."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from accounts.errors import SentinelError

# The eleven endpoints of the phone apps lie at the root, beside the pages.
API_PREFIXES = ("/api/", "/users/", "/classify", "/fetch-history", "/pdf", "/remove", "/get-image")


def is_api(path: str) -> bool:
    """Whether programs speak to this address; they never get HTML."""
    return path.startswith(API_PREFIXES)


def error_body(error: SentinelError) -> dict[str, Any]:
    """The one shape of every JSON error; `errors` is there where fields are to blame."""
    body = {"code": error.status, "message": error.text, "success": False, "error": str(error.code)}
    return {**body, "errors": error.errors} if error.errors else body


def answer_error(request: HttpRequest, error: SentinelError) -> HttpResponse:
    """A refusal as JSON for the API and scripts, as a page for people."""
    response: HttpResponse
    if is_api(request.path) or request.accepts("text/html") is False:
        response = JsonResponse(error_body(error), status=error.status)
    elif error.status == 404:
        response = render(request, "404.html", status=404)
    else:
        response = render(request, "error.html", {"message": error.text}, status=error.status)
    for name, value in error.headers.items():
        response[name] = value
    return response

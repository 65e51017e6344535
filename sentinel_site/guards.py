"""What no request may hold, refused before anybody looks further."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.errors import Code, SentinelError
from accounts.outages import answer_plainly


class ZeroBytes:
    """Refuses zero bytes in address, query and cookies: no text here has one, and PostgreSQL breaks on them.

    Forms and serializers refuse them in fields. Headers cannot hold them, but a cookie can name one in octal.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        query = request.META.get("QUERY_STRING", "")
        if "\0" in request.path or "%00" in query or "\0" in query or any("\0" in each for each in _cookies(request)):
            return answer_plainly(request, SentinelError(Code.INVALID_FIELD))
        return self.get_response(request)


def _cookies(request: HttpRequest) -> list[str]:
    return [*request.COOKIES, *request.COOKIES.values()]

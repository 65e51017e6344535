"""What no request may hold, refused or passed over before anybody looks further."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import parse_header_parameters

from accounts.errors import Code, SentinelError
from accounts.outages import answer_plainly
from sentinel_site.request_ids import Application, Receive, Send

TYPES = (b"content-type", b"accept")
EVERY_BYTE = bytes(range(256))


class ReadableTypes:
    """ASGI application around Django, which never sees a ``Content-Type`` or ``Accept`` that cannot be read: it would
    fail on them, on the first before any of its code could answer. They count as absent.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = scope["headers"]
            passed_over = {kind for kind in TYPES if not _is_readable([value for name, value in given if name == kind])}
            if passed_over:
                scope = {**scope, "headers": [each for each in given if each[0] not in passed_over]}
        await self.application(scope, receive, send)


def _is_readable(values: Iterable[bytes]) -> bool:
    # As Django joins them, and takes apart again what names several types.
    whole = b",".join(values).decode("latin-1")
    try:
        return all(_is_charset(parse_header_parameters(each)[1].get("charset")) for each in (whole, *whole.split(",")))
    except ValueError:
        return False


def _is_charset(name: str | None) -> bool:
    """Not if text cannot be read in it. One that is unknown is passed over anyway."""
    try:
        codecs.lookup(name or "utf-8")
    except LookupError:
        return True
    try:
        # Not every codec is of text, and not every one of text can pass over wrong bytes.
        EVERY_BYTE.decode(name or "utf-8", "replace")
    except LookupError:
        return False
    return True


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

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from accounts.answers import answer_error
from accounts.errors import Code, SentinelError

# Set on the ASGI scope by sentinel_site.bodies for a request whose body was too large to be read.
OVERSIZED_FLAG = "sentinel.body_too_large"


class OversizedBodyMiddleware:
    """Answers a request whose body was refused unread, in the page's or the API's form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if getattr(request, "scope", {}).get(OVERSIZED_FLAG):
            return answer_error(request, SentinelError(Code.FILE_TOO_LARGE))
        return self.get_response(request)

from __future__ import annotations

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils.translation import gettext_lazy as _

from accounts.addresses import address_of
from accounts.answers import answer_error
from accounts.errors import Code, SentinelError, is_disk_full
from media_analysis import custody
from media_analysis.signals import submission_judged
from media_analysis.storage import StorageFull, StorageTrouble

logger = logging.getLogger(__name__)

# Set on the ASGI scope by sentinel_site.bodies for a request whose body was too large to be read: to "file" where it
# would have held a file, else to "body".
OVERSIZED_FLAG = "sentinel.body_too_large"
# Set there too, to the code of the refusal, for a request whose body was not read to its end for another reason.
REFUSED_FLAG = "sentinel.refused"


class OversizedBodyMiddleware:
    """Answers a request whose body was not read for its size, in the page's or the API's form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        oversized = getattr(request, "scope", {}).get(OVERSIZED_FLAG)
        if oversized:
            text = None if oversized == "file" else _("The request is too large.")
            return answer_error(request, SentinelError(Code.FILE_TOO_LARGE, text=text))
        if getattr(request, "scope", {}).get(REFUSED_FLAG) == Code.STORAGE_FULL:
            # No way in hears of it. Robust: whoever counts must not be in the way.
            refusal = {"source": "", "kind": "file", "result": str(Code.STORAGE_FULL)}
            submission_judged.send_robust(sender=type(self), **refusal)
            return answer_error(request, StorageFull())
        return self.get_response(request)


class RefusedMethodMiddleware:
    """Answers who opens an address that takes forms only, as from the list of pages visited, with a page and not with
    nothing at all.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and request.method == "GET":
            return answer_error(request, SentinelError(Code.METHOD_NOT_ALLOWED, headers={"Allow": response["Allow"]}))
        return response


class StorageTroubleMiddleware:
    """Answers 503 where a page meets a storage that is away or a disk that is full, and nothing below has answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if is_disk_full(error):
            logger.error("A disk is full", exc_info=error)
            error = StorageFull()
        return answer_error(request, error) if isinstance(error, StorageTrouble) else None


class CustodyMiddleware:
    """Lets the custody log know where a request came from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with custody.acting_from(address_of(request)):
            return self.get_response(request)

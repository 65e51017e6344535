"""Web requests while the database is away: each is answered 503 with the time to come again, and none is half done."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.errors import Code, SentinelError
from accounts.outages import answer_outage, answer_plainly, is_outage
from media_analysis.middleware import REFUSED_FLAG

logger = logging.getLogger(__name__)


class Outage:
    """Answers in place of views that could not reach the database, and of requests that were not let in for that.

    What breaks in other middleware reaches :func:`media_analysis.views.server_error`, which does the same.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        match getattr(request, "scope", {}).get(REFUSED_FLAG):
            case Code.UNAVAILABLE:
                return answer_outage(request)
            case Code.TOO_SLOW:
                # Whatever else of the body may still come is not waited for.
                return answer_plainly(request, SentinelError(Code.TOO_SLOW, headers={"Connection": "close"}))
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if not is_outage(exception):
            return None
        logger.warning("The database is away: %s %s is answered 503 (%r)", request.method, request.path, exception)
        return answer_outage(request)

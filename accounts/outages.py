"""When the database is away: telling that from a fault of ours, and answering without it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, Error, InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from accounts.answers import answer_error, is_api
from accounts.errors import Code, SentinelError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# When to come again: longer than a restart of a database takes, shorter than people wait.
RETRY_AFTER_SECONDS = 10
# Between two tries of what must not be lost.
PAUSE_SECONDS = 1.0
# SQLite's word for: busy, locked, out of memory, read-only, I/O error, full, cannot be opened, file protocol.
_SQLITE_AWAY = {5, 6, 7, 8, 10, 13, 14, 15}


def is_outage(error: BaseException | None) -> bool:
    """Whether the database was away or could not work, so that the same request may well succeed later."""
    if not isinstance(error, Error):
        return False
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # SQLite has no other word for a statement that is wrong.
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_AWAY
    if isinstance(error, OperationalError | InterfaceError):
        return True
    # MongoDB's driver, which is not always installed.
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(cause).__mro__}
    return isinstance(error, DatabaseError) and "pymongo.errors.ConnectionFailure" in kinds


def unavailable() -> SentinelError:
    """The refusal of a request that needs the database while it is away."""
    return SentinelError(Code.UNAVAILABLE, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def answer_outage(request: HttpRequest) -> HttpResponse:
    """The same as an answer."""
    return answer_plainly(request, unavailable())


def answer_plainly(request: HttpRequest, error: SentinelError) -> HttpResponse:
    """A refusal as an answer that needs no database, in the language that the browser or its cookie names."""
    with translation.override(translation.get_language_from_request(request)):
        if is_api(request.path) or not request.accepts("text/html"):
            return answer_error(request, error)
        context = {"message": error.text, "heading": _("Back in a moment") if error.status == 503 else ""}
        # No context processors: they would ask who is logged in.
        page = HttpResponse(render_to_string("503.html", context), status=error.status)
        for name, value in error.headers.items():
            page[name] = value
        return page


def insist(work: Callable[[], T], *, seconds: float, what: str) -> T:
    """Do what must not be lost, again and again for up to ``seconds`` while the database is away; returns its answer.

    ``work`` must change nothing when it fails, and not mind being done twice: a connection may be lost just after the
    commit. Raises what ``work`` raises for any other reason, or when the time is over.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Error as error:
            if not is_outage(error) or time.monotonic() >= end:
                raise
            logger.warning("%s waits for the database: %s", what, type(error).__name__)
            connection.close()
            time.sleep(PAUSE_SECONDS)

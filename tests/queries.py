"""What is asked of the database, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext


@contextmanager
def asked() -> Iterator[list[Any]]:
    """Everything that is asked inside, filled at the end: SQL, or MongoDB's commands."""
    found: list[Any] = []
    if connection.vendor == "mongodb":
        from tests.on_mongodb import listening

        with listening() as commands:
            yield found
        found += commands
        return
    with CaptureQueriesContext(connection) as captured:
        yield found
    found += [query["sql"] for query in captured.captured_queries]


@contextmanager
def asked_at_most(number: int) -> Iterator[None]:
    with asked() as found:
        yield
    assert len(found) <= number, "\n".join(map(str, found))

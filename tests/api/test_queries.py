"""Lists cost the same number of queries however long they are."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import tokens
from accounts.models import User
from media_analysis.models import Media
from tests.media_analysis.factories import make_done, make_feedback, make_media

pytestmark = pytest.mark.django_db

LISTS = [
    ("POST", "/fetch-history"),
    ("GET", "/api/v1/analyses/?page_size=100"),
    ("GET", "/api/v1/receipts/"),
    ("GET", "/api/v1/notifications/"),
    ("GET", "/api/v1/sessions/"),
    ("GET", "/api/v1/uploads/"),
]
ONE = ["", "progress/", "pictures/", "feedback/"]


def queries(method: str, path: str, user: User) -> int:
    headers = {"Authorization": f"Bearer {tokens.log_in(user).access}"}
    client = Client(headers=headers)
    # What is looked up once for the whole process.
    client.generic(method, path)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer: Any = client.generic(method, path)
    assert answer.status_code == 200, answer.content
    return len(captured)


def fill(owner: User, count: int) -> Any:
    for number in range(count):
        kind = Media.Kind.IMAGE if number % 2 else Media.Kind.VIDEO
        analysis = make_done(owner, media=make_media(owner, kind=kind))
        make_feedback(analysis)
    return analysis


@pytest.mark.parametrize(("method", "path"), LISTS)
def test_a_list_of_fifty_costs_as_many_queries_as_one_of_five(method: str, path: str, owner: User) -> None:
    fill(owner, 5)
    few = queries(method, path, owner)
    fill(owner, 45)
    assert queries(method, path, owner) == few
    assert few <= 8


@pytest.mark.parametrize("rest", ONE)
def test_one_analysis_costs_as_many_queries_among_fifty_as_among_five(rest: str, owner: User) -> None:
    analysis = fill(owner, 5)
    path = f"/api/v1/analyses/{analysis.public_id}/{rest}"
    few = queries("GET", path, owner)
    fill(owner, 45)
    assert queries("GET", path, owner) == few
    assert few <= 8

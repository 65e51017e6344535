"""Calling the API too often: who is told to wait, for how long, and that everybody sees it coming."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from accounts import tokens
from accounts.models import User
from accounts.throttles import PerAddress, hold_to
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_count() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def bearer(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.log_in(user).access}"}


def test_a_user_who_calls_too_often_is_told_how_long_to_wait(client: Client, owner: User, settings: Any) -> None:
    settings.SENTINEL_API_RATE_USER = "2/min"
    headers = bearer(owner)
    first, second, third = (client.get("/api/v1/analyses/", headers=headers) for _ in range(3))
    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 429]
    assert [answer["X-RateLimit-Remaining"] for answer in (first, second, third)] == ["1", "0", "0"]
    assert {answer["X-RateLimit-Limit"] for answer in (first, second, third)} == {"2"}
    assert 0 < int(third["Retry-After"]) <= 60
    assert 0 < int(third["X-RateLimit-Reset"]) <= 60
    body = third.json()
    assert (body["code"], body["success"], body["error"]) == (429, False, "rate_limited")
    assert "Wait a little" in body["message"]


def test_one_user_does_not_use_up_what_another_has(client: Client, owner: User, stranger: User, settings: Any) -> None:
    settings.SENTINEL_API_RATE_USER = "1/min"
    assert client.get("/api/v1/analyses/", headers=bearer(owner)).status_code == 200
    assert client.get("/api/v1/analyses/", headers=bearer(owner)).status_code == 429
    assert client.get("/api/v1/analyses/", headers=bearer(stranger)).status_code == 200


def test_those_who_are_not_logged_in_are_counted_by_address(client: Client, settings: Any) -> None:
    settings.SENTINEL_API_RATE_ANONYMOUS = "1/min"
    assert client.get("/api/v1/models/").status_code == 200
    assert client.get("/api/v1/models/").status_code == 429
    assert client.get("/api/v1/models/", REMOTE_ADDR="192.0.2.7").status_code == 200


def test_an_address_that_a_caller_makes_up_changes_nothing(client: Client, settings: Any) -> None:
    settings.SENTINEL_API_RATE_ANONYMOUS = "1/min"
    assert client.get("/api/v1/models/", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 200
    assert client.get("/api/v1/models/", headers={"X-Forwarded-For": "192.0.2.2"}).status_code == 429


def test_pages_and_unlimited_sites_say_nothing_of_rates(client: Client, owner: User) -> None:
    assert "X-RateLimit-Limit" not in client.get("/").headers
    assert "X-RateLimit-Limit" not in client.get("/api/v1/analyses/", headers=bearer(owner)).headers


@pytest.mark.parametrize("path", ["/accounts/signup/", "/users/signup", "/api/v1/account/"])
def test_new_accounts_are_counted_together_by_page_and_api(client: Client, settings: Any, path: str) -> None:
    settings.SENTINEL_API_RATE_SIGN_UP = "1/hour"
    # Also those that are refused: they say which names somebody has.
    assert client.post("/accounts/signup/", {"username": "asha"}).status_code == 200
    answer = client.post(path, {"username": "asha"})
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 60
    assert client.post("/accounts/signup/", {}, REMOTE_ADDR="2001:db8::1").status_code == 200
    assert client.post("/accounts/signup/", {}, REMOTE_ADDR="2001:db8::2").status_code == 429


def test_one_address_does_not_try_name_after_name(client: Client, owner: User, settings: Any) -> None:
    settings.SENTINEL_API_RATE_ANONYMOUS = "3/min"
    for name in ("asha", "biju"):
        assert client.post("/accounts/login/", {"username": name, "password": "a known one"}).status_code == 200
    # Together with what the API is asked for from there.
    assert client.get("/api/v1/models/").status_code == 200
    answer = client.post("/accounts/login/", {"username": "owner", "password": PASSWORD})
    assert (answer.status_code, "_auth_user_id" in client.session) == (429, False)
    assert client.post("/accounts/login/", {"username": "owner", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7").status_code == 302  # fmt: skip  # noqa: E501


def test_who_is_counted_stays_who_they_are(rf: Any, owner: User, settings: Any) -> None:
    settings.SENTINEL_API_RATE_ANONYMOUS = "3/min"
    request = rf.post("/")
    request.user = owner
    hold_to(PerAddress, request)
    assert request.user is owner

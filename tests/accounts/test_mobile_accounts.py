"""Sign-up and log-in of the phone apps: rows 1 and 2 of the contract."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.test import Client

from accounts import services
from accounts.forms import SignUpForm
from accounts.models import AppSession, User
from tests.accounts.calls import ENCODINGS, call, post
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

ASHA = {"username": "asha", "email": "Asha@Example.org", "password": PASSWORD}
WRONG = {
    "code": 401,
    "message": "The name or the password is wrong.",
    "success": False,
    "error": "not_authenticated",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("path", ["/users/signup", "/users/signup/"])
def test_sign_up_makes_an_account_and_answers_to_the_letter(client: Client, path: str, encoding: str) -> None:
    answer = post(client, path, ASHA, encoding=encoding)
    assert answer.status_code == 200
    assert answer.json() == {"status": "Registration Successful!", "success": True}
    user = User.objects.get()
    assert (user.username, user.email) == ("asha", "asha@example.org")
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({}, {"username", "email", "password"}),
        ({**ASHA, "username": ""}, {"username"}),
        ({**ASHA, "username": "asha@example.org"}, {"username"}),
        ({**ASHA, "username": 5}, {"username"}),
        ({**ASHA, "username": None, "email": "x"}, {"username", "email"}),
        ({**ASHA, "username": "a" * 151}, {"username"}),
        ({**ASHA, "email": ["a@example.org"]}, {"email"}),
        ({**ASHA, "password": "short"}, {"password"}),
        ({**ASHA, "password": "password123"}, {"password"}),
        ({**ASHA, "password": "84629461937"}, {"password"}),
        ({**ASHA, "password": "asha@example.org"}, {"password"}),
        ({**ASHA, "password": "\ud800 a long enough one"}, {"password"}),
        ({**ASHA, "password": "\0 a long enough one"}, {"password"}),
        ([1, 2], {"non_field_errors", "username", "email", "password"}),
        ("text", {"non_field_errors", "username", "email", "password"}),
    ],
)
def test_a_bad_sign_up_names_each_field(client: Client, fields: Any, blamed: set[str]) -> None:
    answer = post(client, "/users/signup", fields)
    body = answer.json()
    assert answer.status_code == 400
    assert (body["code"], body["success"], body["error"]) == (400, False, "invalid_field")
    assert set(body["errors"]) == blamed
    for texts in body["errors"].values():
        assert texts
        assert all(isinstance(text, str) for text in texts)
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ({"username": "OWNER"}, {"username"}),
        ({"email": "OWNER@example.org"}, {"email"}),
        ({"username": "owner", "email": "owner@example.org"}, {"username", "email"}),
        # The same letters to Unicode, after normalising.
        ({"username": "ｏwner"}, {"username"}),
    ],
)
def test_a_taken_name_or_address_is_a_conflict(
    client: Client, owner: User, changes: dict[str, str], blamed: set[str]
) -> None:
    answer = post(client, "/users/signup", {**ASHA, **changes})
    assert answer.status_code == 409
    assert answer.json()["error"] == "already_exists"
    assert set(answer.json()["errors"]) == blamed


def test_taken_and_bad_at_once_is_bad(client: Client, owner: User) -> None:
    answer = post(client, "/users/signup", {**ASHA, "username": "owner", "password": "short"})
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"username", "password"}


def test_of_two_sign_ups_at_the_same_time_one_is_told_that_the_name_is_taken(client: Client) -> None:
    """The other one comes between this one's check and its writing."""
    check = services.require_valid

    def overtaken(form: SignUpForm, **options: Any) -> None:
        check(form, **options)
        User.objects.create_user("asha", "first@example.org", PASSWORD)

    with patch.object(services, "require_valid", overtaken):
        answer = post(client, "/users/signup", ASHA)
    assert answer.status_code == 409
    assert answer.json()["error"] == "already_exists"
    assert User.objects.get().email == "first@example.org"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("path", ["/users/login", "/users/login/"])
@pytest.mark.parametrize(
    "names",
    [
        {"username": "owner"},
        {"username": "owner@example.org"},
        {"email": "OWNER@Example.org"},
        {"username": "owner", "email": "owner@example.org"},
        {"username": "", "email": "owner@example.org"},
    ],
)
def test_log_in_answers_to_the_letter(
    client: Client, owner: User, names: dict[str, str], path: str, encoding: str
) -> None:
    answer = post(client, path, {**names, "password": PASSWORD}, encoding=encoding)
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["status", "success", "token", "refresh", "userId", "user"]
    assert (body["status"], body["success"], body["userId"]) == ("Login Successful!", True, owner.public_id)
    created_at = body["user"].pop("createdAt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created_at)
    assert body["user"] == {
        "id": owner.public_id,
        "username": "owner",
        "email": "owner@example.org",
        "language": "",
        "remaining": 10,
    }
    assert answer["Cache-Control"] == "no-store"
    used = client.get("/api/v1/account/", headers={"Authorization": f"Bearer {body['token']}"})
    assert used.status_code == 200
    owner.refresh_from_db()
    assert owner.last_login is not None


@pytest.mark.parametrize(
    "credentials",
    [
        {"username": "owner", "password": "wrong"},
        {"username": "nobody", "password": PASSWORD},
        {"email": "nobody@example.org", "password": PASSWORD},
        {"email": "owner", "password": PASSWORD},
        {"username": "owner", "email": "stranger@example.org", "password": PASSWORD},
        {"username": "owner", "email": "nobody@example.org", "password": PASSWORD},
        {"username": "gone", "password": PASSWORD},
        {"username": "gone", "password": "wrong"},
    ],
)
def test_wrong_credentials_get_one_answer_after_hashing_one_password(
    client: Client, owner: User, stranger: User, credentials: dict[str, str]
) -> None:
    User.objects.create_user("gone", "gone@example.org", PASSWORD, is_active=False)
    with patch.object(MD5PasswordHasher, "encode", autospec=True, side_effect=MD5PasswordHasher.encode) as hashed:
        answer = post(client, "/users/login", credentials)
    assert answer.status_code == 401
    assert answer.json() == WRONG
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
    assert hashed.call_count == 1
    assert not AppSession.objects.exists()


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({}, {"password"}),
        ({"password": PASSWORD}, {"username"}),
        ({"username": "owner"}, {"password"}),
        ({"username": "owner", "password": 5}, {"password"}),
        ({"username": {"a": 1}, "password": PASSWORD}, {"username"}),
        ({"username": "\0", "password": PASSWORD}, {"username"}),
        ([], {"non_field_errors"}),
    ],
)
def test_a_log_in_without_credentials_names_each_field(client: Client, fields: Any, blamed: set[str]) -> None:
    answer = post(client, "/users/login", fields)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == blamed


@pytest.mark.parametrize("path", ["/users/login", "/api/v1/tokens/"])
@pytest.mark.parametrize("known", [True, False])
def test_guessing_is_stopped_with_429_whichever_name_is_tried(
    client: Client, owner: User, path: str, known: bool
) -> None:
    name = "owner" if known else "nobody"
    names = [{"username": name}, {"username": name.upper()}, {"username": name}, {"username": name.title()}]
    if known:
        names = [{"username": "owner"}, {"email": "owner@example.org"}, {"username": "Owner@Example.ORG"}, names[0]]
    for given in names:
        assert post(client, path, {**given, "password": "wrong"}).status_code == 401
    for password in ("wrong", PASSWORD):
        answer = post(client, path, {"username": name, "password": password})
        assert answer.status_code == 429
        assert answer["Content-Type"] == "application/json"
        assert int(answer["Retry-After"]) == 900
        body = answer.json()
        assert (body["code"], body["success"], body["error"]) == (429, False, "rate_limited")
        assert "15 minutes" in body["message"]
    assert not AppSession.objects.exists()


def test_a_log_in_forgives_earlier_failures(client: Client, owner: User) -> None:
    for _ in range(3):
        for _ in range(4):
            assert post(client, "/users/login", {"username": "owner", "password": "wrong"}).status_code == 401
        assert post(client, "/users/login", {"email": owner.email, "password": PASSWORD}).status_code == 200


def test_a_bad_token_is_no_hindrance_to_logging_in(client: Client, owner: User) -> None:
    answer = post(
        client,
        "/users/login",
        {"username": "owner", "password": PASSWORD},
        headers={"Authorization": "Bearer expired"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/users/signup", "/users/login"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_verbs_are_refused_in_json(client: Client, path: str, method: str) -> None:
    answer = call(client, method, path)
    assert answer.status_code == 405
    assert answer.json()["error"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/users/signup", "/users/login"])
def test_bodies_that_cannot_be_read_are_refused_in_json(client: Client, path: str) -> None:
    broken = client.generic("POST", path, b"{", content_type="application/json")
    assert (broken.status_code, broken.json()["error"]) == (400, "invalid_field")
    other = client.generic("POST", path, b"<a/>", content_type="text/xml")
    assert (other.status_code, other.json()["error"]) == (415, "body_not_supported")

"""The account by API: made, read, changed, closed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from accounts import limits, tokens
from accounts.ids import new_public_id
from accounts.models import AppSession, User
from tests.accounts.calls import ENCODINGS, bearer, call, post
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

ACCOUNT = "/api/v1/account/"
ASHA = {"username": "asha", "email": "Asha@Example.org", "password": PASSWORD}
NEW_PASSWORD = "quite another long one"


def change(client: Client, user: User, fields: Any, **options: Any) -> Any:
    return call(client, "PATCH", ACCOUNT, fields, headers=bearer(user), **options)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_signing_up_gives_an_account_and_tokens(client: Client, encoding: str) -> None:
    answer = post(client, ACCOUNT, {**ASHA, "device": "Phone"}, encoding=encoding)
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"access", "refresh", "expires_in", "account"}
    assert body["account"]["email"] == "asha@example.org"
    assert answer["Cache-Control"] == "no-store"
    profile = client.get(ACCOUNT, headers={"Authorization": f"Bearer {body['access']}"})
    assert profile.json()["id"] == body["account"]["id"] == User.objects.get().public_id
    assert AppSession.objects.get().device == "Phone"


def test_signing_up_needs_no_log_in_and_minds_no_bad_token(client: Client) -> None:
    assert post(client, ACCOUNT, ASHA, headers={"Authorization": "Bearer expired"}).status_code == 201


@pytest.mark.parametrize(
    ("changes", "status", "blamed"),
    [
        ({"username": "owner"}, 409, {"username"}),
        ({"email": "owner@example.org"}, 409, {"email"}),
        ({"password": "short", "username": "a b"}, 400, {"password", "username"}),
        ({"language": "tlh"}, 400, {"language"}),
        ({"device": "x" * 201}, 400, {"device"}),
    ],
)
def test_a_refused_sign_up_names_the_fields_and_makes_nothing(
    client: Client, owner: User, changes: dict[str, str], status: int, blamed: set[str]
) -> None:
    answer = post(client, ACCOUNT, {**ASHA, **changes})
    assert answer.status_code == status
    assert set(answer.json()["errors"]) == blamed
    assert User.objects.count() == 1
    assert not AppSession.objects.exists()


def test_the_profile_says_who_one_is_and_what_is_left_today(client: Client, owner: User) -> None:
    for _ in range(3):
        limits.spend(owner, new_public_id())
    body = client.get(ACCOUNT, headers=bearer(owner)).json()
    left = body.pop("limits")
    assert datetime.fromisoformat(body.pop("date_joined")) == owner.date_joined
    assert body == {
        "id": owner.public_id,
        "username": "owner",
        "email": "owner@example.org",
        "first_name": "",
        "last_name": "",
        "language": "",
    }
    assert datetime.fromisoformat(left.pop("resets_at")) == limits.next_reset()
    assert left == {"daily": 10, "used": 3, "remaining": 7}


def test_the_web_session_opens_the_profile_too(as_owner: Client) -> None:
    assert as_owner.get(ACCOUNT).json()["username"] == "owner"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ACCOUNT),
        ("PATCH", ACCOUNT),
        ("PUT", f"{ACCOUNT}password/"),
        ("POST", f"{ACCOUNT}delete/"),
        ("GET", "/api/v1/sessions/"),
        ("DELETE", "/api/v1/sessions/"),
        ("GET", "/api/v1/push-devices/"),
        ("POST", "/api/v1/push-devices/"),
    ],
)
def test_strangers_without_a_token_are_told_to_log_in(client: Client, method: str, path: str) -> None:
    answer = call(client, method, path)
    assert answer.status_code == 401
    assert answer.json()["error"] == "not_authenticated"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_are_changed_and_the_rest_stays(client: Client, owner: User, stranger: User, encoding: str) -> None:
    answer = change(client, owner, {"first_name": "Asha", "last_name": "Rao"}, encoding=encoding)
    assert answer.status_code == 200
    assert (answer.json()["first_name"], answer.json()["last_name"]) == ("Asha", "Rao")
    owner.refresh_from_db()
    assert (owner.first_name, owner.email) == ("Asha", "owner@example.org")
    assert change(client, owner, {"last_name": ""}).json()["first_name"] == "Asha"
    stranger.refresh_from_db()
    assert stranger.first_name == ""


def test_the_user_name_stays_and_so_does_what_no_user_may_change(client: Client, owner: User) -> None:
    fields = {"username": "other", "is_staff": True, "daily_limit": 1000, "id": new_public_id(), "first_name": "A"}
    assert change(client, owner, fields).status_code == 200
    changed = User.objects.get()
    assert (changed.username, changed.is_staff, changed.daily_limit) == ("owner", False, None)
    assert (changed.public_id, changed.first_name) == (owner.public_id, "A")


def test_a_new_address_needs_the_password(client: Client, owner: User) -> None:
    for fields in ({"email": "new@example.org"}, {"email": "new@example.org", "current_password": "wrong"}):
        answer = change(client, owner, fields)
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) == {"current_password"}
    fields = {"email": "New@Example.org", "current_password": PASSWORD}
    assert change(client, owner, fields).json()["email"] == "new@example.org"
    # The same again is no change.
    assert change(client, owner, {"email": "NEW@example.org"}).status_code == 200


def test_a_taken_address_is_a_conflict(client: Client, owner: User, stranger: User) -> None:
    answer = change(client, owner, {"email": "Stranger@example.org", "current_password": PASSWORD})
    assert answer.status_code == 409
    assert answer.json()["error"] == "already_exists"
    assert set(answer.json()["errors"]) == {"email"}
    owner.refresh_from_db()
    assert owner.email == "owner@example.org"


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"email": "x"}, {"email"}),
        ({"email": ""}, {"email"}),
        ({"first_name": "x" * 151}, {"first_name"}),
        ({"first_name": 5, "language": "tlh"}, {"first_name", "language"}),
        ({"language": None}, {"language"}),
        ({"first_name": "a\0"}, {"first_name"}),
        ([1], {"non_field_errors"}),
    ],
)
def test_a_bad_change_names_each_field_and_changes_nothing(
    client: Client, owner: User, fields: Any, blamed: set[str]
) -> None:
    answer = change(client, owner, fields)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == blamed
    owner.refresh_from_db()
    assert (owner.first_name, owner.language, owner.email) == ("", "", "owner@example.org")


def set_password(client: Client, headers: dict[str, str] | None, **fields: Any) -> Any:
    return call(client, "PUT", f"{ACCOUNT}password/", fields, headers=headers or {})


def test_a_new_password_logs_the_others_out_and_answers_new_tokens(client: Client, owner: User) -> None:
    elsewhere = tokens.log_in(owner)
    here = bearer(owner, device="Phone")
    answer = set_password(client, here, old_password=PASSWORD, new_password=NEW_PASSWORD)
    assert answer.status_code == 200
    owner.refresh_from_db()
    assert owner.check_password(NEW_PASSWORD)
    for old in (here, {"Authorization": f"Bearer {elsewhere.access}"}):
        assert client.get(ACCOUNT, headers=old).status_code == 401
    new = {"Authorization": f"Bearer {answer.json()['access']}"}
    assert client.get(ACCOUNT, headers=new).status_code == 200
    [device] = client.get("/api/v1/sessions/", headers=new).json()
    assert (device["device"], device["current"]) == ("Phone", True)


def test_a_new_password_by_the_web_session_keeps_that_session(as_owner: Client) -> None:
    assert set_password(as_owner, None, old_password=PASSWORD, new_password=NEW_PASSWORD).status_code == 200
    assert as_owner.get(ACCOUNT).status_code == 200


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({}, {"old_password", "new_password"}),
        ({"old_password": "wrong", "new_password": NEW_PASSWORD}, {"old_password"}),
        ({"old_password": PASSWORD, "new_password": "short"}, {"new_password"}),
        ({"old_password": "wrong", "new_password": "password123"}, {"old_password", "new_password"}),
        ({"old_password": PASSWORD, "new_password": "owner@example.org"}, {"new_password"}),
        ({"old_password": PASSWORD, "new_password": 5}, {"new_password"}),
    ],
)
def test_a_bad_new_password_is_told_why_and_nothing_changes(
    client: Client, owner: User, fields: dict[str, Any], blamed: set[str]
) -> None:
    headers = bearer(owner)
    answer = set_password(client, headers, **fields)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == blamed
    assert client.get(ACCOUNT, headers=headers).status_code == 200


def test_a_stolen_token_is_no_place_to_guess_the_password(client: Client, owner: User) -> None:
    headers = bearer(owner)
    for _ in range(4):
        assert set_password(client, headers, old_password="guess", new_password=NEW_PASSWORD).status_code == 400
    for password in ("guess", PASSWORD):
        answer = set_password(client, headers, old_password=password, new_password=NEW_PASSWORD)
        assert (answer.status_code, answer.json()["error"]) == (429, "rate_limited")
    owner.refresh_from_db()
    assert owner.check_password(PASSWORD)


def test_deleting_the_account_needs_the_password(client: Client, owner: User) -> None:
    for fields in ({}, {"password": "wrong"}, {"password": ""}):
        answer = post(client, f"{ACCOUNT}delete/", fields, headers=bearer(owner))
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) == {"password"}
    owner.refresh_from_db()
    assert owner.is_active
    assert owner.deleted_at is None


def test_a_deleted_account_is_closed_at_once_everywhere(client: Client, as_owner: Client, owner: User) -> None:
    headers = bearer(owner)
    answer = post(client, f"{ACCOUNT}delete/", {"password": PASSWORD}, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    owner.refresh_from_db()
    assert owner.deleted_at is not None
    assert client.get(ACCOUNT, headers=headers).status_code == 401
    assert as_owner.get(ACCOUNT).status_code == 401
    assert post(client, "/users/login", {"username": "owner", "password": PASSWORD}).status_code == 401

"""The rules for new passwords, and which of them are met so far."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as site
from django.core.cache import cache
from django.test import Client
from django.utils.html import strip_tags

from accounts.models import User
from tests.accounts.calls import bearer, call, post
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

CHECK = "/accounts/password/check/"
# In the order of the validators: not like the name, long enough, not too long, not common, not digits alone, not known.
SHORT, LONG = "kq vzx 7lm2", "ॐ kq vzx 7lm" * 11


def told(client: Client, **fields: str) -> Any:
    return client.post(CHECK, fields).json()["met"]


@pytest.mark.parametrize(("password", "is_taken"), [(SHORT, False), (f"{SHORT}n", True), (LONG[:128], True), (LONG[:129], False)])  # fmt: skip  # noqa: E501
def test_new_passwords_have_12_to_128_characters(client: Client, password: str, is_taken: bool) -> None:
    fields = {"username": "asha", "email": "asha@example.org", "password1": password, "password2": password}
    page = client.post("/accounts/signup/", fields)
    assert page.status_code == (302 if is_taken else 200)
    api = {"username": "ravi", "email": "ravi@example.org", "password": password}
    assert post(Client(), "/users/signup", api).status_code == (200 if is_taken else 400)
    assert User.objects.count() == (2 if is_taken else 0)
    if not is_taken:
        assert "password2" in page.context["form"].errors


@pytest.mark.parametrize("password", ["x9!", LONG * 3])
def test_passwords_from_before_the_rule_are_good_still(owner: User, password: str) -> None:
    owner.set_password(password)
    owner.save()
    client = Client()
    assert client.post("/accounts/login/", {"username": "owner", "password": password}).status_code == 302
    assert post(Client(), "/users/login", {"username": "owner", "password": password}).status_code == 200
    change = {"old_password": password, "new_password": PASSWORD}
    headers = bearer(owner)
    refused = call(client, "PUT", "/api/v1/account/password/", {**change, "new_password": LONG}, headers=headers)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["new_password"])
    assert call(client, "PUT", "/api/v1/account/password/", change, headers=headers).status_code == 200


def test_which_rules_are_met_is_told_while_one_types(owner: User, as_owner: Client) -> None:
    client = Client()
    assert told(client, password="12345") == [None, False, True, False, False, True]
    assert told(client, password="asha.devi.k.7", username="asha.devi.k") == [False, True, True, True, True, True]
    assert told(client, password=PASSWORD, email="asha@example.org") == [True] * 6
    assert told(client, password=LONG)[2] is False
    assert told(as_owner, password="owner@example.org")[0] is False
    # In the order in which they stand on the pages.
    page = strip_tags(client.get("/accounts/signup/").content.decode())
    texts = ["too similar", "at least 12 characters", "at most 128 characters", "commonly used", "numeric", "break-in"]
    places = [page.index(text) for text in texts]
    assert places == sorted(places)
    assert len(site.AUTH_PASSWORD_VALIDATORS) == len(texts)


@pytest.fixture
def _counted_anew() -> Iterator[None]:
    """What earlier tests asked for is not counted, nor is what this one did later."""
    cache.clear()
    yield
    cache.clear()


@pytest.mark.usefixtures("_counted_anew")
def test_asking_which_is_limited_needs_the_pages_own_form_and_is_kept_nowhere(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings.SENTINEL_PASSWORD_CHECK_RATE = "2/min"
    answers = [client.post(CHECK, {"password": "q secret one"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "no-store" in answers[0]["Cache-Control"]
    assert "secret one" not in caplog.text
    assert Client(enforce_csrf_checks=True).post(CHECK, {"password": "x"}).status_code == 403
    assert client.get(CHECK).status_code == 405


@pytest.mark.parametrize(
    ("path", "buttons", "meters"),
    [
        *[("/accounts/signup/", 2, 1), ("/accounts/password/", 3, 1), ("/accounts/login/", 1, 0)],
        *[("/accounts/delete/", 1, 0), ("/accounts/confirm/", 1, 0), ("/accounts/", 1, 0)],
    ],
)
def test_each_password_has_a_button_to_show_it(as_owner: Client, path: str, buttons: int, meters: int) -> None:
    client = Client() if path in {"/accounts/login/", "/accounts/signup/"} else as_owner
    page = client.get(path).content.decode()
    assert page.count('type="password"') == page.count("data-show-password") == buttons
    assert page.count("data-rules-of") == meters
    assert "js/passwords.js" in page


def test_a_password_may_hold_any_letter_and_each_of_64_counts(client: Client, owner: User) -> None:
    """Of one kind of letters alone, too; and one that was had before may be had again."""
    words = (
        "correct horse battery staple",
        "कोई लंबा वाक्य जिसे याद रखें",
        "🐘 🦚 ~`'\"<>\\{}|^ ¿ß ÿ",
        "  ab  cd  ef  gh  ",
    )
    browser, held = Client(), PASSWORD
    browser.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    for new in (*words, "k" + "qvzx7lm2n" * 7, PASSWORD):
        fields = {"old_password": held, "new_password1": new, "new_password2": new}
        assert browser.post("/accounts/password/", fields).status_code == 302, new
        held = new
        owner.refresh_from_db()
        assert owner.check_password(new)
        for other in (new[:-1], new.strip() + "x", f"{new} "):
            assert not owner.check_password(other)

"""Which language pages and API speak: the account's, else the cookie's, else the browser's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.test import Client
from django.urls import reverse
from django.utils import translation

from accounts.models import User
from tests.accounts.calls import bearer, call, post
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

# A text that Django itself has in German.
ENGLISH, GERMAN = "This field is required.", "Dieses Feld ist zwingend erforderlich."


@pytest.fixture(autouse=True)
def _two_languages(settings: Any) -> Iterator[None]:
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "français")]
    yield
    translation.activate(site_settings.LANGUAGE_CODE)


def speak(user: User, language: str) -> None:
    User.objects.filter(pk=user.pk).update(language=language)


def page_language(client: Client, **headers: str) -> str:
    answer = client.get(reverse("accounts:account"), headers=headers)
    assert f'<html lang="{answer["Content-Language"]}"' in answer.content.decode()
    return str(answer["Content-Language"])


def test_the_accounts_language_goes_before_the_cookies_and_that_before_the_browsers(
    as_owner: Client, owner: User
) -> None:
    assert page_language(as_owner) == "en"
    assert page_language(as_owner, accept_language="fr") == "fr"
    as_owner.cookies[site_settings.LANGUAGE_COOKIE_NAME] = "en"
    assert page_language(as_owner, accept_language="fr") == "en"
    speak(owner, "de")
    assert page_language(as_owner, accept_language="fr") == "de"


def test_a_language_that_the_site_no_longer_has_is_passed_over(as_owner: Client, owner: User) -> None:
    speak(owner, "tlh")
    assert page_language(as_owner, accept_language="fr") == "fr"


def test_the_api_speaks_the_language_of_the_tokens_account(client: Client, owner: User) -> None:
    def refusal(**headers: str) -> Any:
        return call(client, "PUT", "/api/v1/account/password/", {}, headers={**bearer(owner), **headers})

    assert refusal().json()["errors"]["new_password"] == [ENGLISH]
    assert refusal(**{"Accept-Language": "de"}).json()["errors"]["new_password"] == [GERMAN]
    speak(owner, "de")
    answer = refusal(**{"Accept-Language": "fr"})
    assert answer.json()["errors"]["new_password"] == [GERMAN]
    assert answer["Content-Language"] == "de"
    # It ends with the request.
    assert post(client, "/users/login", {"username": "x"}).json()["errors"]["password"] == [ENGLISH]


def test_a_language_chosen_at_sign_up_is_spoken_from_then_on(client: Client) -> None:
    fields = {"username": "asha", "email": "asha@example.org", "password": PASSWORD, "language": "de"}
    body = post(client, "/api/v1/account/", fields).json()
    assert body["account"]["language"] == "de"
    headers = {"Authorization": f"Bearer {body['access']}"}
    assert client.get("/api/v1/account/", headers=headers)["Content-Language"] == "de"
    page = {"username": "ravi", "email": "ravi@example.org", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(reverse("accounts:signup"), {**page, "language": "fr"}).status_code == 302
    assert User.objects.get(username="ravi").language == "fr"
    assert page_language(client) == "fr"


def test_a_language_is_chosen_on_the_account_page_and_given_up_again(as_owner: Client, owner: User) -> None:
    fields = {"first_name": "", "last_name": "", "email": owner.email}
    as_owner.post(reverse("accounts:account"), {**fields, "language": "de"})
    assert page_language(as_owner, accept_language="fr") == "de"
    as_owner.post(reverse("accounts:account"), {**fields, "language": ""})
    assert page_language(as_owner, accept_language="fr") == "fr"


def test_there_is_nothing_to_choose_among_one_language(as_owner: Client, settings: Any) -> None:
    address = reverse("accounts:account")
    assert '<select name="language"' in as_owner.get(address).content.decode()
    settings.LANGUAGES = [("en", "English")]
    assert '<select name="language"' not in as_owner.get(address).content.decode()

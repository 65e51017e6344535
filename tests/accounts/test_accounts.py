from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.hashers import identify_hasher
from django.test import Client
from django.urls import reverse

from accounts.models import AccountMail, User
from tests.accounts.calls import send_mails
from tests.conftest import PASSWORD

SIGN_UP = {"username": "asha", "email": "Asha@Example.org", "password1": PASSWORD, "password2": PASSWORD}


def sign_up(client: Client, **changes: str) -> Any:
    return client.post(reverse("accounts:signup"), {**SIGN_UP, **changes})


@pytest.mark.django_db
def test_signing_up_logs_in_and_keeps_the_address_in_lower_case(client: Client) -> None:
    response = sign_up(client)
    assert response.status_code == 302
    user = User.objects.get()
    assert user.email == "asha@example.org"
    assert re.fullmatch("[0-9a-f]{24}", user.public_id)
    assert client.session["_auth_user_id"] == str(user.pk)


@pytest.mark.django_db
def test_passwords_are_hashed_with_argon2(client: Client, settings: Any) -> None:
    from sentinel_site import settings as shipped

    settings.PASSWORD_HASHERS = shipped.PASSWORD_HASHERS
    sign_up(client)
    assert identify_hasher(User.objects.get().password).algorithm == "argon2"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password1": "short", "password2": "short"}, "password2"),
        ({"password1": "password123", "password2": "password123"}, "password2"),
        ({"password2": "another long one"}, "password2"),
        ({"email": "not an address"}, "email"),
        ({"email": ""}, "email"),
        ({"username": ""}, "username"),
        ({"username": "asha@example.org"}, "username"),
    ],
)
@pytest.mark.django_db
def test_a_bad_sign_up_names_its_field_and_makes_no_account(
    client: Client, changes: dict[str, str], field: str
) -> None:
    response = sign_up(client, **changes)
    assert response.status_code == 200
    assert field in response.context["form"].errors
    assert not User.objects.exists()


def test_a_taken_name_or_address_is_refused_whatever_its_case(client: Client, owner: User) -> None:
    assert "username" in sign_up(client, username="OWNER").context["form"].errors
    assert "email" in sign_up(client, email="OWNER@example.org").context["form"].errors


@pytest.mark.parametrize("name", ["owner", "owner@example.org", "OWNER@Example.org"])
def test_log_in_takes_the_name_or_the_address(client: Client, owner: User, name: str) -> None:
    response = client.post(reverse("accounts:login"), {"username": name, "password": PASSWORD})
    assert response.status_code == 302
    assert client.session["_auth_user_id"] == str(owner.pk)


def test_log_out_needs_a_post_and_ends_the_session(as_owner: Client) -> None:
    assert as_owner.get(reverse("accounts:logout")).status_code == 405
    as_owner.post(reverse("accounts:logout"))
    assert "_auth_user_id" not in as_owner.session


def test_guessing_is_stopped_with_429_even_for_the_right_password(client: Client, owner: User) -> None:
    for _ in range(5):
        response = client.post(reverse("accounts:login"), {"username": "owner", "password": "wrong"})
    assert response.status_code == 429
    assert int(response["Retry-After"]) == 900
    response = client.post(reverse("accounts:login"), {"username": "owner", "password": PASSWORD})
    assert response.status_code == 429
    assert "_auth_user_id" not in client.session


def test_guessing_elsewhere_does_not_lock_the_owner_out(owner: User) -> None:
    guesser, real = Client(REMOTE_ADDR="192.0.2.66"), Client(REMOTE_ADDR="192.0.2.1")
    for _ in range(6):
        guesser.post(reverse("accounts:login"), {"username": "owner", "password": "wrong"})
    assert real.post(reverse("accounts:login"), {"username": "owner", "password": PASSWORD}).status_code == 302


def test_changing_the_password_ends_other_sessions(as_owner: Client, owner: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    new = "quite another long one"
    response = as_owner.post(
        reverse("accounts:password_change"), {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    )
    assert response.status_code == 302
    assert as_owner.get(reverse("media_analysis:history")).status_code == 200
    assert elsewhere.get(reverse("media_analysis:history")).status_code == 302


def test_a_lost_password_is_reset_by_the_link_in_the_mail(client: Client, owner: User, mailoutbox: Any) -> None:
    client.post(reverse("accounts:password_reset"), {"email": owner.email})
    send_mails()
    [mail] = mailoutbox
    link = re.search(r"https?://testserver(\S+)", mail.body)
    assert link is not None
    form_page = client.get(link[1], follow=True)
    new = "quite another long one"
    form_url = form_page.redirect_chain[-1][0]
    client.post(form_url, {"new_password1": new, "new_password2": new})
    owner.refresh_from_db()
    assert owner.check_password(new)
    # The link works once.
    assert not client.get(link[1], follow=True).context["validlink"]


@pytest.mark.django_db
def test_a_reset_for_an_unknown_address_looks_the_same_and_sends_nothing(client: Client, mailoutbox: Any) -> None:
    response = client.post(reverse("accounts:password_reset"), {"email": "nobody@example.org"})
    assert response.status_code == 302
    send_mails()
    assert mailoutbox == []
    assert not AccountMail.objects.exists()


@pytest.mark.parametrize("name", ["media_analysis:classify", "media_analysis:history", "accounts:password_change"])
@pytest.mark.django_db
def test_pages_for_members_send_others_to_the_log_in(client: Client, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("accounts:login"))


def test_a_session_from_before_the_log_in_is_worth_nothing_after_it(client: Client, owner: User) -> None:
    """As somebody would have who gave it to the browser beforehand."""
    session = client.session
    session["planted"] = True
    session.save()
    planted = str(session.session_key)
    assert client.post(reverse("accounts:login"), {"username": "owner", "password": PASSWORD}).status_code == 302
    assert client.cookies["sessionid"].value != planted
    other = Client()
    other.cookies["sessionid"] = planted
    assert other.get(reverse("accounts:account")).status_code == 302

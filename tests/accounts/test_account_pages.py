"""The account page and what is done from it."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import limits, services, tokens
from accounts.ids import new_public_id
from accounts.models import AppSession, User, WebSession
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

ACCOUNT = "/accounts/"
DELETE = "/accounts/delete/"


def fields_of(user: User, **changes: str) -> dict[str, str]:
    return {"first_name": user.first_name, "last_name": user.last_name, "email": user.email, "language": "", **changes}


@pytest.mark.parametrize("path", [ACCOUNT, DELETE])
def test_the_pages_are_for_members_and_kept_nowhere(client: Client, as_owner: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("accounts:login"))
    answer = as_owner.get(path)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]


def test_the_page_shows_ones_limits_and_devices_and_nobody_elses(as_owner: Client, owner: User, stranger: User) -> None:
    limits.spend(owner, new_public_id())
    tokens.log_in(owner, device="<b>My phone</b>")
    tokens.log_in(stranger, device="Not mine")
    page = as_owner.get(ACCOUNT).content.decode()
    assert "9 of 10 examinations are left." in page
    assert "&lt;b&gt;My phone&lt;/b&gt;" in page
    assert "Not mine" not in page


def test_the_header_leads_to_the_account_page(as_owner: Client) -> None:
    assert f'href="{ACCOUNT}"' in as_owner.get(reverse("media_analysis:history")).content.decode()


def test_names_are_changed_on_the_page(as_owner: Client, owner: User) -> None:
    answer = as_owner.post(ACCOUNT, fields_of(owner, first_name="Asha"), follow=True)
    assert "Your account is changed." in answer.content.decode()
    owner.refresh_from_db()
    assert owner.first_name == "Asha"


def test_a_new_address_needs_the_password_on_the_page_too(as_owner: Client, owner: User, stranger: User) -> None:
    new = fields_of(owner, email="New@example.org")
    assert as_owner.post(ACCOUNT, new).status_code == 400
    taken = fields_of(owner, email=stranger.email, current_password=PASSWORD)
    refused = as_owner.post(ACCOUNT, taken)
    assert (refused.status_code, set(refused.context["form"].errors)) == (400, {"email"})
    owner.refresh_from_db()
    assert owner.email == "owner@example.org"
    assert as_owner.post(ACCOUNT, {**new, "current_password": PASSWORD}).status_code == 302
    owner.refresh_from_db()
    assert owner.email == "new@example.org"


def test_saving_the_profile_undoes_nothing_that_happened_meanwhile(
    as_owner: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is closed on the phone while the page is being saved."""
    save = services.save

    def closed_meanwhile(form: object) -> User:
        services.close_account(owner)
        return save(form)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "save", closed_meanwhile)
    as_owner.post(ACCOUNT, fields_of(owner, first_name="Asha"))
    owner.refresh_from_db()
    assert not owner.is_active
    assert owner.deleted_at is not None


def test_a_device_is_logged_out_by_its_owner_only(
    client: Client, as_owner: Client, as_stranger: Client, owner: User
) -> None:
    tokens.log_in(owner)
    device = AppSession.objects.get()
    path = f"/accounts/devices/{device.public_id}/end/"
    assert as_stranger.post(path).status_code == 404
    assert client.post(path).status_code == 302
    assert as_owner.get(path).status_code == 405
    device.refresh_from_db()
    assert device.ended_at is None
    assert as_owner.post(path).status_code == 302
    device.refresh_from_db()
    assert device.ended_at is not None
    assert as_owner.post(path).status_code == 404


def test_all_devices_are_logged_out_at_once(as_owner: Client, owner: User, stranger: User) -> None:
    for user in (owner, owner, stranger):
        tokens.log_in(user)
    assert as_owner.post("/accounts/devices/end/").status_code == 302
    assert not AppSession.objects.filter(user=owner, ended_at=None).exists()
    assert AppSession.objects.filter(user=stranger, ended_at=None).exists()
    assert as_owner.get(ACCOUNT).status_code == 200


def test_deleting_the_account_needs_the_typed_password(as_owner: Client, owner: User) -> None:
    for password in ("", "wrong"):
        answer = as_owner.post(DELETE, {"password": password})
        assert (answer.status_code, set(answer.context["form"].errors)) == (400, {"password"})
    owner.refresh_from_db()
    assert owner.deleted_at is None


def test_a_deleted_account_is_closed_and_logged_out(as_owner: Client, client: Client, owner: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    answer = as_owner.post(DELETE, {"password": PASSWORD}, follow=True)
    assert "Your account is deleted." in answer.content.decode()
    assert elsewhere.get(ACCOUNT).status_code == 302
    assert client.post(reverse("accounts:login"), {"username": "owner", "password": PASSWORD}).status_code == 200
    assert "_auth_user_id" not in client.session


def test_guessing_on_the_page_of_deletion_is_stopped(as_owner: Client, owner: User) -> None:
    statuses = [as_owner.post(DELETE, {"password": "guess"}).status_code for _ in range(5)]
    assert statuses == [400, 400, 400, 400, 429]
    assert as_owner.post(DELETE, {"password": PASSWORD}).status_code == 429
    owner.refresh_from_db()
    assert owner.deleted_at is None


def test_of_two_sign_ups_on_the_page_at_the_same_time_one_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = services.save

    def overtaken(form: object) -> User:
        User.objects.create_user("asha", "first@example.org", PASSWORD)
        return save(form)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "save", overtaken)
    fields = {"username": "asha", "email": "asha@example.org", "password1": PASSWORD, "password2": PASSWORD}
    answer = client.post(reverse("accounts:signup"), fields)
    assert answer.context["form"].non_field_errors() == ["This user name or e-mail address is taken."]
    assert User.objects.get().email == "first@example.org"


def test_with_a_log_in_goes_what_the_browser_kept(as_owner: Client, owner: User) -> None:
    """Pictures of results and answers of the API are kept between two looks; the next person has no business there."""
    assert "Clear-Site-Data" not in as_owner.get("/accounts/", secure=True).headers
    WebSession.objects.update(ended_at=timezone.now(), end_reason="ended")
    assert as_owner.get("/accounts/", secure=True)["Clear-Site-Data"] == '"cache"'
    assert "Clear-Site-Data" not in as_owner.get("/accounts/", secure=True).headers
    for path, fields in (("/accounts/logout/", {}), ("/accounts/delete/", {"password": PASSWORD})):
        client = Client()
        client.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
        assert client.post(path, fields, secure=True)["Clear-Site-Data"] == '"cache"'

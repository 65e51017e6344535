"""What administrators see of accounts, and what they can do."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts import tokens
from accounts.models import AccountMail, AppSession, PushDevice, SecurityEvent, User
from tests.conftest import make_user
from tests.media_analysis.factories import make_done

pytestmark = pytest.mark.django_db

SESSIONS = reverse("admin:accounts_appsession_changelist")
DEVICES = reverse("admin:accounts_pushdevice_changelist")


def make_device(user: User) -> PushDevice:
    return PushDevice.objects.create(
        user=user, name="Phone", endpoint="https://push.example.net/send/secret", p256dh="point", auth="shared-secret"
    )


def test_administrators_log_devices_out(as_admin: Client, owner: User) -> None:
    for _ in range(2):
        tokens.log_in(owner)
    first, second = AppSession.objects.all()
    answer = as_admin.post(SESSIONS, {"action": "end_sessions", "_selected_action": [first.pk]})
    assert answer.status_code == 302
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.ended_at is not None
    assert second.ended_at is None


def test_who_may_only_look_logs_nobody_out(client: Client, stranger: User, owner: User) -> None:
    stranger.is_staff = True
    stranger.save()
    stranger.user_permissions.add(Permission.objects.get(codename="view_appsession"))
    client.force_login(stranger, backend="accounts.backends.UsernameOrEmailBackend")
    tokens.log_in(owner)
    session = AppSession.objects.get()
    assert client.get(SESSIONS).status_code == 200
    client.post(SESSIONS, {"action": "end_sessions", "_selected_action": [session.pk]})
    session.refresh_from_db()
    assert session.ended_at is None


def test_sessions_and_devices_are_only_looked_at(as_admin: Client, owner: User) -> None:
    tokens.log_in(owner)
    for name, row in (("appsession", AppSession.objects.get()), ("pushdevice", make_device(owner))):
        page = reverse(f"admin:accounts_{name}_change", args=[row.pk])
        assert as_admin.get(page).status_code == 200
        assert as_admin.post(page, {"device": "other", "name": "other"}).status_code == 403
        assert as_admin.get(reverse(f"admin:accounts_{name}_add")).status_code == 403


def test_the_secrets_of_a_push_device_are_on_no_page(as_admin: Client, owner: User) -> None:
    device = make_device(owner)
    for address in (DEVICES, reverse("admin:accounts_pushdevice_change", args=[device.pk])):
        page = as_admin.get(address).content.decode()
        assert "push.example.net" in page
        assert "shared-secret" not in page
        assert "/send/secret" not in page


def test_the_language_of_a_user_is_one_of_the_sites(as_admin: Client, owner: User, settings: Any) -> None:
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    page = as_admin.get(reverse("admin:accounts_user_change", args=[owner.pk]))
    field = page.context["adminform"].form.fields["language"]
    assert [code for code, _ in field.choices] == ["", "en", "de"]


@pytest.mark.parametrize("at_once", [True, False])
def test_deleting_a_user_closes_the_account_so_that_the_files_go_too(
    as_admin: Client, owner: User, at_once: bool
) -> None:
    make_done(owner)
    if at_once:
        address = reverse("admin:accounts_user_changelist")
        as_admin.post(address, {"action": "delete_selected", "_selected_action": [owner.pk], "post": "yes"})
    else:
        as_admin.post(reverse("admin:accounts_user_delete", args=[owner.pk]), {"post": "yes"})
    owner.refresh_from_db()
    assert owner.deleted_at is not None
    assert not owner.is_active


def test_administrators_are_shown_no_tokens(as_admin: Client, owner: User) -> None:
    tokens.log_in(owner)
    assert "lacklist" not in as_admin.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize("key", ["abc", "", "9" * 40, "0", "f" * 24, "1 OR 1=1"])
def test_what_is_no_key_chooses_nothing(as_admin: Client, owner: User, key: str) -> None:
    tokens.log_in(owner)
    as_admin.raise_request_exception = False
    chosen = as_admin.post(SESSIONS, {"action": "end_sessions", "_selected_action": [key]})
    assert chosen.status_code in {302, 404}
    assert AppSession.objects.get().ended_at is None
    for page in ("admin/accounts/user/{}/change", "admin/accounts/user/{}/password", "admin/accounts/user/{}/delete"):
        assert as_admin.get(f"/{page.format(key or '-')}/").status_code in {302, 404}
    assert as_admin.get(f"/admin/r/{key or '-'}/{key or '-'}/").status_code == 404
    assert as_admin.get("/admin/accounts/usageentry/", {"user__id__exact": key}).status_code in {200, 302}


@pytest.fixture
def as_support(client: Client, stranger: User) -> Client:
    """Staff who may do whatever can be done with accounts, and are no superuser."""
    stranger.is_staff = True
    stranger.save()
    stranger.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    client.force_login(stranger, backend="accounts.backends.UsernameOrEmailBackend")
    return client


def fields_of(user: User, **changes: Any) -> dict[str, Any]:
    return {"username": user.username, "email": user.email, "language": "", "is_active": "on", **changes}


NEW = {"usable_password": "true", "password1": "quite another long one", "password2": "quite another long one"}


def test_staff_get_no_rights_that_they_do_not_have(as_support: Client, stranger: User, admin: User) -> None:
    colleague = make_user("colleague", is_staff=True)
    rights = {"is_staff": "on", "is_superuser": "on", "groups": [], "user_permissions": ["1"]}
    for user in (admin, colleague, stranger):
        page = reverse("admin:accounts_user_change", args=[user.pk])
        assert as_support.get(page).status_code == 200
        assert as_support.post(page, fields_of(user, email="mine@example.org", **rights)).status_code == 403
        assert as_support.post(reverse("admin:auth_user_password_change", args=[user.pk]), NEW).status_code == 403
        assert (
            as_support.post(reverse("admin:accounts_user_delete", args=[user.pk]), {"post": "yes"}).status_code == 403
        )
    chosen = {"action": "delete_selected", "_selected_action": [admin.pk, colleague.pk], "post": "yes"}
    assert as_support.post(reverse("admin:accounts_user_changelist"), chosen).status_code == 403
    for user in (admin, colleague, stranger):
        before = (user.email, user.password, user.is_superuser, user.deleted_at)
        user.refresh_from_db()
        assert (user.email, user.password, user.is_superuser, user.deleted_at) == before


def test_staff_help_users_whose_owners_are_told_and_give_nobody_rights(as_support: Client, owner: User) -> None:
    page = reverse("admin:accounts_user_change", args=[owner.pk])
    rights = {"is_staff": "on", "is_superuser": "on", "user_permissions": ["1"]}
    assert as_support.post(page, fields_of(owner, email="new@example.org", **rights)).status_code == 302
    assert as_support.post(reverse("admin:auth_user_password_change", args=[owner.pk]), NEW).status_code == 302
    owner.refresh_from_db()
    assert (owner.email, owner.is_staff, owner.is_superuser) == ("new@example.org", False, False)
    assert not owner.user_permissions.exists()
    assert owner.check_password(NEW["password1"])
    # The first to the address that the owner had until then.
    told = AccountMail.objects.order_by("pk").values_list("event", "to")
    assert list(told) == [("email_changed", "owner@example.org"), ("password_changed", "new@example.org")]
    events = SecurityEvent.objects.filter(user=owner).order_by("pk").values_list("event", "actor_name")
    assert list(events) == [("email_changed", "stranger"), ("password_changed", "stranger")]
    chosen = {"action": "delete_selected", "_selected_action": [owner.pk], "post": "yes"}
    assert as_support.post(reverse("admin:accounts_user_changelist"), chosen).status_code == 302
    owner.refresh_from_db()
    assert owner.deleted_at is not None

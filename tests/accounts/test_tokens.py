"""Tokens: what they open, for how long, and everything that ends them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts import tokens
from accounts.errors import SentinelError
from accounts.ids import new_public_id
from accounts.models import AppSession, User
from tests.accounts.calls import bearer, call, post, send_mails
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "quite another long one"
REFRESH = "/api/v1/tokens/refresh/"
REVOKE = "/api/v1/tokens/revoke/"
SESSIONS = "/api/v1/sessions/"


def opens(client: Client, access: str) -> bool:
    """Whether an access token is accepted; where not, the refusal has the one shape."""
    answer = client.get("/api/v1/account/", headers={"Authorization": f"Bearer {access}"})
    if answer.status_code == 200:
        return True
    assert answer.status_code == 401
    assert answer.json()["error"] == "not_authenticated"
    assert answer["WWW-Authenticate"].startswith("Bearer")
    return False


def refreshes(client: Client, refresh: str) -> bool:
    answer = post(client, REFRESH, {"refresh": refresh})
    if answer.status_code == 200:
        return True
    assert answer.status_code == 401
    assert answer.json()["error"] == "not_authenticated"
    return False


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def age(**by: float) -> None:
    """Make all uses of refresh tokens so much older."""
    for row in BlacklistedToken.objects.all():
        row.blacklisted_at -= timedelta(**by)
        row.save()


@pytest.mark.parametrize("names", [{"username": "owner"}, {"email": "owner@example.org"}])
def test_tokens_are_had_for_name_or_address_and_password(client: Client, owner: User, names: dict[str, str]) -> None:
    answer = post(client, "/api/v1/tokens/", {**names, "password": PASSWORD, "device": "A phone"})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access", "refresh", "expires_in"}
    assert body["expires_in"] == 3600
    assert answer["Cache-Control"] == "no-store"
    assert opens(client, body["access"])
    assert AppSession.objects.get().device == "A phone"
    access, refresh = claims(body["access"]), claims(body["refresh"])
    assert access["sub"] == owner.public_id
    assert access["exp"] - access["iat"] == 3600
    assert refresh["exp"] - refresh["iat"] == 14 * 24 * 3600


def test_tokens_are_not_had_for_a_wrong_password(client: Client, owner: User) -> None:
    answer = post(client, "/api/v1/tokens/", {"username": "owner", "password": "wrong"})
    assert answer.status_code == 401
    assert answer.json()["message"] == "The name or the password is wrong."
    assert not AppSession.objects.exists()


def test_a_refresh_gives_new_tokens_of_the_same_session(client: Client, owner: User) -> None:
    first = tokens.log_in(owner)
    body = post(client, REFRESH, {"refresh": first.refresh}).json()
    assert body["refresh"] != first.refresh
    assert claims(body["access"])["sid"] == claims(first.access)["sid"]
    assert opens(client, body["access"])
    assert refreshes(client, body["refresh"])


def test_a_refresh_token_used_again_later_ends_its_session(client: Client, owner: User) -> None:
    elsewhere = tokens.log_in(owner)
    first = tokens.log_in(owner)
    second = tokens.refresh(first.refresh)
    age(seconds=11)
    assert not refreshes(client, first.refresh)
    assert not opens(client, second.access)
    assert not refreshes(client, second.refresh)
    assert opens(client, elsewhere.access)


def test_a_refresh_sent_twice_at_once_is_refused_once_and_ends_nothing(client: Client, owner: User) -> None:
    first = tokens.log_in(owner)
    second = tokens.refresh(first.refresh)
    assert not refreshes(client, first.refresh)
    assert opens(client, second.access)
    assert refreshes(client, second.refresh)


def signed(changes: dict[str, Any], base: str, *, key: str = "", algorithm: str = "HS256") -> str:
    payload = {**claims(base), **changes}
    kept = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(kept, key or settings.SECRET_KEY, algorithm=algorithm)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {"key": "a key that is not the one of this site"}),
        ({}, {"algorithm": "none", "key": ""}),
        ({}, {"algorithm": "HS512"}),
        ({"exp": 1}, {}),
        ({"exp": None}, {}),
        ({"jti": None}, {}),
        ({"sid": None}, {}),
        ({"sid": new_public_id()}, {}),
        ({"sid": 5}, {}),
        ({"sub": None}, {}),
        ({"sub": new_public_id()}, {}),
        ({"hash_password": None}, {}),
        ({"hash_password": "0" * 32}, {}),
        ({"token_type": None}, {}),
        ({"token_type": "sliding"}, {}),
    ],
)
def test_altered_tokens_open_nothing(
    client: Client, owner: User, changes: dict[str, Any], options: dict[str, str]
) -> None:
    pair = tokens.log_in(owner)
    if options.get("algorithm") == "none":
        access, refresh = (jwt.encode(claims(token), "", algorithm="none") for token in (pair.access, pair.refresh))
    else:
        access, refresh = (signed(changes, token, **options) for token in (pair.access, pair.refresh))
    assert not opens(client, access)
    assert not refreshes(client, refresh)
    # The test can fail: unaltered claims, signed here, are as good as ours.
    assert opens(client, signed({}, pair.access))
    assert refreshes(client, signed({}, pair.refresh))


def test_another_users_session_in_a_token_opens_nothing(client: Client, owner: User, stranger: User) -> None:
    pair, others = tokens.log_in(owner), tokens.log_in(stranger)
    assert not opens(client, signed({"sid": claims(others.access)["sid"]}, pair.access))
    assert not refreshes(client, signed({"sid": claims(others.access)["sid"]}, pair.refresh))


def test_an_access_token_is_no_refresh_token_and_the_reverse(client: Client, owner: User) -> None:
    pair = tokens.log_in(owner)
    assert not refreshes(client, pair.access)
    assert not opens(client, pair.refresh)
    assert post(client, REVOKE, {"refresh": pair.access}).status_code == 401
    assert opens(client, pair.access)


@pytest.mark.parametrize("token", ["x", "a.b.c", "ey.ey.ey", "é.é.é", " ", "null"])
def test_malformed_tokens_are_refused(client: Client, owner: User, token: str) -> None:
    with pytest.raises(SentinelError):
        tokens.refresh(token)
    assert post(client, REFRESH, {"refresh": token}).status_code in {400, 401}
    assert client.get("/api/v1/account/", headers={"Authorization": f"Bearer {token}"}).status_code == 401


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Bearer\t", "bearer x", "Basic b3duZXI6eA=="])
def test_malformed_headers_are_refused(client: Client, owner: User, header: str) -> None:
    answer = client.get("/api/v1/account/", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"] == "not_authenticated"


@pytest.mark.parametrize("body", [{}, {"refresh": ""}, {"refresh": None}, {"refresh": 5}, [], {"refresh": ["x"]}])
def test_a_refresh_without_a_token_says_which_field(client: Client, body: Any) -> None:
    answer = post(client, REFRESH, body)
    assert answer.status_code == 400
    assert answer.json()["errors"]


def change_by_api(client: Client, user: User) -> None:
    fields = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert call(client, "PUT", "/api/v1/account/password/", fields, headers=bearer(user)).status_code == 200


def change_by_page(client: Client, user: User) -> None:
    client.force_login(user, backend="accounts.backends.UsernameOrEmailBackend")
    fields = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert client.post(reverse("accounts:password_change"), fields).status_code == 302


def change_by_admin(client: Client, user: User) -> None:
    admin = User.objects.create_superuser("admin", "admin@example.org", PASSWORD)
    client.force_login(admin, backend="accounts.backends.UsernameOrEmailBackend")
    fields = {"usable_password": "true", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    address = reverse("admin:auth_user_password_change", args=[user.pk])
    assert client.post(address, fields).status_code == 302


def change_by_mail(client: Client, user: User) -> None:
    from django.core import mail

    client.post(reverse("accounts:password_reset"), {"email": user.email})
    send_mails()
    link = re.search(r"https?://testserver(\S+)", str(mail.outbox[-1].body))
    assert link is not None
    address = client.get(link[1], follow=True).redirect_chain[-1][0]
    fields = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert client.post(address, fields).status_code == 302


@pytest.mark.parametrize("change", [change_by_api, change_by_page, change_by_admin, change_by_mail])
def test_a_changed_password_logs_all_devices_out(client: Client, owner: User, stranger: User, change: Any) -> None:
    pairs, others = [tokens.log_in(owner), tokens.log_in(owner)], tokens.log_in(stranger)
    change(client, owner)
    owner.refresh_from_db()
    assert owner.check_password(NEW_PASSWORD)
    visitor = Client()
    for pair in pairs:
        assert not opens(visitor, pair.access)
        assert not refreshes(visitor, pair.refresh)
    ended = AppSession.objects.filter(public_id__in=[claims(pair.access)["sid"] for pair in pairs])
    assert all(session.ended_at for session in ended)
    assert opens(visitor, others.access)


def test_a_password_hash_changed_past_the_model_ends_tokens_too(client: Client, owner: User) -> None:
    pair = tokens.log_in(owner)
    User.objects.filter(pk=owner.pk).update(password="!unusable")
    assert not opens(client, pair.access)
    assert not refreshes(client, pair.refresh)


def test_deactivation_logs_all_devices_out_for_good(client: Client, owner: User) -> None:
    pair = tokens.log_in(owner)
    owner.is_active = False
    owner.save()
    assert not opens(client, pair.access)
    assert not refreshes(client, pair.refresh)
    owner.is_active = True
    owner.save()
    assert not opens(client, pair.access)


def test_saving_anything_else_of_a_user_logs_nobody_out(client: Client, owner: User) -> None:
    pair = tokens.log_in(owner)
    owner.first_name = "Asha"
    owner.save()
    assert opens(client, pair.access)


def test_logging_out_by_the_bearer_token_ends_this_device_at_once(client: Client, owner: User) -> None:
    pair, elsewhere = tokens.log_in(owner), tokens.log_in(owner)
    answer = call(client, "POST", REVOKE, headers={"Authorization": f"Bearer {pair.access}"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert not opens(client, pair.access)
    assert not refreshes(client, pair.refresh)
    assert opens(client, elsewhere.access)


def test_logging_out_by_the_refresh_token_works_with_a_stale_access_token(client: Client, owner: User) -> None:
    pair = tokens.log_in(owner)
    stale = {"Authorization": f"Bearer {signed({'exp': 1}, pair.access)}"}
    assert post(client, REVOKE, {"refresh": pair.refresh}, headers=stale).status_code == 204
    assert not opens(client, pair.access)
    # Again is no error: the device is out.
    assert post(client, REVOKE, {"refresh": pair.refresh}).status_code == 204


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer x"}])
def test_logging_out_needs_to_say_which_device(client: Client, owner: User, header: dict[str, str]) -> None:
    answer = call(client, "POST", REVOKE, headers=header)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_the_list_of_devices_has_ones_own_and_says_which_is_this(client: Client, owner: User, stranger: User) -> None:
    tokens.log_in(stranger, device="not mine")
    tokens.log_in(owner, device="Tablet")
    ended = tokens.log_in(owner, device="ended")
    tokens.revoke(ended.refresh)
    tokens.log_in(owner, device="ran out")
    AppSession.objects.filter(device="ran out").update(last_used_at=timezone.now() - timedelta(days=15))
    listed = client.get(SESSIONS, headers=bearer(owner, device="Phone")).json()
    assert [(row["device"], row["current"]) for row in listed] == [("Phone", True), ("Tablet", False)]
    assert set(listed[0]) == {"id", "device", "created_at", "last_used_at", "current"}


def test_one_device_is_logged_out_by_its_owner_only(client: Client, owner: User, stranger: User) -> None:
    pair = tokens.log_in(owner)
    path = f"{SESSIONS}{claims(pair.access)['sid']}/"
    assert call(client, "DELETE", path).status_code == 401
    assert call(client, "DELETE", path, headers=bearer(stranger)).status_code == 404
    assert opens(client, pair.access)
    assert call(client, "DELETE", path, headers=bearer(owner)).status_code == 204
    assert not opens(client, pair.access)
    assert call(client, "DELETE", path, headers=bearer(owner)).status_code == 404


@pytest.mark.parametrize("public_id", ["x", "0" * 24, "0" * 25])
def test_devices_that_are_not_there_are_not_found(client: Client, owner: User, public_id: str) -> None:
    answer = call(client, "DELETE", f"{SESSIONS}{public_id}/", headers=bearer(owner))
    assert answer.status_code == 404
    assert answer.json()["error"] == "not_found"


def test_all_devices_are_logged_out_at_once_and_nobody_elses(client: Client, owner: User, stranger: User) -> None:
    pairs, others = [tokens.log_in(owner) for _ in range(3)], tokens.log_in(stranger)
    header = {"Authorization": f"Bearer {pairs[0].access}"}
    assert call(client, "DELETE", SESSIONS, headers=header).status_code == 204
    assert not any(opens(client, pair.access) for pair in pairs)
    assert opens(client, others.access)


def test_the_last_use_is_written_now_and_then(client: Client, owner: User) -> None:
    pair = tokens.log_in(owner)
    AppSession.objects.update(last_used_at=timezone.now() - timedelta(minutes=6))
    assert opens(client, pair.access)
    seen = AppSession.objects.get().last_used_at
    assert timezone.now() - seen < timedelta(minutes=1)
    assert opens(client, pair.access)
    assert AppSession.objects.get().last_used_at == seen


def test_what_ran_out_is_forgotten_and_what_holds_is_kept(client: Client, owner: User) -> None:
    old, held = tokens.log_in(owner), tokens.log_in(owner)
    used = tokens.refresh(held.refresh)
    past = timezone.now() - timedelta(days=31)
    OutstandingToken.objects.filter(jti=claims(old.refresh)["jti"]).update(expires_at=past)
    AppSession.objects.filter(public_id=claims(old.access)["sid"]).update(ended_at=past)
    tokens.log_in(owner)
    AppSession.objects.exclude(public_id__in=[claims(pair.access)["sid"] for pair in (old, held)]).update(
        last_used_at=past
    )
    tokens.forget_ended()
    assert [session.public_id for session in AppSession.objects.all()] == [claims(held.access)["sid"]]
    jtis = set(OutstandingToken.objects.values_list("jti", flat=True))
    assert claims(old.refresh)["jti"] not in jtis
    # The mark on a used token is kept as long as the token would hold.
    assert BlacklistedToken.objects.get().token.jti == claims(held.refresh)["jti"]
    assert opens(client, used.access)
    assert not refreshes(client, held.refresh)


def test_a_token_in_an_address_opens_nothing(client: Client, owner: User) -> None:
    access = tokens.log_in(owner).access
    for name in ("access", "token", "access_token", "jwt", "authorization"):
        assert client.get("/api/v1/account/", {name: access}).status_code == 401
        assert client.get("/api/v1/account/", {name: f"Bearer {access}"}).status_code == 401
    browser = Client()
    browser.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    assert client.get("/accounts/", {"sessionid": browser.cookies["sessionid"].value}).status_code == 302

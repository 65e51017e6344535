"""Browsers in which somebody is logged in: what is listed, what ends them, and the log of all that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.test import Client, override_settings
from django.utils import timezone

from accounts import second_factor, security_log, services, sessions, tokens
from accounts.addresses import device_name
from accounts.models import AppSession, Factor, SecurityEvent, User, WebSession
from tests.accounts.calls import bearer, post, send_mails
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

SECURITY = "/accounts/security/"
NEW_PASSWORD = "quite another long one"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def logged_in(user: User, **headers: str) -> Client:
    client = Client(headers=headers)
    assert client.post("/accounts/login/", {"username": user.username, "password": PASSWORD}).status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get("/accounts/").status_code == 200


def events(user: User | None) -> list[str]:
    return list(SecurityEvent.objects.filter(user=user).values_list("event", flat=True))


def test_log_ins_of_browsers_and_apps_are_listed_and_nobody_elses(owner: User, stranger: User) -> None:
    here = logged_in(owner, **{"User-Agent": FIREFOX})
    logged_in(stranger, **{"User-Agent": "curl/8"})
    post(Client(), "/api/v1/tokens/", {"username": "owner", "password": PASSWORD, "device": "<i>Phone</i>"})
    page = here.get(SECURITY).content.decode()
    assert "Firefox · Linux" in page
    assert "This one" in page
    assert "&lt;i&gt;Phone&lt;/i&gt;" in page
    assert "127.0.0.1" in page
    assert "curl" not in page
    assert AppSession.objects.get().address == "127.0.0.1"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox · Linux"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/130.0 Mobile Safari/537.36", "Chrome · Android"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0", "Edge · Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18) Version/18 Safari/604.1", "Safari · iPhone"),
        ("", ""),
    ],
)
def test_a_browser_has_a_name_that_its_owner_knows(agent: str, name: str) -> None:
    assert device_name(agent) == name


def test_one_log_in_is_ended_by_its_owner_only(client: Client, owner: User, stranger: User) -> None:
    here, there, other = logged_in(owner), logged_in(owner), logged_in(stranger)
    row = WebSession.objects.get(public_id=there.session[sessions.MARKER])
    path = f"{SECURITY}sessions/{row.public_id}/end/"
    assert other.post(path).status_code == 404
    assert client.post(path).status_code == 302
    assert here.get(path).status_code == 405
    assert is_in(there)
    assert here.post(path).status_code == 302
    assert not is_in(there)
    assert is_in(here)
    assert here.post(path).status_code == 404


def test_everything_but_this_browser_is_logged_out_at_once(owner: User, stranger: User) -> None:
    here, there, other = logged_in(owner), logged_in(owner), logged_in(stranger)
    tokens.log_in(owner)
    assert here.post(f"{SECURITY}sessions/end/").status_code == 302
    assert (is_in(here), is_in(there), is_in(other)) == (True, False, True)
    assert not AppSession.objects.filter(ended_at=None).exists()


def test_the_cookie_of_an_ended_log_in_opens_nothing_ever_again(owner: User) -> None:
    there = logged_in(owner)
    cookie = there.cookies["sessionid"].value
    sessions.end_others(owner, None)
    assert not is_in(there)
    WebSession.objects.update(ended_at=timezone.now() - timedelta(days=400))
    sessions.forget_ended()
    assert not WebSession.objects.exists()
    again = Client()
    again.cookies["sessionid"] = cookie
    assert not is_in(again)


@pytest.mark.parametrize(
    ("came_from", "back"),
    [
        ("http://testserver/cases/?page=2", "/cases/?page=2"),
        # Nothing but a page of this site.
        ("https://elsewhere.example/cases/", "/notifications/read/"),
        ("", "/notifications/read/"),
    ],
)
def test_a_form_sent_after_the_log_in_ended_leads_back_to_its_page(
    client: Client, db: None, came_from: str, back: str
) -> None:
    answer = client.post("/notifications/read/", headers={"Referer": came_from} if came_from else {})
    assert answer["Location"] == f"/accounts/login/?{urlencode({'next': back}, safe='/')}"


def test_a_log_in_without_its_row_is_none(owner: User) -> None:
    there = logged_in(owner)
    WebSession.objects.all().delete()
    assert not is_in(there)


def test_one_from_before_there_were_rows_gets_one(owner: User) -> None:
    there = logged_in(owner)
    session = there.session
    del session[sessions.MARKER]
    session.save()
    WebSession.objects.all().delete()
    assert is_in(there)
    assert WebSession.objects.get().user == owner


@pytest.mark.parametrize("by_api", [False, True])
def test_a_new_password_logs_out_all_others_and_not_the_one_that_set_it(owner: User, by_api: bool) -> None:
    here, there = logged_in(owner), logged_in(owner)
    if by_api:
        fields: Any = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
        answer = here.put("/api/v1/account/password/", fields, content_type="application/json")
        assert answer.status_code == 200
    else:
        fields = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
        assert here.post("/accounts/password/", fields).status_code == 302
    assert is_in(here)
    assert not is_in(there)
    assert is_in(here)
    assert [row.public_id for row in sessions.sessions_of(owner)] == [here.session[sessions.MARKER]]
    assert "password_changed" in events(owner)


def test_guessing_the_old_password_in_a_stolen_session_is_stopped(owner: User) -> None:
    here = logged_in(owner)
    fields = {"old_password": "guess", "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    statuses = [here.post("/accounts/password/", fields).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    assert here.post("/accounts/password/", {**fields, "old_password": PASSWORD}).status_code == 429
    assert events(owner)[:5] == ["wrong_password"] * 5 or events(owner)[0] == "locked_out"


@pytest.mark.parametrize(
    ("is_staff", "field", "hours", "is_over"),
    [
        (False, "last_used_at", 13 * 24, False),
        (False, "last_used_at", 15 * 24, True),
        (False, "created_at", 29 * 24, False),
        (False, "created_at", 31 * 24, True),
        (True, "last_used_at", 0.9, False),
        (True, "last_used_at", 1.1, True),
        (True, "created_at", 11, False),
        (True, "created_at", 13, True),
    ],
)
def test_log_ins_run_out_sooner_for_staff(owner: User, is_staff: bool, field: str, hours: float, is_over: bool) -> None:
    User.objects.update(is_staff=is_staff)
    here = logged_in(owner)
    WebSession.objects.update(**{field: timezone.now() - timedelta(hours=hours)})
    assert is_in(here) is not is_over
    assert ("session_timed_out" in events(owner)) is is_over
    assert sessions.is_live(here.session) is not is_over


def test_the_last_use_is_written_now_and_then(owner: User) -> None:
    here = logged_in(owner)
    before = WebSession.objects.get().last_used_at
    assert is_in(here)
    assert WebSession.objects.get().last_used_at == before
    WebSession.objects.update(last_used_at=timezone.now() - timedelta(minutes=5))
    assert is_in(here)
    assert timezone.now() - WebSession.objects.get().last_used_at < timedelta(minutes=1)


def test_what_matters_is_in_the_log_and_no_secret(owner: User, client: Client) -> None:
    for name, password in (("owner", "guessed secret"), ("my secret password", "x"), ("OWNER@example.org", "y")):
        client.post("/accounts/login/", {"username": name, "password": password})
    here = logged_in(owner, **{"User-Agent": FIREFOX})
    here.post("/accounts/", {"email": "new@example.org", "current_password": PASSWORD, "language": ""})
    here.post("/accounts/logout/")
    client.post("/accounts/password-reset/", {"email": "new@example.org"})
    send_mails()
    assert events(owner) == [
        "password_reset_asked",
        "logged_out",
        "email_changed",
        "logged_in",
        "wrong_password",
        "wrong_password",
    ]
    assert not SecurityEvent.objects.exclude(user=owner).exists()
    for event in SecurityEvent.objects.all():
        assert "secret" not in f"{event.details}{event.user_agent}{event.actor_name}"
        assert event.address == "127.0.0.1"


def test_a_flood_of_failures_does_not_fill_the_log(owner: User, rf: Any) -> None:
    for _ in range(30):
        security_log.record(owner, security_log.Event.WRONG_CODE, request=rf.get("/"))
    assert len(events(owner)) == security_log.MOST_OF_A_KIND
    security_log.record(owner, security_log.Event.WRONG_CODE, request=rf.get("/", REMOTE_ADDR="10.0.0.7"))
    assert len(events(owner)) == security_log.MOST_OF_A_KIND + 1


def test_addresses_are_forgotten_first_and_events_later(owner: User, rf: Any) -> None:
    for days in (1, 100, 400):
        security_log.record(owner, security_log.Event.LOGGED_IN, request=rf.get("/", headers={"User-Agent": "x"}))
        newest = SecurityEvent.objects.latest("pk")
        SecurityEvent.objects.filter(pk=newest.pk).update(at=timezone.now() - timedelta(days=days))
    services.forget_ended()
    assert list(SecurityEvent.objects.values_list("address", "user_agent")) == [("127.0.0.1", "x"), ("", "")]


def test_the_owner_sees_the_last_fifty(owner: User, stranger: User, as_owner: Client) -> None:
    for _ in range(60):
        security_log.record(owner, security_log.Event.PASSKEY_RENAMED)
    security_log.record(stranger, security_log.Event.TOTP_REMOVED)
    page = as_owner.get(SECURITY).content.decode()
    assert page.count("Passkey renamed") == 50
    assert "Code app removed" not in page


def test_a_closed_account_leaves_no_log_in_behind(owner: User) -> None:
    here = logged_in(owner)
    services.close_account(owner)
    assert not is_in(here)
    assert sessions.sessions_of(owner) == []


def test_the_administration_is_closed_to_passwords_alone_where_that_is_wanted(admin: User, owner: User) -> None:
    here = logged_in(admin)
    assert here.get("/admin/").status_code == 200
    with override_settings(SENTINEL_STAFF_SECOND_FACTOR="required"):
        assert here.get("/admin/accounts/user/")["Location"] == SECURITY
        assert here.post("/admin/accounts/user/", {"action": "x"})["Location"] == SECURITY
        second_factor.make_recovery_codes(admin, request=here.get("/accounts/").wsgi_request)
        admin.passkeys.create(name="Key", credential_digest="d")
        asked = here.get("/admin/accounts/user/?q=a")["Location"]
        assert asked == "/accounts/login/code/?next=%2Fadmin%2Faccounts%2Fuser%2F%3Fq%3Da"
        WebSession.objects.filter(user=admin).update(factor=Factor.PASSKEY)
        assert here.get("/admin/accounts/user/").status_code == 200
        # Nobody else gets any nearer by it.
        assert logged_in(owner).get("/admin/", follow=True).status_code == 403


def test_the_administration_has_no_log_in_of_its_own(client: Client, owner: User, admin: User) -> None:
    path, login = "/admin/login/?next=/admin/accounts/user/", "/accounts/login/?next=%2Fadmin%2Faccounts%2Fuser%2F"
    assert client.get(path)["Location"] == login
    assert client.post(path, {"username": "admin", "password": PASSWORD})["Location"] == login
    assert "_auth_user_id" not in client.session
    assert client.get("/admin/login/?next=https://evil.example/")["Location"] == "/accounts/login/?next=%2Fadmin%2F"
    assert logged_in(owner).get("/admin/login/").status_code == 403


def test_what_administrators_look_at_and_do_is_written_down_and_stays(
    as_admin: Client, admin: User, owner: User
) -> None:
    as_admin.get(f"/admin/accounts/user/{owner.pk}/change/")
    as_admin.get("/admin/accounts/user/?q=owner")
    as_admin.get("/admin/accounts/user/")
    selected = [str(admin.pk), str(owner.pk)]
    as_admin.post("/admin/accounts/appsession/", {"action": "end_sessions", "_selected_action": selected})
    told = SecurityEvent.objects.filter(actor=admin).order_by("pk")
    assert [(event.event, event.details) for event in told] == [
        ("admin_looked", {"page": "accounts_user_change", "object": str(owner.pk)}),
        ("admin_looked", {"page": "accounts_user_changelist", "search": "owner"}),
        (
            "admin_acted",
            {"page": "accounts_appsession_changelist", "action": "end_sessions", "selected": ",".join(selected)},
        ),
    ]
    LogEntry.objects.log_actions(admin.pk, [owner], 2, change_message="Changed")
    pages = {"accounts/securityevent": told[0].pk, "admin/logentry": LogEntry.objects.get().pk}
    for name, pk in pages.items():
        assert as_admin.get(f"/admin/{name}/").status_code == 200
        assert as_admin.get(f"/admin/{name}/{pk}/change/").status_code == 200
        for attempt in ("delete/", "change/"):
            assert as_admin.post(f"/admin/{name}/{pk}/{attempt}", {"post": "yes"}).status_code == 403
        fields = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
        as_admin.post(f"/admin/{name}/", fields)
    assert SecurityEvent.objects.filter(pk=told[0].pk).exists()
    assert LogEntry.objects.exists()
    # The administrator's own page does not fill with it, and the account may go: the name stays.
    assert "admin_looked" not in events(admin)
    as_admin.logout()
    services.remove_account(admin)
    assert SecurityEvent.objects.filter(actor=None, actor_name="admin", event="admin_acted").exists()


def test_a_password_reset_does_not_pass_the_second_factor(client: Client, owner: User) -> None:
    owner.passkeys.create(name="Key", credential_digest="d")
    owner.set_password(NEW_PASSWORD)
    owner.save()
    answer = client.post("/accounts/login/", {"username": "owner", "password": NEW_PASSWORD})
    assert answer["Location"].startswith("/accounts/login/code/")
    assert not is_in(client)


def test_tokens_open_no_page_and_sessions_of_apps_are_no_browsers(client: Client, owner: User) -> None:
    client.get("/api/v1/account/", headers=bearer(owner))
    post(client, "/api/v1/tokens/", {"username": "owner", "password": PASSWORD})
    assert not WebSession.objects.exists()
    assert events(owner) == ["logged_in_app"]


def test_owners_are_told_by_mail_what_they_have_to_know_today(owner: User, settings: Any) -> None:
    settings.SENTINEL_URL = "https://sentinel.example"
    here = logged_in(owner, **{"User-Agent": FIREFOX})
    send_mails()
    assert mail.outbox == []
    here.post("/accounts/", {"email": "new@example.org", "current_password": PASSWORD, "language": ""})
    send_mails()
    # To the address that the account had until then: whoever took it over has the new one.
    assert mail.outbox[0].to == ["owner@example.org"]
    text = str(mail.outbox[0].body)
    for part in ("Hello owner,", "E-mail address changed", "127.0.0.1", "Firefox · Linux", "/accounts/security/"):
        assert part in text
    fields = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    here.post("/accounts/password/", fields)
    send_mails()
    assert (mail.outbox[1].to, len(mail.outbox)) == (["new@example.org"], 2)

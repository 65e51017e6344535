"""The second factor: codes of an app, recovery codes, and what they open."""

from __future__ import annotations

import base64
import re
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_otp.oath import hotp

from accounts import second_factor, sessions, tokens
from accounts.errors import Code, SentinelError
from accounts.models import AccountMail, AppSession, RecoveryCode, SecondFactor, SecurityEvent, User
from tests.accounts.calls import post
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

LOG_IN = "/accounts/login/"
SECOND_STEP = "/accounts/login/code/"
SECURITY = "/accounts/security/"
SET_UP = "/accounts/security/code-app/"
CREDENTIALS = {"username": "owner", "password": PASSWORD}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that codes are made of, in seconds; it stands still."""
    now = [time.time()]
    for module in ("second_factor", "security_views"):
        monkeypatch.setattr(f"accounts.{module}.time", SimpleNamespace(time=lambda: now[0]))
    return now


def code_of(secret: str, at: float) -> str:
    return str(hotp(base64.b32decode(secret), int(at) // 30)).zfill(6)


def set_up(client: Client, user: User, clock: list[float]) -> tuple[str, list[str]]:
    """Set a code app up on the pages; returns its secret and the recovery codes. The clock goes on to the next code."""
    assert client.get(SET_UP).status_code == 200
    secret = second_factor.begin_totp(user)
    answer = client.post(SET_UP, {"code": code_of(secret, clock[0])})
    assert answer.status_code == 200
    clock[0] += 30
    return secret, list(answer.context["codes"])


def is_logged_in(client: Client) -> bool:
    return client.get("/accounts/").status_code == 200


def events(user: User) -> list[str]:
    return list(SecurityEvent.objects.filter(user=user).values_list("event", flat=True))


def test_a_code_app_is_set_up_by_picture_or_key_and_a_code(as_owner: Client, owner: User, clock: list[float]) -> None:
    page = as_owner.get(SET_UP).content.decode()
    secret = second_factor.begin_totp(owner)
    shown = re.search(r'class="secret">([^<]+)<', page)
    assert shown is not None
    assert shown[1].replace(" ", "") == secret
    assert "<svg" in page
    assert "style=" not in page.split('<main id="content"')[1]
    assert f"otpauth://totp/Sentinel:owner?secret={secret}&amp;issuer=Sentinel" in page
    # The picture stays the same while it is being typed, also after a wrong code.
    refused = as_owner.post(SET_UP, {"code": "000000" if code_of(secret, clock[0]) != "000000" else "1"})
    assert refused.status_code == 400
    assert not second_factor.is_on(owner)
    assert second_factor.begin_totp(owner) == secret
    answer = as_owner.post(SET_UP, {"code": code_of(secret, clock[0])})
    assert answer.status_code == 200
    assert second_factor.is_on(owner)
    assert len(set(answer.context["codes"])) == 10
    assert "no-store" in answer["Cache-Control"]
    # At rest neither the secret nor a code can be read.
    assert secret not in SecondFactor.objects.get().secret
    assert not {code.replace("-", "") for code in answer.context["codes"]} & set(
        RecoveryCode.objects.values_list("digest", flat=True)
    )


def test_setting_up_logs_out_everywhere_else_and_leaves_this_browser_verified(
    as_owner: Client, owner: User, clock: list[float]
) -> None:
    elsewhere = Client()
    elsewhere.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    tokens.log_in(owner)
    key = as_owner.session.session_key
    set_up(as_owner, owner, clock)
    assert not is_logged_in(elsewhere)
    assert not AppSession.objects.filter(ended_at=None).exists()
    assert is_logged_in(as_owner)
    assert as_owner.session.session_key != key
    assert owner.web_sessions.get(ended_at=None).factor == "totp"


def test_logging_in_takes_two_steps_and_leads_to_where_one_wanted(
    client: Client, as_owner: Client, owner: User, clock: list[float]
) -> None:
    secret, _ = set_up(as_owner, owner, clock)
    answer = client.post(LOG_IN, {**CREDENTIALS, "next": "/analyses/"})
    assert answer["Location"] == f"{SECOND_STEP}?next=%2Fanalyses%2F"
    assert not is_logged_in(client)
    key = client.session.session_key
    assert client.get(answer["Location"]).status_code == 200
    assert client.post(SECOND_STEP, {"code": "abc", "next": "/analyses/"}).status_code == 401
    answer = client.post(SECOND_STEP, {"code": code_of(secret, clock[0]), "next": "/analyses/"})
    assert answer["Location"] == "/analyses/"
    assert is_logged_in(client)
    assert client.session.session_key != key
    assert events(owner)[:3] == ["logged_in", "wrong_code", "recovery_codes_made"]


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "\\\\evil"])
def test_nobody_is_led_off_the_site(
    client: Client, as_owner: Client, owner: User, clock: list[float], target: str
) -> None:
    secret, _ = set_up(as_owner, owner, clock)
    client.post(LOG_IN, {**CREDENTIALS, "next": target})
    answer = client.post(SECOND_STEP, {"code": code_of(secret, clock[0]), "next": target})
    assert answer["Location"] == "/"


def test_the_password_alone_is_worth_nothing(client: Client, as_owner: Client, owner: User, clock: list[float]) -> None:
    secret, _ = set_up(as_owner, owner, clock)
    # Without the first step there is no second, and the first holds for ten minutes and this password only.
    assert client.post(SECOND_STEP, {"code": code_of(secret, clock[0])})["Location"] == LOG_IN
    client.post(LOG_IN, CREDENTIALS)
    owner.set_password("quite another one 7")
    owner.save()
    assert client.post(SECOND_STEP, {"code": code_of(secret, clock[0])})["Location"] == LOG_IN
    client.post(LOG_IN, {**CREDENTIALS, "password": "quite another one 7"})
    clock[0] += 601
    assert client.post(SECOND_STEP, {"code": code_of(secret, clock[0])})["Location"] == LOG_IN
    assert not is_logged_in(client)


def accept(user: User, code: str, rf: Any) -> str:
    return second_factor.check_code(rf.post("/"), user, code).value


@pytest.mark.parametrize(("seconds", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_clocks_may_differ_by_half_a_minute(  # noqa: PLR0917 -- fixtures
    as_owner: Client, owner: User, clock: list[float], rf: Any, seconds: int, accepted: bool
) -> None:
    secret, _ = set_up(as_owner, owner, clock)
    clock[0] += 300
    code = code_of(secret, clock[0] + seconds)
    if accepted:
        assert accept(owner, code, rf) == "totp"
    else:
        with pytest.raises(SentinelError):
            accept(owner, code, rf)


def test_a_code_works_once_and_no_earlier_one_after_it(
    as_owner: Client, owner: User, clock: list[float], rf: Any
) -> None:
    secret, _ = set_up(as_owner, owner, clock)
    code = code_of(secret, clock[0])
    assert accept(owner, f"{code[:3]} {code[3:]}", rf) == "totp"
    for used in (code, code_of(secret, clock[0] - 30)):
        with pytest.raises(SentinelError) as refusal:
            accept(owner, used, rf)
        assert refusal.value.code is Code.SECOND_FACTOR_REQUIRED


def test_owners_are_told_once_an_hour_that_a_code_came_again(
    as_owner: Client, owner: User, clock: list[float], rf: Any
) -> None:
    secret, codes = set_up(as_owner, owner, clock)
    code = code_of(secret, clock[0])
    accept(owner, code, rf)
    accept(owner, codes[0], rf)
    AccountMail.objects.all().delete()
    for used in (code, codes[0], code):
        SecondFactor.objects.update(failures=0)
        with pytest.raises(SentinelError):
            second_factor.check_code(rf.post("/", REMOTE_ADDR=f"192.0.2.{len(used)}"), owner, used)
    assert events(owner).count("code_used_again") == 1
    assert list(AccountMail.objects.values_list("event", "to")) == [("code_used_again", owner.email)]
    # An hour later it is news again. A code that nobody ever had is a wrong one.
    SecurityEvent.objects.update(at=timezone.now() - timedelta(minutes=61))
    for wrong in (code, "abcd"):
        SecondFactor.objects.update(failures=0)
        with pytest.raises(SentinelError):
            accept(owner, wrong, rf)
    assert events(owner)[:2] == ["wrong_code", "code_used_again"]
    assert events(owner).count("code_used_again") == AccountMail.objects.count() == 2


def test_a_recovery_code_works_once_however_it_is_typed(  # noqa: PLR0917 -- fixtures
    client: Client, as_owner: Client, owner: User, stranger: User, clock: list[float], rf: Any
) -> None:
    _, codes = set_up(as_owner, owner, clock)
    with pytest.raises(SentinelError):
        accept(stranger, codes[0], rf)
    client.post(LOG_IN, CREDENTIALS)
    answer = client.post(SECOND_STEP, {"code": codes[0].upper().replace("-", " ")}, follow=True)
    assert "9 are left" in answer.content.decode()
    assert owner.web_sessions.get(factor="recovery")
    with pytest.raises(SentinelError):
        accept(owner, codes[0], rf)
    fresh = as_owner.post(f"{SECURITY}recovery-codes/").context["codes"]
    with pytest.raises(SentinelError):
        accept(owner, codes[1], rf)
    assert accept(owner, fresh[0], rf) == "recovery"


def test_guessing_is_slowed_down_for_the_account_and_right_codes_wait_too(
    as_owner: Client, owner: User, clock: list[float], rf: Any
) -> None:
    secret, codes = set_up(as_owner, owner, clock)
    for _ in range(3):
        with pytest.raises(SentinelError) as refusal:
            accept(owner, "no code", rf)
        assert refusal.value.code is Code.SECOND_FACTOR_REQUIRED
    for code in (code_of(secret, clock[0]), codes[0]):
        with pytest.raises(SentinelError) as refusal:
            accept(owner, code, rf)
        assert (refusal.value.code, refusal.value.headers) == (Code.RATE_LIMITED, {"Retry-After": "1"})
    SecondFactor.objects.update(failures=40)
    with pytest.raises(SentinelError) as refusal:
        accept(owner, codes[0], rf)
    assert int(refusal.value.headers["Retry-After"]) <= 3600
    SecondFactor.objects.update(failed_at=timezone.now() - timedelta(hours=1))
    assert accept(owner, codes[0], rf) == "recovery"
    assert SecondFactor.objects.get().failures == 0


def test_of_guesses_at_the_same_time_one_is_looked_at(
    as_owner: Client, owner: User, clock: list[float], rf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = set_up(as_owner, owner, clock)
    get = SecondFactor.objects.get_or_create

    def overtaken(**fields: Any) -> Any:
        found = get(**fields)
        SecondFactor.objects.update(failures=1)
        return found

    monkeypatch.setattr(SecondFactor.objects, "get_or_create", overtaken)
    with pytest.raises(SentinelError) as refusal:
        accept(owner, code_of(secret, clock[0]), rf)
    assert refusal.value.code is Code.RATE_LIMITED


def test_removing_needs_the_password_given_lately(as_owner: Client, owner: User, clock: list[float]) -> None:
    set_up(as_owner, owner, clock)
    session = as_owner.session
    session[sessions.CONFIRMED] = int(time.time()) - sessions.CONFIRMED_SECONDS
    session.save()
    for path in ("code-app/remove/", "recovery-codes/", "passkeys/options/", "passkeys/"):
        assert as_owner.post(f"{SECURITY}{path}")["Location"] == "/accounts/confirm/?next=%2Faccounts%2Fsecurity%2F"
    assert as_owner.get(SET_UP)["Location"] == "/accounts/confirm/?next=%2Faccounts%2Fsecurity%2Fcode-app%2F"
    assert as_owner.post("/accounts/confirm/", {"password": "wrong"}).status_code == 400
    assert second_factor.is_on(owner)
    assert as_owner.post("/accounts/confirm/", {"password": PASSWORD, "next": SET_UP})["Location"] == SET_UP
    assert as_owner.post(f"{SECURITY}code-app/remove/")["Location"] == SECURITY
    assert not second_factor.is_on(owner)
    assert not RecoveryCode.objects.exists()
    assert events(owner)[:2] == ["totp_removed", "wrong_password"]


@pytest.mark.parametrize("path", ["/users/login", "/api/v1/tokens/"])
def test_apps_send_the_code_along(client: Client, as_owner: Client, owner: User, clock: list[float], path: str) -> None:
    secret, codes = set_up(as_owner, owner, clock)
    for otp in ({}, {"otp": ""}, {"otp": "12"}):
        answer = post(client, path, {**CREDENTIALS, **otp})
        assert (answer.status_code, answer.json()["error"]) == (401, "second_factor_required")
        assert answer["WWW-Authenticate"].startswith("Bearer")
    # Whether there is a second factor learns only who has the password.
    wrong = post(client, path, {**CREDENTIALS, "password": "wrong", "otp": codes[0]})
    assert wrong.json()["error"] == "not_authenticated"
    assert post(client, path, {**CREDENTIALS, "otp": code_of(secret, clock[0])}).status_code == 200
    assert post(client, path, {**CREDENTIALS, "otp": codes[0]}).status_code == 200
    assert post(client, path, {**CREDENTIALS, "otp": codes[0]}).status_code == 401


def test_a_lost_phone_is_reset_by_an_administrator_which_is_written_down(  # noqa: PLR0917 -- fixtures
    client: Client, as_owner: Client, as_admin: Client, owner: User, admin: User, clock: list[float]
) -> None:
    set_up(as_owner, owner, clock)
    fields = {"action": "reset_second_factor", "_selected_action": str(owner.pk)}
    assert as_owner.post("/admin/accounts/user/", fields).status_code == 302
    assert second_factor.is_on(owner)
    answer = as_admin.post("/admin/accounts/user/", fields, follow=True)
    assert "1 account logs in by password alone again." in answer.content.decode()
    assert not second_factor.is_on(owner)
    assert not is_logged_in(as_owner)
    told = SecurityEvent.objects.get(event="second_factor_reset")
    assert (told.user, told.actor, told.actor_name) == (owner, admin, "admin")
    client.post(LOG_IN, CREDENTIALS)
    assert is_logged_in(client)


def test_a_changed_secret_key_reads_what_the_key_before_it_wrote(
    as_owner: Client, owner: User, clock: list[float], rf: Any, settings: Any
) -> None:
    secret, codes = set_up(as_owner, owner, clock)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "quite another key of this site"
    assert second_factor.encrypt_anew() == 1
    settings.SECRET_KEY_FALLBACKS = []
    assert accept(owner, code_of(secret, clock[0]), rf) == "totp"
    settings.SECRET_KEY = "a key that nobody kept"
    clock[0] += 30
    with pytest.raises(SentinelError):
        accept(owner, code_of(secret, clock[0]), rf)
    assert accept(owner, codes[0], rf) == "recovery"
    assert second_factor.encrypt_anew() == 0

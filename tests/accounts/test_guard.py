"""The guard of log-ins: whose wrong passwords are counted together, and what is kept of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessLog
from django.forms.models import model_to_dict
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.addresses import counted_address
from accounts.models import User
from tests.accounts.calls import post
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

LOG_IN = "/accounts/login/"


def log_in(password: str, *, name: str = "owner", **options: Any) -> int:
    status: int = Client().post(LOG_IN, {"username": name, "password": password}, **options).status_code
    return status


def guess(times: int = 5, **options: Any) -> None:
    for _ in range(times):
        log_in("a guess", **options)


@pytest.fixture
def _behind_proxy(settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}


@pytest.mark.usefixtures("_behind_proxy")
def test_behind_a_proxy_a_guesser_does_not_lock_the_owner_out(owner: User) -> None:
    for made_up in ("192.0.2.1", "198.51.100.1", "unknown"):
        guess(2, headers={"X-Forwarded-For": f"{made_up}, 192.0.2.66"})
    assert log_in(PASSWORD, headers={"X-Forwarded-For": "192.0.2.66"}) == 429
    assert log_in(PASSWORD, headers={"X-Forwarded-For": "192.0.2.1"}) == 302
    assert {row.ip_address for row in AccessAttempt.objects.all()} == {"192.0.2.66"}


@pytest.mark.usefixtures("_behind_proxy")
def test_a_proxy_that_names_no_address_breaks_nothing(owner: User) -> None:
    guess(headers={"X-Forwarded-For": "unknown"})
    assert log_in(PASSWORD, headers={"X-Forwarded-For": "somewhere"}) == 429


def test_all_addresses_of_one_ipv6_network_are_one_caller(owner: User) -> None:
    for number in range(5):
        guess(1, REMOTE_ADDR=f"2001:db8:1:2::{number}")
    assert log_in(PASSWORD, REMOTE_ADDR="2001:db8:1:2:ffff::1") == 429
    assert log_in(PASSWORD, REMOTE_ADDR="2001:db8:1:3::1") == 302


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("192.0.2.1:443", ""),
        ("", ""),
    ],
)
def test_what_callers_are_counted_by(address: str, counted: str) -> None:
    assert counted_address(address) == counted


def test_guesses_from_many_addresses_are_stopped_but_not_the_owner_at_home(owner: User, settings: Any) -> None:
    settings.LOGIN_ACCOUNT_FAILURE_LIMIT = 10
    assert log_in(PASSWORD, REMOTE_ADDR="2001:db8:1:2::1") == 302
    for number in (1, 2):
        guess(4, REMOTE_ADDR=f"192.0.2.{number}")
    assert log_in(PASSWORD, REMOTE_ADDR="192.0.2.7") == 302
    guess(2, REMOTE_ADDR="192.0.2.3")
    # However right, from everywhere else.
    assert log_in(PASSWORD, REMOTE_ADDR="192.0.2.8") == 429
    answer = post(Client(), "/users/login", {"username": owner.email, "password": PASSWORD}, REMOTE_ADDR="192.0.2.9")
    assert answer.status_code == 429
    # A browser at home may have another address of its network by now.
    assert log_in(PASSWORD, REMOTE_ADDR="2001:db8:1:2::2") == 302
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert log_in(PASSWORD, REMOTE_ADDR="192.0.2.8") == 302


def test_nobody_does_that_from_a_single_address(owner: User, settings: Any) -> None:
    settings.LOGIN_ACCOUNT_FAILURE_LIMIT = 10
    guess(12)
    assert log_in(PASSWORD, REMOTE_ADDR="192.0.2.8") == 302


def test_nothing_of_what_was_typed_is_kept(as_owner: Client, owner: User) -> None:
    new = "the next secret one"
    fields = {"old_password": "a secret typo", "new_password1": new, "new_password2": new}
    for _ in range(2):
        assert as_owner.post("/accounts/password/?next=secret", fields).status_code == 200
    as_owner.post("/accounts/", {"email": "n@example.org", "language": "", "current_password": "my secret"})
    log_in("x", name="my secret password")
    post(Client(), "/users/login", {"username": "secret", "password": "x", "otp": "secret"}, encoding="form")
    assert AccessAttempt.objects.count() == 3
    for attempt in AccessAttempt.objects.all():
        assert "secret" not in str(model_to_dict(attempt))


def test_what_does_not_count_any_more_is_forgotten(owner: User) -> None:
    guess(1)
    services.forget_ended()
    assert AccessAttempt.objects.exists()
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert log_in(PASSWORD) == 302
    # As earlier versions wrote them, with addresses, for ever.
    assert not AccessLog.objects.exists()
    AccessLog.objects.create(username="owner", ip_address="192.0.2.1")
    services.forget_ended()
    assert not AccessAttempt.objects.exists()
    assert not AccessLog.objects.exists()

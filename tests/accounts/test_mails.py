"""Mails about accounts: never in the way of a request, each once, through crashes."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import mails, security_log, services
from accounts.models import AccountMail, SecurityEvent, User
from accounts.security_log import Event
from media_analysis import deliveries, housekeeping
from tests.accounts.calls import send_mails
from tests.conftest import PASSWORD
from tests.media_analysis import test_notifications

pytestmark = pytest.mark.django_db

RESET = "/accounts/password-reset/"


def made_due() -> None:
    AccountMail.objects.filter(status="waiting").update(next_try_at=timezone.now())


class Hanging(test_notifications.Refusing):
    """A mail server that never says a word."""

    def open(self) -> None:
        raise AssertionError("a request waits for the mail server")


@pytest.fixture
def _hanging(settings: Any) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.Hanging"


@pytest.mark.usefixtures("_hanging")
def test_no_request_waits_for_the_mail_server(as_owner: Client, owner: User) -> None:
    fields = {"old_password": PASSWORD, "new_password1": "quite another long one", "new_password2": "quite another long one"}  # fmt: skip  # noqa: E501
    assert as_owner.post("/accounts/password/", fields).status_code == 302
    assert Client().post(RESET, {"email": owner.email}).status_code == 302
    assert list(AccountMail.objects.values_list("kind", flat=True)) == ["security", "password_reset"]


def test_nothing_tells_whether_somebody_has_an_address(owner: User) -> None:
    """The same work is done for both, and the log of the one is written by the worker."""
    done = []
    for email in (owner.email, "nobody@example.org"):
        with CaptureQueriesContext(connection) as queries:
            Client().post(RESET, {"email": email})
        done.append([query["sql"].split(" ", 1)[0] for query in queries])
    assert done[0] == done[1]
    assert not SecurityEvent.objects.exists()
    assert send_mails() == 2
    assert [sent.to for sent in mail.outbox] == [[owner.email]]
    assert list(SecurityEvent.objects.values_list("event", "address")) == [("password_reset_asked", "127.0.0.1")]
    assert not AccountMail.objects.exists()


def test_the_link_lies_nowhere_before_it_is_sent(owner: User) -> None:
    client = Client()
    for _ in range(2):
        client.post(RESET, {"email": owner.email}, headers={"Accept-Language": "hi"})
    row = AccountMail.objects.get()
    kept = {name: str(value) for name, value in vars(row).items()}
    assert not [name for name, value in kept.items() if "password-reset" in value or len(value) > 60]
    send_mails()
    [sent] = mail.outbox
    assert "http://testserver/accounts/password-reset/" in sent.body
    assert sent.extra_headers["Message-ID"] == f"<account-{row.public_id}@localhost>"
    assert sent.subject != "Choose a new password for Sentinel"


@pytest.fixture
def _counted_anew() -> Iterator[None]:
    """What earlier tests asked for is not counted, nor is what this one did later."""
    cache.clear()
    yield
    cache.clear()


@pytest.mark.usefixtures("_counted_anew")
def test_links_are_not_asked_for_without_end(settings: Any) -> None:
    settings.SENTINEL_API_RATE_ANONYMOUS = "2/min"
    answers = [Client().post(RESET, {"email": f"{name}@example.org"}).status_code for name in "abc"]
    assert answers == [302, 302, 429]
    assert AccountMail.objects.count() == 2


def test_a_mail_server_that_is_away_is_tried_again_until_nobody_waits(
    owner: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = "tests.media_analysis.test_notifications.Refusing"
    monkeypatch.setattr(test_notifications.Refusing, "opens", False)
    settings.SENTINEL_URL = "https://sentinel.example"
    security_log.record(owner, Event.TOTP_REMOVED)
    waits = []
    for _ in range(9):
        send_mails()
        row = AccountMail.objects.get()
        waits.append((row.next_try_at - timezone.now()).total_seconds())
        made_due()
    assert 14 < waits[0] <= 30
    assert 1790 < waits[-1] <= 3600
    monkeypatch.setattr(test_notifications.Refusing, "opens", True)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    Client().post(RESET, {"email": owner.email})
    AccountMail.objects.filter(kind="password_reset").update(created_at=timezone.now() - timedelta(minutes=61))
    send_mails()
    assert ["security" in sent.body for sent in mail.outbox] == [True]
    assert not AccountMail.objects.exists()


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (smtplib.SMTPDataError(451, b"later"), 1),
        (smtplib.SMTPDataError(554, b"no"), 0),
        (smtplib.SMTPServerDisconnected("lost"), 0),
        (ValueError("a bug"), 1),
    ],
)
def test_what_may_have_gone_out_is_not_repeated(
    owner: User, settings: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, left: int
) -> None:
    monkeypatch.setattr(test_notifications.Refusing, "error", error, raising=False)
    settings.EMAIL_BACKEND = "tests.media_analysis.test_notifications.Refusing"
    security_log.record(owner, Event.TOTP_REMOVED)
    send_mails()
    assert AccountMail.objects.filter(status="waiting").count() == left


@pytest.mark.parametrize("handed_over", [False, True])
def test_what_a_killed_sender_had_is_taken_up_unless_it_was_handed_over(owner: User, handed_over: bool) -> None:
    security_log.record(owner, Event.TOTP_REMOVED)
    late = mails.claim_due()
    assert late is not None
    assert mails.claim_due() is None
    assert mails.recover_lost() == 0
    long_ago = timezone.now() - mails.LOST_AFTER - timedelta(seconds=1)
    AccountMail.objects.update(claimed_at=long_ago, handed_over_at=long_ago if handed_over else None)
    housekeeping.tidy_up()
    # It was only slow: what is not its own any more it leaves alone.
    mails.send(late)
    assert mail.outbox == []
    assert send_mails() == (0 if handed_over else 1)
    assert len(mail.outbox) == (0 if handed_over else 1)


def test_whoever_deletes_the_account_the_owner_is_told_what_happened_before(owner: User) -> None:
    request = HttpRequest()
    owner.email = "thief@example.org"
    owner.save()
    security_log.record(owner, Event.EMAIL_CHANGED, request=request, email="owner@example.org")
    services.close_account(owner)
    services.remove_account(owner)
    send_mails()
    assert [sent.to for sent in mail.outbox] == [["owner@example.org"]]


@pytest.mark.django_db(transaction=True)
def test_the_worker_sends_them(owner: User) -> None:
    security_log.record(owner, Event.TOTP_REMOVED)
    sender = deliveries.Sender()
    sender.start()
    try:
        deadline = time.monotonic() + 20
        while AccountMail.objects.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        sender.stop()
    assert len(mail.outbox) == 1


def test_nobody_fills_the_mailbox_of_another(client: Client, owner: User, rf: Any) -> None:
    """Nobody has to show that an address is theirs before they enter it."""
    for number in range(7):
        client.post(RESET, {"email": owner.email}, REMOTE_ADDR=f"192.0.2.{number}")
        send_mails()
        security_log.record(owner, Event.RECOVERY_CODES_MADE, request=rf.get("/"))
        send_mails()
    assert len(mail.outbox) == 2 * security_log.MOST_MAILS
    assert SecurityEvent.objects.filter(event=Event.RECOVERY_CODES_MADE).count() == 7
    SecurityEvent.objects.update(at=timezone.now() - timedelta(minutes=61))
    client.post(RESET, {"email": owner.email})
    send_mails()
    assert len(mail.outbox) == 2 * security_log.MOST_MAILS + 1


def test_a_link_leads_to_the_site_whatever_name_it_was_asked_by(client: Client, owner: User, settings: Any) -> None:
    settings.SENTINEL_URL = "https://sentinel.example"
    client.post(RESET, {"email": owner.email})
    send_mails()
    assert "\nhttps://sentinel.example/accounts/password-reset/" in str(mail.outbox[0].body)
    assert "testserver" not in str(mail.outbox[0].body)


def test_a_link_holds_for_six_hours(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    token = default_token_generator.make_token(owner)
    for hours, holds in ((5.9, True), (6.1, False)):
        later = datetime.now() + timedelta(hours=hours)
        monkeypatch.setattr(default_token_generator, "_now", lambda later=later: later)
        assert default_token_generator.check_token(owner, token) is holds


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "%0a"])
def test_nothing_gets_into_the_head_of_a_mail(client: Client, owner: User, as_owner: Client, end: str) -> None:
    forged = f"{owner.email}{end}Bcc: evil@example.org"
    assert client.post(RESET, {"email": forged}).status_code == 200
    as_owner.post("/accounts/", {"email": forged, "current_password": PASSWORD, "language": ""})
    fields = {"username": "asha", "email": forged, "password1": PASSWORD, "password2": PASSWORD}
    assert client.post("/accounts/signup/", fields).status_code == 200
    assert list(User.objects.values_list("email", flat=True)) == ["owner@example.org"]
    assert not AccountMail.objects.exists()

"""Telling people that an examination ended: whom, what, once each, and what is done when it does not work."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from django.core import mail
from django.db import InterfaceError, OperationalError, connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.errors import Code
from accounts.ids import new_public_id
from accounts.models import PushDevice, User
from media_analysis import deliveries, notifications, push, safe_http, services, signals
from media_analysis.models import Analysis, Delivery, Notification
from tests.media_analysis.factories import a_result, make_analysis, make_done, make_media
from tests.push_service import PushService, Subscription, check_signature, push_service

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def service(settings: Any) -> Iterator[PushService]:
    settings.SENTINEL_PUSH_ALLOW_PRIVATE = True
    settings.SENTINEL_PUSH_TIMEOUT_SECONDS = 1.0
    with push_service() as running:
        yield running


def register(user: User, service: PushService, name: str = "one") -> PushDevice:
    keys = service.subscription
    endpoint = f"{service.url}/subscriptions/{name}"
    return PushDevice.objects.create(user=user, endpoint=endpoint, p256dh=keys.p256dh, auth=keys.auth)


def finish(owner: User, **media: Any) -> Analysis:
    claimed = services.claim_analysis(make_analysis(owner, media=make_media(owner, **media)).pk)
    assert claimed is not None
    services.finish_analysis(claimed, a_result(), {})
    return claimed


def deliver_due() -> int:
    """Send what is due now; returns how much that was."""
    number = 0
    while delivery := deliveries.claim_due():
        deliveries.deliver(delivery)
        number += 1
    return number


def make_due() -> None:
    Delivery.objects.filter(status="waiting").update(next_try_at=timezone.now())


def the_delivery() -> Delivery:
    return Delivery.objects.get()


# Whom, and what


def test_the_owner_is_told_in_the_page_and_on_each_registered_device(owner: User, service: PushService) -> None:
    register(owner, service, "phone")
    register(owner, service, "laptop")
    analysis = finish(owner)
    notification = Notification.objects.get()
    assert (notification.user, notification.analysis, notification.kind) == (owner, analysis, "done")
    assert notification.read_at is None
    assert [delivery.channel for delivery in Delivery.objects.all()] == ["push", "push"]
    assert deliver_due() == 2
    assert {request.path for request in service.received} == {"/subscriptions/phone", "/subscriptions/laptop"}


def test_without_a_device_and_without_asking_for_mail_nothing_is_sent(owner: User) -> None:
    finish(owner)
    assert Notification.objects.exists()
    assert not Delivery.objects.exists()


def test_a_failure_for_good_is_told_and_a_retry_ends_a_second_time(owner: User) -> None:
    claimed = services.claim_analysis(make_analysis(owner).pk)
    assert claimed is not None
    services.fail_analysis(claimed, Code.INTERNAL_ERROR)
    assert Notification.objects.get().kind == "failed"
    services.retry_analysis(claimed)
    assert not notifications.announce(claimed.pk)
    again = services.claim_analysis(claimed.pk)
    assert again is not None
    services.finish_analysis(again, a_result(), {})
    assert [notification.kind for notification in Notification.objects.all()] == ["done", "failed"]


@pytest.mark.parametrize("fails", [False, True])
def test_of_what_is_examined_again_nobody_is_told(owner: User, service: PushService, fails: bool) -> None:
    register(owner, service)
    again = services.examine_again(make_done(owner, announced_at=timezone.now()).media, requester=owner)
    assert again is not None
    claimed = services.claim_analysis(again.pk)
    assert claimed is not None
    if fails:
        assert services.fail_analysis(claimed, Code.INTERNAL_ERROR)
    else:
        assert services.finish_analysis(claimed, a_result(), {})
    assert notifications.announce_missed() == 0
    assert not Notification.objects.exists()
    assert not Delivery.objects.exists()


def test_a_try_that_broke_off_but_goes_on_is_not_told(owner: User) -> None:
    claimed = services.claim_analysis(make_analysis(owner).pk)
    assert claimed is not None
    services.release_analysis(claimed, Code.INTERNAL_ERROR)
    assert not Notification.objects.exists()


def test_what_a_kill_came_before_is_made_up_and_told_once(owner: User, service: PushService) -> None:
    register(owner, service)
    signals.analysis_finished.disconnect(dispatch_uid="media_analysis.notifications")
    try:
        analysis = finish(owner)
    finally:
        signals.analysis_finished.connect(
            notifications.on_analysis_finished, dispatch_uid="media_analysis.notifications"
        )
    assert not Notification.objects.exists()
    assert notifications.announce_missed() == 1
    assert notifications.announce_missed() == 0
    for _ in range(2):
        # Of a sender that was killed before its last step.
        Analysis.objects.update(announced_at=None)
        notifications.announce(analysis.pk)
    assert (Notification.objects.count(), Delivery.objects.count()) == (1, 1)


def test_a_receiver_that_breaks_takes_nothing_from_the_result(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pk: int) -> None:
        raise RuntimeError(pk)

    monkeypatch.setattr(notifications, "announce", broken)
    analysis = finish(owner)
    analysis.refresh_from_db()
    assert analysis.status == "done"
    monkeypatch.undo()
    assert notifications.announce_missed() == 1


def test_deleted_files_and_people_who_left_are_not_told_of(owner: User) -> None:
    make_done(owner, media=make_media(owner, deleted_at=timezone.now()))
    assert notifications.announce_missed() == 0
    make_done(owner)
    User.objects.update(deleted_at=timezone.now())
    assert notifications.announce_missed() == 0
    User.objects.update(deleted_at=None, is_active=False)
    assert notifications.announce_missed() == 0


# The message


def test_a_push_message_is_encrypted_for_the_browser_and_signed_by_the_site(
    owner: User, service: PushService, settings: Any
) -> None:
    settings.VAPID_CONTACT = "mailto:admin@example.org"
    register(owner, service)
    analysis = finish(owner)
    assert deliver_due() == 1
    [request] = service.received
    tag = Notification.objects.get().public_id
    assert service.subscription.read(request.body) == {
        "title": "Your examination is finished",
        "body": "Open Sentinel to see the result.",
        "tag": tag,
        "url": f"/analyses/{analysis.public_id}/",
        "lang": "en",
    }
    assert request.headers["Content-Encoding"] == "aes128gcm"
    assert (request.headers["TTL"], request.headers["Urgency"], request.headers["Topic"]) == ("86400", "normal", tag)
    claims = check_signature(
        request.headers["Authorization"], audience=service.url, public_key=settings.VAPID_PUBLIC_KEY
    )
    assert claims["sub"] == "mailto:admin@example.org"
    assert (the_delivery().status, the_delivery().attempts) == ("sent", 1)
    with pytest.raises(InvalidTag):
        Subscription().read(request.body)


def test_a_locked_screen_shows_the_files_name_only_if_asked_for_and_never_what_was_found(
    owner: User, service: PushService
) -> None:
    register(owner, service)
    finish(owner, original_name="bride.mp4")
    deliver_due()
    notifications.set_preferences(owner, by_email=False, details=True)
    finish(owner, original_name="groom.mp4")
    deliver_due()
    first, second = service.messages()
    assert "bride" not in str(first)
    assert second["body"] == "groom.mp4"
    assert "manipulation" not in str([first, second])


def test_a_message_is_in_the_language_of_the_account(owner: User, service: PushService) -> None:
    User.objects.update(language="hi")
    register(owner, service)
    finish(owner)
    deliver_due()
    assert service.messages()[0]["lang"] == "hi"


# When it does not work


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_gone_is_removed(owner: User, service: PushService, status: int) -> None:
    register(owner, service)
    service.answers = [(status, {})]
    finish(owner)
    deliver_due()
    assert not PushDevice.objects.exists()
    assert the_delivery().status == "dropped"
    finish(owner)
    assert deliver_due() == 0


def test_one_that_was_registered_anew_meanwhile_stays(owner: User, service: PushService) -> None:
    device = register(owner, service)
    service.answers = [(410, {})]
    finish(owner)
    claimed = deliveries.claim_due()
    assert claimed is not None
    PushDevice.objects.filter(pk=device.pk).update(p256dh=Subscription().p256dh)
    deliveries.deliver(claimed)
    assert PushDevice.objects.exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_in_trouble_is_tried_again_later(owner: User, service: PushService, status: int) -> None:
    register(owner, service)
    service.answers = [(status, {})]
    finish(owner)
    deliver_due()
    waiting = the_delivery()
    assert (waiting.status, waiting.error) == ("waiting", f"status_{status}")
    wait = (waiting.next_try_at - timezone.now()).total_seconds()
    assert 14 < wait < 30
    make_due()
    deliver_due()
    assert len(service.messages()) == 1
    assert (the_delivery().status, the_delivery().attempts, the_delivery().error) == ("sent", 2, "")


def test_waits_grow_and_end(owner: User, service: PushService) -> None:
    register(owner, service)
    service.answers = [(503, {})] * 20
    finish(owner)
    waits = []
    for _ in range(deliveries.MAX_ATTEMPTS):
        assert deliver_due() == 1
        waits.append((the_delivery().next_try_at - timezone.now()).total_seconds())
        make_due()
    assert deliver_due() == 0
    assert (the_delivery().status, the_delivery().error) == ("failed", "status_503")
    assert len(service.received) == deliveries.MAX_ATTEMPTS
    assert waits[3] > 2 * waits[0]


def test_the_service_says_how_long_to_wait(owner: User, service: PushService) -> None:
    register(owner, service)
    service.answers = [
        (429, {"Retry-After": "120"}),
        (503, {"Retry-After": format_datetime(timezone.now() + timedelta(seconds=300), usegmt=False)}),
        (429, {"Retry-After": "9999999"}),
        (429, {"Retry-After": "soon"}),
    ]
    finish(owner)
    waits = []
    for _ in range(4):
        deliver_due()
        waits.append((the_delivery().next_try_at - timezone.now()).total_seconds())
        make_due()
    assert 119 < waits[0] < 122
    assert 295 < waits[1] < 302
    assert 3595 < waits[2] <= deliveries.LONGEST_WAIT_SECONDS
    assert 100 < waits[3] < 241


@pytest.mark.parametrize("status", [301, 307, 400, 403, 413])
def test_a_refusal_and_a_redirect_end_it(owner: User, service: PushService, status: int) -> None:
    register(owner, service)
    service.answers = [(status, {"Location": f"{service.url}/elsewhere"})]
    finish(owner)
    deliver_due()
    assert (the_delivery().status, the_delivery().error) == ("failed", f"status_{status}")
    assert len(service.received) == 1


@pytest.mark.parametrize("trickle", [False, True])
def test_a_service_that_hangs_or_trickles_is_cut_off(owner: User, service: PushService, trickle: bool) -> None:
    register(owner, service)
    service.trickle = trickle
    if not trickle:
        service.hold.set()
    finish(owner)
    begun = time.monotonic()
    deliver_due()
    assert time.monotonic() - begun < 2.5
    assert (the_delivery().status, the_delivery().error) == ("waiting", "timed_out")


def test_a_service_that_is_away_is_tried_again(owner: User, settings: Any) -> None:
    settings.SENTINEL_PUSH_ALLOW_PRIVATE = True
    with push_service() as gone:
        register(owner, gone)
    finish(owner)
    deliver_due()
    assert (the_delivery().status, the_delivery().error) == ("waiting", "unreachable")


def test_keys_that_are_none_end_it(owner: User, service: PushService) -> None:
    device = register(owner, service)
    PushDevice.objects.filter(pk=device.pk).update(p256dh="AAAA")
    finish(owner)
    deliver_due()
    assert (the_delivery().status, the_delivery().error) == ("failed", "bad_keys")
    assert service.received == []


def test_whoever_read_it_meanwhile_is_not_told_again(owner: User, service: PushService) -> None:
    register(owner, service)
    service.answers = [(503, {})]
    finish(owner)
    deliver_due()
    notifications.mark_all_read(owner)
    make_due()
    deliver_due()
    assert the_delivery().status == "dropped"
    assert len(service.received) == 1


def test_a_device_that_was_removed_gets_nothing(owner: User, service: PushService) -> None:
    device = register(owner, service)
    finish(owner)
    device.delete()
    deliver_due()
    assert the_delivery().status == "dropped"
    assert service.received == []


# Addresses that devices may not name


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 -- not bound to
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_private_addresses_and_their_disguises_are_not_public(address: str) -> None:
    assert not safe_http.is_public(address)


@pytest.mark.parametrize("address", ["142.250.1.1", "2607:f8b0::1"])
def test_public_addresses_are(address: str) -> None:
    assert safe_http.is_public(address)


@pytest.mark.parametrize("endpoint", ["https://localhost:{port}/x", "https://127.0.0.1:{port}/", "http://8.8.8.8/x"])
def test_nothing_is_sent_to_private_addresses_or_by_http(
    owner: User, service: PushService, settings: Any, endpoint: str
) -> None:
    settings.SENTINEL_PUSH_ALLOW_PRIVATE = False
    device = register(owner, service)
    PushDevice.objects.filter(pk=device.pk).update(endpoint=endpoint.format(port=service.url.rpartition(":")[2]))
    finish(owner)
    deliver_due()
    assert (the_delivery().status, the_delivery().error) == ("failed", "address_refused")
    assert service.received == []


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(
    service: PushService, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may stand for a public address at the first question and for a private one at the next."""
    settings.SENTINEL_PUSH_ALLOW_PRIVATE = False
    asked = []
    real = socket.getaddrinfo

    def changing(host: str, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return real("8.8.8.8" if len(asked) == 1 else "127.0.0.1", *args, **options)

    connected: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> Any:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    monkeypatch.setattr(socket, "create_connection", connect)
    keys = Subscription()
    with pytest.raises(push.PushError):
        push.send("https://push.example/x", p256dh=keys.p256dh, auth=keys.auth, message={"title": "x"}, topic="x")
    assert connected == ["8.8.8.8"]


# Crashes, and senders side by side


def lose_sender(**fields: Any) -> None:
    long_ago = timezone.now() - timedelta(minutes=1)
    Delivery.objects.update(status="sending", claim_token=new_public_id(), claimed_at=long_ago, **fields)


def test_what_a_killed_sender_had_in_hand_comes_again_and_is_seen_once(owner: User, service: PushService) -> None:
    register(owner, service)
    finish(owner)
    deliver_due()
    # As if it had been killed between the answer of the service and its note of it.
    lose_sender(sent_at=None)
    assert deliveries.recover_lost() == 1
    assert deliveries.recover_lost() == 0
    make_due()
    deliver_due()
    assert len(service.received) == 2
    assert [message["tag"] for message in service.messages()] == [Notification.objects.get().public_id]


def test_a_sender_that_is_at_it_is_left_alone(owner: User, service: PushService) -> None:
    register(owner, service)
    finish(owner)
    assert deliveries.claim_due()
    assert deliveries.recover_lost() == 0
    assert deliveries.claim_due() is None


def test_a_sender_that_wakes_up_late_changes_nothing(owner: User, service: PushService) -> None:
    register(owner, service)
    finish(owner)
    late = deliveries.claim_due()
    assert late is not None
    lose_sender()
    service.answers = [(410, {})]
    deliveries.deliver(late)
    assert the_delivery().status == "sending"


def test_many_senders_share_the_work(owner: User, service: PushService) -> None:
    for number in range(6):
        register(owner, service, str(number))
    finish(owner)
    claimed: list[int] = []

    def work() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                if not Delivery.objects.filter(status="waiting").exists():
                    break
                if delivery := deliveries.claim_due():
                    claimed.append(delivery.pk)
            except OperationalError:
                # A database in memory, as tests have it, refuses where others wait.
                time.sleep(0.01)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed))
    assert [delivery.attempts for delivery in Delivery.objects.all()] == [1] * 6


def test_the_sender_thread_sends_what_is_due_and_stops(owner: User, service: PushService) -> None:
    register(owner, service)
    finish(owner)
    sender = deliveries.Sender()
    sender.start()
    end = time.monotonic() + 10
    while not service.taken and time.monotonic() < end:
        time.sleep(0.05)
    sender.stop()
    assert not sender.is_alive()
    assert len(service.messages()) == 1


def test_the_sender_thread_outlives_a_round_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = threading.Semaphore(0)
    faults = iter([InterfaceError("closed"), RuntimeError("can't start new thread")] * 3)

    def claim() -> None:
        rounds.release()
        if fault := next(faults, None):
            raise fault

    monkeypatch.setattr(deliveries, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(deliveries, "_claim_any", claim)
    sender = deliveries.Sender()
    sender.start()
    # More often than there are senders, each of whom is free again.
    for _ in range(8):
        assert rounds.acquire(timeout=5)
    sender.stop()
    assert not sender.is_alive()


# E-mail


@pytest.fixture
def mails(owner: User, settings: Any) -> list[Any]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.SENTINEL_URL = "https://sentinel.example.org"
    notifications.set_preferences(owner, by_email=True, details=False)
    mail.outbox = []
    return mail.outbox


class Refusing:
    """A mail server that does not take it, or breaks off. ``error`` says how."""

    error: Exception
    opens = True

    def __init__(self, **options: Any) -> None:
        pass

    def open(self) -> None:
        if not self.opens:
            raise ConnectionRefusedError

    def close(self) -> None:
        pass

    def send_messages(self, messages: list[Any]) -> int:
        raise self.error


def test_an_email_says_no_more_than_a_locked_screen_may(owner: User, mails: list[Any]) -> None:
    analysis = finish(owner)
    deliver_due()
    [sent] = mails
    assert sent.to == [owner.email]
    assert sent.subject == "Your examination is finished"
    assert f"https://sentinel.example.org/analyses/{analysis.public_id}/" in sent.body
    assert "https://sentinel.example.org/notifications/" in sent.body
    assert "clip.mp4" not in sent.body
    assert "manipulation" not in sent.body
    assert sent.extra_headers["Message-ID"] == f"<notification-{Notification.objects.get().public_id}@localhost>"
    assert the_delivery().status == "sent"


def test_an_email_that_may_have_gone_out_is_not_repeated(owner: User, mails: list[Any]) -> None:
    finish(owner)
    deliver_due()
    lose_sender(sent_at=None)
    deliveries.recover_lost()
    make_due()
    assert deliver_due() == 0
    assert (the_delivery().status, the_delivery().error) == ("failed", "in_doubt")
    assert len(mails) == 1


def test_an_email_that_was_not_handed_over_goes_out_after_all(owner: User, mails: list[Any]) -> None:
    finish(owner)
    lose_sender(handed_over_at=None)
    deliveries.recover_lost()
    make_due()
    deliver_due()
    assert len(mails) == 1


def test_a_sender_that_lost_an_email_to_another_does_not_send_it(owner: User, mails: list[Any]) -> None:
    finish(owner)
    late = deliveries.claim_due()
    assert late is not None
    lose_sender()
    deliveries.deliver(late)
    assert mails == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (smtplib.SMTPDataError(451, b"later"), "waiting", "mail_refused"),
        (smtplib.SMTPDataError(554, b"no"), "failed", "mail_refused"),
        (smtplib.SMTPRecipientsRefused({"x": (550, b"unknown")}), "failed", "mail_refused"),
        (smtplib.SMTPRecipientsRefused({"x": (450, b"later")}), "waiting", "mail_refused"),
        (smtplib.SMTPServerDisconnected("lost"), "failed", "in_doubt"),
        (TimeoutError(), "failed", "in_doubt"),
    ],
)
def test_only_a_refusal_permits_another_try_at_an_email(  # noqa: PLR0917 -- fixtures and parameters
    owner: User,
    mails: list[Any],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: str,
    code: str,
) -> None:
    monkeypatch.setattr(Refusing, "error", error, raising=False)
    settings.EMAIL_BACKEND = f"{__name__}.Refusing"
    finish(owner)
    deliver_due()
    assert (the_delivery().status, the_delivery().error) == (status, code)


def test_a_mail_server_that_is_away_is_tried_again(
    owner: User, mails: list[Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refusing, "opens", False)
    settings.EMAIL_BACKEND = f"{__name__}.Refusing"
    finish(owner)
    deliver_due()
    assert (the_delivery().status, the_delivery().error) == ("waiting", "mail_server")


def test_mail_that_was_switched_off_meanwhile_is_not_sent(owner: User, mails: list[Any]) -> None:
    finish(owner)
    notifications.set_preferences(owner, by_email=False, details=False)
    deliver_due()
    assert mails == []
    assert the_delivery().status == "dropped"


# The pages and the API


def test_the_list_shows_what_is_unread_and_the_bell_counts_it(owner: User, as_owner: Client) -> None:
    finish(owner, original_name="<b>bride</b>.mp4")
    page = as_owner.get(reverse("media_analysis:notifications")).content.decode()
    assert "&lt;b&gt;bride&lt;/b&gt;.mp4" in page
    assert "Signs of manipulation found" in page
    assert "1 unread" in page
    as_owner.post(reverse("media_analysis:notifications_read"))
    page = as_owner.get(reverse("media_analysis:notifications")).content.decode()
    assert "1 unread" not in page


def test_a_failed_one_keeps_its_text_after_a_retry(owner: User, as_owner: Client) -> None:
    claimed = services.claim_analysis(make_analysis(owner).pk)
    assert claimed is not None
    services.fail_analysis(claimed, Code.INTERNAL_ERROR)
    services.retry_analysis(claimed)
    page = as_owner.get(reverse("media_analysis:notifications")).content.decode()
    assert "The examination failed" in page


def test_opening_the_result_reads_the_notification(owner: User, as_owner: Client) -> None:
    analysis = finish(owner)
    as_owner.get(reverse("reports:result", args=[analysis.public_id]))
    assert Notification.objects.get().read_at is not None


def test_nobody_sees_or_reads_a_strangers_notification(owner: User, as_stranger: Client, client: Client) -> None:
    finish(owner)
    public_id = Notification.objects.get().public_id
    for url in (
        reverse("media_analysis:notification_read", args=[public_id]),
        f"/api/v1/notifications/{public_id}/read/",
    ):
        assert as_stranger.post(url).status_code == 404
        assert client.post(url).status_code in {302, 401}
    assert public_id not in as_stranger.get("/api/v1/notifications/").content.decode()
    as_stranger.post("/api/v1/notifications/read/")
    as_stranger.post(reverse("media_analysis:notifications_read"))
    assert Notification.objects.get().read_at is None


def test_a_stranger_cannot_remove_a_device(owner: User, as_stranger: Client, as_owner: Client, service: Any) -> None:
    url = reverse("media_analysis:push_device_remove", args=[register(owner, service).public_id])
    as_stranger.post(url)
    assert PushDevice.objects.exists()
    as_owner.post(url)
    assert not PushDevice.objects.exists()


def test_deleting_the_file_takes_its_notifications_along(owner: User, as_owner: Client) -> None:
    analysis = finish(owner)
    services.delete_media(analysis.media)
    assert not Notification.objects.exists()


def test_the_api_lists_and_marks(owner: User, as_owner: Client) -> None:
    analysis = finish(owner)
    [listed] = as_owner.get("/api/v1/notifications/?unread=true").json()["results"]
    assert (listed["analysis"], listed["kind"], listed["name"]) == (analysis.public_id, "done", "clip.mp4")
    assert listed["text"] == "Signs of manipulation found"
    assert as_owner.post(f"/api/v1/notifications/{listed['id']}/read/").status_code == 204
    assert as_owner.post(f"/api/v1/notifications/{listed['id']}/read/").status_code == 204
    assert as_owner.get("/api/v1/notifications/?unread=true").json()["results"] == []
    assert as_owner.get("/api/v1/notifications/").json()["results"][0]["read_at"]


def test_an_unchanged_state_is_answered_without_a_body(owner: User, as_owner: Client) -> None:
    make_analysis(owner)
    url = "/api/v1/notifications/state/"
    first = as_owner.get(url)
    assert (first.json()["unread"], first.json()["under_way"]) == (0, 1)
    assert "no-store" in first["Cache-Control"]
    assert as_owner.get(url, headers={"If-None-Match": first["ETag"]}).status_code == 304
    finish(owner)
    changed = as_owner.get(url, headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert [news["name"] for news in changed.json()["newest"]] == ["clip.mp4"]


def test_preferences_are_off_until_somebody_switches_them_on(owner: User, as_owner: Client) -> None:
    assert (owner.notify_by_email, owner.notify_details) == (False, False)
    as_owner.post(reverse("media_analysis:notification_preferences"), {"notify_by_email": "on"})
    owner.refresh_from_db()
    assert (owner.notify_by_email, owner.notify_details) == (True, False)


def test_the_admin_shows_what_became_of_messages(owner: User, service: PushService, as_admin: Client) -> None:
    register(owner, service)
    service.answers = [(503, {})]
    finish(owner)
    deliver_due()
    listing = reverse("admin:media_analysis_delivery_changelist")
    assert "status_503" in as_admin.get(listing, {"q": "owner"}).content.decode()
    page = reverse("admin:media_analysis_delivery_change", args=[the_delivery().pk])
    assert as_admin.get(page).status_code == 200

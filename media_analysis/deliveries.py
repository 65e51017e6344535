"""Sending what `notifications` wrote down: each delivery once, through crashes. docs/notifications.md has the rules.

Every step is one conditional update of the delivery's row, so that any number of senders on any number of hosts share
the work. What a killed sender had in hand is taken up again; only an e-mail that may already have gone out is not.

Senders are threads beside the queue and not jobs in it: a queue with one worker would keep a message until the
next analysis is through, and a push service that hangs would keep analyses waiting.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from email.utils import parseaddr
from functools import partial

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import Error, connections
from django.db.models import F, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation

from accounts import clock, mails
from accounts.ids import new_public_id
from accounts.models import PushDevice, User
from accounts.outgoing import InDoubt, NotSent, NotWanted, hand_over
from media_analysis import notifications, push
from media_analysis.models import Delivery, Notification

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
LONGEST_WAIT_SECONDS = 3600.0
# A day later nobody wants to be woken for it; it is in the list.
OVERDUE_AFTER = timedelta(days=1)
SENDERS = 4
POLL_SECONDS = 1.0


def claim_due() -> Delivery | None:
    """Take the delivery that is due longest for this process. None if nothing is due."""
    now = clock.now()
    due = Delivery.objects.filter(status=Delivery.Status.WAITING, next_try_at__lte=now)
    for pk in list(due.order_by("next_try_at").values_list("pk", flat=True)[: 2 * SENDERS]):
        token = new_public_id()
        claimed = due.filter(pk=pk).update(
            status=Delivery.Status.SENDING,
            attempts=F("attempts") + 1,
            claim_token=token,
            claimed_at=now,
            handed_over_at=None,
        )
        if claimed:
            rows = Delivery.objects.select_related("notification__user", "notification__analysis__media", "device")
            return rows.filter(pk=pk, claim_token=token).first()
    return None


def deliver(delivery: Delivery) -> None:
    """Send a claimed delivery and write down how it went."""
    try:
        _check_wanted(delivery)
        with translation.override(delivery.notification.user.language or settings.LANGUAGE_CODE):
            if delivery.channel == Delivery.Channel.PUSH:
                _send_push(delivery)
            else:
                _send_email(delivery)
    except NotWanted:
        _finish(delivery, Delivery.Status.DROPPED)
    except InDoubt:
        logger.warning("Delivery %s of %s may have gone out or not: not repeated", delivery.pk, delivery.notification)
        _finish(delivery, Delivery.Status.FAILED, error="in_doubt")
    except NotSent as error:
        _try_again(delivery, error)
    except Exception:
        logger.exception("Delivery %s broke off on try %s", delivery.pk, delivery.attempts)
        _try_again(delivery, NotSent("internal_error"))
    else:
        _finish(delivery, Delivery.Status.SENT)


def recover_lost() -> int:
    """Take up what killed senders had in hand; returns how much.

    A push message is sent again: its topic and tag are the same, so that its reader sees one. An e-mail that was not
    handed over yet is too; one that was may be in the mailbox, and is not repeated.
    """
    lost_since = clock.now() - timedelta(seconds=settings.SENTINEL_PUSH_TIMEOUT_SECONDS + 10)
    lost = Delivery.objects.filter(status=Delivery.Status.SENDING, claimed_at__lt=lost_since)
    recovered = 0
    for delivery in lost.select_related("notification"):
        logger.warning("Delivery %s of %s lost its sender", delivery.pk, delivery.notification)
        if delivery.handed_over_at:
            _finish(delivery, Delivery.Status.FAILED, error="in_doubt")
        else:
            _try_again(delivery, NotSent("sender_lost", retry_after=0))
        recovered += 1
    return recovered


class Sender(threading.Thread):
    """Sends what is due, a few at a time, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(name="sender", daemon=True)
        self._stopped = threading.Event()
        self._free = threading.Semaphore(SENDERS)

    def stop(self) -> None:
        """Ask it to end, and wait as long as one message may take."""
        self._stopped.set()
        self.join(settings.SENTINEL_PUSH_TIMEOUT_SECONDS + 1)

    def run(self) -> None:
        try:
            with ThreadPoolExecutor(SENDERS, thread_name_prefix="sender") as pool:
                while not self._stopped.is_set():
                    if not self._try_to_start_one(pool):
                        self._stopped.wait(POLL_SECONDS)
        finally:
            # This thread's own connection: nobody else would close it.
            connections.close_all()

    def _try_to_start_one(self, pool: ThreadPoolExecutor) -> bool:
        """As :meth:`_start_one`, whatever goes wrong: nobody would start this thread again, and all mails would lie."""
        try:
            return self._start_one(pool)
        except Error:
            # The database may be away for a moment; the next round tries again, on a new connection.
            logger.exception("The sender could not reach the database")
            connections.close_all()
        except Exception:
            logger.exception("The sender goes on after a round that broke off")
        return False

    def _start_one(self, pool: ThreadPoolExecutor) -> bool:
        """Whether there was something to send, and somebody free to send it."""
        if not self._free.acquire(timeout=POLL_SECONDS):
            return False
        running = None
        try:
            if (send := _claim_any()) is not None:
                running = pool.submit(_send_in_thread, send)
        finally:
            if running is None:
                self._free.release()
        if running is not None:
            running.add_done_callback(self._done)
        return running is not None

    def _done(self, future: Future[None]) -> None:
        self._free.release()
        if error := future.exception():
            logger.error("A delivery could not be written down: %s", error)


def _claim_any() -> Callable[[], None] | None:
    """Something that is due, claimed, to be called: mails about accounts, and deliveries. Neither holds up the other,
    whichever there is a flood of.
    """
    claims: list[Callable[[], Callable[[], None] | None]] = [_claim_mail, _claim_delivery]
    random.shuffle(claims)
    return next((send for claim in claims if (send := claim()) is not None), None)


def _claim_mail() -> Callable[[], None] | None:
    mail = mails.claim_due()
    return None if mail is None else partial(mails.send, mail)


def _claim_delivery() -> Callable[[], None] | None:
    delivery = claim_due()
    return None if delivery is None else partial(deliver, delivery)


def _send_in_thread(send: Callable[[], None]) -> None:
    try:
        send()
    finally:
        connections.close_all()


def _check_wanted(delivery: Delivery) -> None:
    """Raises NotWanted."""
    notification, user = delivery.notification, delivery.notification.user
    media = notification.analysis.media
    if media.deleted_at or user.deleted_at or not user.is_active:
        raise NotWanted
    if delivery.channel == Delivery.Channel.PUSH and (delivery.device is None or delivery.device.user_id != user.pk):
        raise NotWanted
    if delivery.channel == Delivery.Channel.EMAIL and not user.notify_by_email:
        raise NotWanted
    # It came late: they have seen it in the page meanwhile, or it is yesterday's.
    if delivery.attempts > 1 and (notification.read_at or notification.created_at < timezone.now() - OVERDUE_AFTER):
        raise NotWanted


def _send_push(delivery: Delivery) -> None:
    device = delivery.device
    assert device is not None  # noqa: S101 -- _check_wanted
    notification = delivery.notification
    content = {
        "title": notifications.headline(notification),
        "body": notifications.message(notification),
        "tag": notification.public_id,
        "url": notifications.result_url(notification),
        "lang": translation.get_language() or settings.LANGUAGE_CODE,
    }
    try:
        push.send(
            device.endpoint, p256dh=device.p256dh, auth=device.auth, message=content, topic=notification.public_id
        )
    except push.PushError as error:
        if error.gone:
            # Unless it was registered anew with other keys in the meantime.
            PushDevice.objects.filter(pk=device.pk, endpoint=device.endpoint, p256dh=device.p256dh).delete()
            raise NotWanted from error
        raise NotSent(error.code, permanent=error.permanent, retry_after=error.retry_after) from error


def _send_email(delivery: Delivery) -> None:
    """At most once: from the moment that it is handed over, only a refusal by the mail server permits another try."""
    hand_over(
        _email(delivery.notification),
        note=lambda: bool(_owned(delivery).update(handed_over_at=timezone.now())),
    )


def _email(notification: Notification) -> EmailMessage:
    user: User = notification.user
    address = parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
    preferences = reverse("media_analysis:notifications")
    context = {
        "headline": notifications.headline(notification),
        "message": notifications.message(notification),
        "name": user.get_username(),
        "link": f"{settings.SENTINEL_URL}{notifications.result_url(notification)}" if settings.SENTINEL_URL else "",
        "preferences": f"{settings.SENTINEL_URL}{preferences}" if settings.SENTINEL_URL else "",
    }
    return EmailMessage(
        subject=notifications.headline(notification),
        body=render_to_string("media_analysis/notification_email.txt", context),
        to=[user.email],
        headers={
            # The same on each try, so that mail servers and readers can see that it is the same.
            "Message-ID": f"<notification-{notification.public_id}@{address.rpartition('@')[2] or 'localhost'}>",
            "Auto-Submitted": "auto-generated",
        },
    )


def _try_again(delivery: Delivery, error: NotSent) -> None:
    """After a failed try: wait, longer each time and not all at once, or give up."""
    if error.permanent or delivery.attempts >= MAX_ATTEMPTS:
        logger.warning("Delivery %s of %s given up: %s", delivery.pk, delivery.notification, error.code)
        _finish(delivery, Delivery.Status.FAILED, error=error.code)
        return
    backoff = settings.SENTINEL_PUSH_RETRY_SECONDS * 2.0 ** (delivery.attempts - 1) * random.uniform(0.5, 1.0)
    wait = backoff if error.retry_after is None else error.retry_after + random.uniform(0.0, 1.0)
    _owned(delivery).update(
        status=Delivery.Status.WAITING,
        claim_token="",
        error=error.code,
        next_try_at=timezone.now() + timedelta(seconds=min(wait, LONGEST_WAIT_SECONDS)),
    )


def _finish(delivery: Delivery, status: Delivery.Status, error: str = "") -> None:
    sent_at = timezone.now() if status == Delivery.Status.SENT else None
    _owned(delivery).update(status=status, claim_token="", error=error, sent_at=sent_at)


def _owned(delivery: Delivery) -> QuerySet[Delivery]:
    """The row, as long as it still belongs to the try that ``delivery`` was claimed for."""
    return Delivery.objects.filter(pk=delivery.pk, status=Delivery.Status.SENDING, claim_token=delivery.claim_token)

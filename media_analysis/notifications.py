"""Telling people that an examination ended: what is to be told, and to whom. `deliveries` sends it.

A finished analysis whose ``announced_at`` is empty has nobody told yet. :func:`announce` writes the notification and
a delivery for each way in which its owner wants to hear of it, then fills ``announced_at``; done twice, by whichever
processes, it writes the same rows once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import custody, selectors
from media_analysis.models import Analysis, Delivery, Notification
from media_analysis.wording import verdict_text

FINISHED = (Analysis.Status.DONE, Analysis.Status.FAILED)


def on_analysis_finished(sender: object, *, pk: int, **kwargs: Any) -> None:
    """Receiver of :data:`media_analysis.signals.analysis_finished`."""
    announce(pk)


def announce(pk: int) -> Notification | None:
    """Write down who is to be told that this analysis ended.

    None if it did not, if nobody is there to be told, and where that is done: also of one that examines a file again,
    which is born so.
    """
    analysis = _announceable().filter(pk=pk, announced_at__isnull=True).first()
    if analysis is None or analysis.finished_at is None:
        return None
    owner = analysis.media.owner
    kind = Notification.Kind.DONE if analysis.status == Analysis.Status.DONE else Notification.Kind.FAILED
    notification, _created = Notification.objects.get_or_create(
        analysis=analysis, finished_at=analysis.finished_at, defaults={"user": owner, "kind": kind}
    )
    _send(notification)
    # Last: whoever is killed before this line leaves the rest to announce_missed.
    Analysis.objects.filter(pk=pk, finished_at=analysis.finished_at).update(announced_at=timezone.now())
    return notification


def announce_deletion(analysis: Analysis, at: datetime) -> Notification:
    """Write down that the owner is to be told: the file of this analysis will be deleted, its time being up `at`."""
    notification, _created = Notification.objects.get_or_create(
        analysis=analysis,
        finished_at=at,
        defaults={"user": analysis.media.owner, "kind": Notification.Kind.EXPIRING},
    )
    _send(notification)
    return notification


def _send(notification: Notification) -> None:
    """Put it on its way, in each way in which its user wants to hear of it."""
    owner = notification.user
    for device in owner.push_devices.all():
        Delivery.objects.get_or_create(
            notification=notification,
            channel=Delivery.Channel.PUSH,
            target=device.public_id,
            defaults={"device": device},
        )
    if owner.notify_by_email:
        Delivery.objects.get_or_create(notification=notification, channel=Delivery.Channel.EMAIL, target="")


def announce_missed() -> int:
    """Make up for notifications that a kill or a lost database came before; returns how many."""
    missed = list(_announceable().filter(announced_at__isnull=True)[:100])
    for analysis in missed:
        _complete_log(analysis)
        announce(analysis.pk)
    return len(missed)


def _complete_log(analysis: Analysis) -> None:
    """Where transactions mean nothing, a kill may have come between the end of an analysis and its log."""
    if connection.features.supports_transactions:
        return
    media_id, public_id = analysis.media.public_id, analysis.public_id
    if analysis.status == Analysis.Status.DONE:
        detector = f"{analysis.detector} {analysis.detector_version}"
        custody.make_up(
            media_id, custody.Event.ANALYSED, analysis=public_id, outcome=analysis.outcome, detector=detector
        )
    else:
        custody.make_up(media_id, custody.Event.FAILED, analysis=public_id, error=analysis.error_code)


def notifications_of(user: User) -> QuerySet[Notification]:
    """Newest first; those of files that are being deleted are gone with them."""
    return Notification.objects.filter(user=user, analysis__media__deleted_at__isnull=True).select_related(
        "analysis__media"
    )


def unread_of(user: User) -> QuerySet[Notification]:
    return notifications_of(user).filter(read_at__isnull=True)


def under_way(user: User) -> int:
    """How many of their analyses have not ended yet."""
    return Analysis.objects.filter(
        selectors.of_own_files(user), status__in=[Analysis.Status.QUEUED, Analysis.Status.RUNNING]
    ).count()


def mark_read(user: User, public_id: str) -> None:
    """Raises ``not_found`` for a stranger's exactly as for one that never was. Marking twice does no harm."""
    notification = notifications_of(user).filter(public_id=public_id).first()
    if notification is None:
        raise SentinelError(Code.NOT_FOUND)
    Notification.objects.filter(pk=notification.pk, read_at__isnull=True).update(read_at=timezone.now())


def mark_all_read(user: User) -> int:
    """Returns how many were unread."""
    return Notification.objects.filter(user=user, read_at__isnull=True).update(read_at=timezone.now())


def mark_seen(user: User, analysis: Analysis) -> None:
    """Whoever opens a result knows that it is there."""
    Notification.objects.filter(user=user, analysis=analysis, read_at__isnull=True).update(read_at=timezone.now())


def set_preferences(user: User, *, by_email: bool, details: bool) -> None:
    user.notify_by_email, user.notify_details = by_email, details
    user.save(update_fields=["notify_by_email", "notify_details"])


def notification_text(notification: Notification) -> str:
    """What the pages say under the file's name: only its owner sees them, so the verdict is in it."""
    if notification.kind == Notification.Kind.FAILED:
        return _("The examination failed")
    if notification.kind == Notification.Kind.EXPIRING:
        return _("This file will be deleted soon")
    return verdict_text(notification.analysis)


def result_url(notification: Notification) -> str:
    """The path of the page with the result."""
    return reverse("reports:result", args=[notification.analysis.public_id])


def headline(notification: Notification) -> str:
    """What a locked screen may show: that something ended, and nothing of what was found."""
    if notification.kind == Notification.Kind.FAILED:
        return _("Your examination could not be finished")
    if notification.kind == Notification.Kind.EXPIRING:
        return _("One of your files will be deleted soon")
    return _("Your examination is finished")


def message(notification: Notification) -> str:
    """The line below the headline. It names the file only for those who asked for that."""
    if notification.user.notify_details:
        return notification.analysis.media.original_name
    if notification.kind == Notification.Kind.FAILED:
        return _("Open Sentinel to see why.")
    if notification.kind == Notification.Kind.EXPIRING:
        return _("Open Sentinel to see which one, and to download what you want to keep.")
    return _("Open Sentinel to see the result.")


def _announceable() -> QuerySet[Analysis]:
    return Analysis.objects.filter(
        status__in=FINISHED,
        finished_at__isnull=False,
        media__deleted_at__isnull=True,
        media__owner__deleted_at__isnull=True,
        media__owner__is_active=True,
    ).select_related("media__owner")

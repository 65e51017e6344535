"""What people are told, and how it reaches them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from accounts.models import PushDevice
from media_analysis.models.analysis import Analysis


class Notification(models.Model):
    """What somebody is told: that an examination of theirs ended, one for each time that it did; or that the file will
    be deleted, since this site keeps files for a time only.
    """

    class Kind(models.TextChoices):
        DONE = "done", _("examined")
        FAILED = "failed", _("failed")
        EXPIRING = "expiring", _("will be deleted")

    public_id = PublicIdField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="notifications", verbose_name=_("user")
    )
    analysis = models.ForeignKey(Analysis, models.CASCADE, related_name="notifications", verbose_name=_("analysis"))
    # Of the analysis: one that failed and was tried again ends a second time. Of EXPIRING: when the file's time is up.
    finished_at = models.DateTimeField(_("finished"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    read_at = models.DateTimeField(_("read"), null=True, blank=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "finished_at"], name="one_notification_per_finish"),
        ]
        indexes = [models.Index(fields=["user", "read_at", "-created_at"], name="notifications_of_user")]

    def __str__(self) -> str:
        return self.public_id


class Delivery(models.Model):
    """A notification on its way to one device or mailbox. The rows are the queue: see media_analysis.deliveries."""

    class Channel(models.TextChoices):
        PUSH = "push", _("push message")
        EMAIL = "email", _("e-mail")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        DROPPED = "dropped", _("not wanted any more")

    notification = models.ForeignKey(
        Notification, models.CASCADE, related_name="deliveries", verbose_name=_("notification")
    )
    channel = models.CharField(_("channel"), max_length=8, choices=Channel)
    device = models.ForeignKey(
        PushDevice, models.SET_NULL, null=True, blank=True, related_name="deliveries", verbose_name=_("device")
    )
    # The device's public id, which outlives the device; empty for an e-mail.
    target = models.CharField(_("target"), max_length=24, blank=True)
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), default=timezone.now)
    # Names the try that owns the row while it is being sent.
    claim_token = models.CharField(_("claim"), max_length=24, blank=True)
    claimed_at = models.DateTimeField(_("claimed"), null=True, blank=True)
    # Just before an e-mail goes out: from here on nobody knows whether it did until `sent_at` says so.
    handed_over_at = models.DateTimeField(_("handed over"), null=True, blank=True)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=32, blank=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["notification", "channel", "target"], name="one_delivery_per_target"),
        ]
        indexes = [models.Index(fields=["status", "next_try_at"], name="deliveries_due")]

    def __str__(self) -> str:
        return f"{self.notification} {self.channel}"

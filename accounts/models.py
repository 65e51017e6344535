from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField


class User(AbstractUser):
    """Someone who may submit media. E-mail addresses are unique and kept in lower case."""

    public_id = PublicIdField()
    email = models.EmailField(_("e-mail address"), unique=True)
    daily_limit = models.PositiveSmallIntegerField(
        _("daily limit"),
        null=True,
        blank=True,
        help_text=_("Classifications a day; empty for the site's default."),
    )
    language = models.CharField(
        _("language"), max_length=10, blank=True, help_text=_("A language code; empty to follow the browser.")
    )
    notify_by_email = models.BooleanField(
        _("e-mail when an examination ends"), default=False, help_text=_("To the address of this account.")
    )
    # Off unless asked for: a push message lies on the lock screen for everybody to read.
    notify_details = models.BooleanField(
        _("file names in push messages and e-mails"),
        default=False,
        help_text=_("Others may read a message on a locked screen. The result is never in it."),
    )
    # Set first when they delete their account: from then on nobody can log in, and whatever interrupts
    # the removal of their media, housekeeping completes it.
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Whatever way a password is changed or an account deactivated, all devices are logged out by it."""
        self.email = self.email.lower()
        existed = not self._state.adding
        # Django keeps a password that was set in the clear until it is saved.
        password_changed = self._password is not None  # type: ignore[attr-defined]
        super().save(*args, **kwargs)
        if existed and (password_changed or not self.is_active):
            self.end_app_sessions()

    def end_app_sessions(self) -> int:
        """Log all devices out; returns how many."""
        return self.app_sessions.filter(ended_at__isnull=True).update(ended_at=timezone.now())


class UsageEntry(models.Model):
    """One classification spent. A day has as many slots as the user's limit, each usable once.

    The unique constraint is what makes the limit exact: two requests that reach for the same slot at the same time
    cannot both get it, on any database, with or without transactions. Giving one back deletes its entry.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="usage", verbose_name=_("user"))
    day = models.DateField(_("day"))
    slot = models.PositiveSmallIntegerField(_("slot"))
    reference = models.CharField(_("reference"), max_length=24, unique=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("usage entry")
        verbose_name_plural = _("usage entries")
        constraints = [
            models.UniqueConstraint(fields=["user", "day", "slot"], name="one_use_per_slot"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.day} #{self.slot}"


class AppSession(models.Model):
    """A device on which somebody is logged in with tokens. All tokens of a log-in name it, and end with it."""

    public_id = PublicIdField()
    user = models.ForeignKey(User, models.CASCADE, related_name="app_sessions", verbose_name=_("user"))
    device = models.CharField(_("device"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("logged in"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("app session")
        verbose_name_plural = _("app sessions")
        ordering = ["-last_used_at", "-id"]

    def __str__(self) -> str:
        return f"{self.device or self.public_id}"


class PushDevice(models.Model):
    """Where push messages for somebody go: a Web Push subscription (RFC 8030), its keys as RFC 8291 has them."""

    public_id = PublicIdField()
    user = models.ForeignKey(User, models.CASCADE, related_name="push_devices", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=200, blank=True)
    endpoint = models.URLField(_("address of the push service"), max_length=500)
    p256dh = models.CharField(_("public key of the device"), max_length=100)
    auth = models.CharField(_("shared secret"), max_length=30)
    created_at = models.DateTimeField(_("registered"), default=timezone.now)

    class Meta:
        verbose_name = _("push device")
        verbose_name_plural = _("push devices")
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["user", "endpoint"], name="one_push_device_per_endpoint")]

    def __str__(self) -> str:
        return self.name or self.public_id

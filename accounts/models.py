from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
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

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.email = self.email.lower()
        super().save(*args, **kwargs)


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

"""Results that their owners show to everybody."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from media_analysis.models.analysis import Analysis


class ResultCard(models.Model):
    """That the result of an analysis is public, at an address of its own, until its owner takes it back.

    The row is the permission: taken back it is deleted, and what shared again is has a new address. What was shared
    when stays in the custody log.
    """

    public_id = PublicIdField()
    analysis = models.OneToOneField(Analysis, models.CASCADE, related_name="card", verbose_name=_("analysis"))
    published_at = models.DateTimeField(_("shared since"), default=timezone.now)

    class Meta:
        verbose_name = _("public result card")
        verbose_name_plural = _("public result cards")
        ordering = ["-published_at", "-id"]

    def __str__(self) -> str:
        return self.public_id

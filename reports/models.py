from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from media_analysis.models import Analysis


class Report(models.Model):
    """A PDF that was made of a finished analysis: one for each language and version of the report's form.

    The row is written when its file is complete, and ``file`` is in a folder of the analysis: it goes with the media.
    """

    public_id = PublicIdField()
    analysis = models.ForeignKey(Analysis, models.CASCADE, related_name="reports", verbose_name=_("analysis"))
    language = models.CharField(_("language"), max_length=10)
    version = models.PositiveSmallIntegerField(_("version of the form"))
    engine = models.CharField(_("made with"), max_length=16)
    file = models.CharField(_("file"), max_length=255)
    sha256 = models.CharField(_("SHA-256"), max_length=64, db_index=True)
    size = models.PositiveIntegerField(_("size in bytes"))
    created_at = models.DateTimeField(_("made"), default=timezone.now)
    # The custody log as it was printed: how many events, and the digest of the last. Empty of reports without it.
    custody_events = models.PositiveIntegerField(_("events of the custody log"), default=0)
    custody_digest = models.CharField(_("last digest of the custody log"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("report")
        verbose_name_plural = _("reports")
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "language", "version"], name="one_report_each"),
        ]

    def __str__(self) -> str:
        return self.public_id

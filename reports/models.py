from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from media_analysis.models import Analysis


class Timestamp(models.TextChoices):
    NONE = "none", _("none wanted")
    MADE = "made", _("made")
    FAILED = "failed", _("failed")


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
    # Whether a time stamping authority said when it was signed; reports from before there were seals say nothing.
    timestamp = models.CharField(_("time stamp"), max_length=8, choices=Timestamp, blank=True)
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


class SealCertificate(models.Model):
    """A certificate that documents were signed with here, so that they are known after the key was changed.

    In the database, since every host has to know what any of them signed. It is no secret.
    """

    fingerprint = models.CharField(_("SHA-256"), max_length=64, unique=True)
    pem = models.TextField(_("certificate"))
    created_at = models.DateTimeField(_("used since"), default=timezone.now)

    class Meta:
        verbose_name = _("certificate of the seal")
        verbose_name_plural = _("certificates of the seal")
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return self.fingerprint


class IssuedDocument(models.Model):
    """A document that left the building, for those who want to know whether it is genuine.

    It outlives the media, the account and everything that the document is about, and holds nothing about them. The
    public id is printed in the document.
    """

    class Kind(models.TextChoices):
        REPORT = "report", _("report")
        PACKAGE = "package", _("evidence package")
        CERTIFICATE = "certificate", _("certificate")

    public_id = PublicIdField()
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    sha256 = models.CharField(_("SHA-256"), max_length=64, unique=True)
    issued_at = models.DateTimeField(_("made"), default=timezone.now)

    class Meta:
        verbose_name = _("issued document")
        verbose_name_plural = _("issued documents")
        ordering = ["-issued_at", "-id"]

    def __str__(self) -> str:
        return self.public_id

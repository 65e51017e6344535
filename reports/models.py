from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from media_analysis.models import Analysis, Case


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


class CaseDocument(models.Model):
    """A report over a case, or the export of it, that somebody asked for: waiting, being made, or kept for a day.

    Each step is one conditional update of this row. ``file`` is in a folder of the storage that is named after the
    public id, and goes with the row, however that goes.
    """

    class Kind(models.TextChoices):
        REPORT = "report", _("report")
        EXPORT = "export", _("export")

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        MAKING = "making", _("being made")
        READY = "ready", _("ready")
        FAILED = "failed", _("failed")

    public_id = PublicIdField()
    # Names what it is as long as it is under way, so that there is one of each at a time; afterwards the public id.
    slot = models.CharField(max_length=80, unique=True, editable=False)
    case = models.ForeignKey(Case, models.CASCADE, related_name="documents", verbose_name=_("case"))
    # Whom it is for: what is in it depends on that, and nobody else gets it.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="case_documents", verbose_name=_("user")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    language = models.CharField(_("language"), max_length=10)
    # The address that it was asked for at, which reports in it print where the settings name none.
    site = models.CharField(max_length=300, blank=True, editable=False)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.WAITING)
    # Files that are through, of so many.
    done = models.PositiveIntegerField(default=0, editable=False)
    total = models.PositiveIntegerField(default=0, editable=False)
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    # Names the try that owns the row while it is made.
    claim_token = models.CharField(_("claim"), max_length=24, blank=True)
    worker = models.CharField(_("worker"), max_length=128, blank=True)
    heartbeat_at = models.DateTimeField(_("last sign of life"), null=True, blank=True)
    file = models.CharField(_("file"), max_length=255, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True)
    size = models.PositiveBigIntegerField(_("size in bytes"), default=0)
    # Public ids of the files that something is told of in it.
    media = models.JSONField(default=list, blank=True, editable=False)
    error_code = models.CharField(_("error"), max_length=32, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        verbose_name = _("document of a case")
        verbose_name_plural = _("documents of cases")
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["state", "created_at"], name="case_documents_by_state")]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_under_way(self) -> bool:
        return self.state in {self.State.WAITING, self.State.MAKING}

    @property
    def kept_until(self) -> datetime | None:
        """None while it is under way."""
        return self.finished_at and self.finished_at + timedelta(hours=settings.SENTINEL_CASE_DOCUMENT_HOURS)

"""What happened to each file: the rows of its custody log."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class CustodyEvent(models.Model):
    """One thing that happened to one file; each row names the digest of the one before it.

    Rows are only ever added: see :mod:`media_analysis.custody`, which makes and checks the chain. They outlive the
    file, the user and everything else that they speak of, so they hold ids and no references.
    """

    class Event(models.TextChoices):
        # Of a file that was here before there was a log.
        BEGUN = "begun", _("log begun")
        RECEIVED = "received", _("received")
        HASHED = "hashed", _("hashes computed")
        ANALYSED = "analysed", _("examined")
        FAILED = "failed", _("examination failed")
        VIEWED = "viewed", _("result viewed")
        DOWNLOADED = "downloaded", _("downloaded")
        SHARED = "shared", _("shared")
        WITHDRAWN = "withdrawn", _("no longer shared")
        HANDED_OVER = "handed_over", _("moved to another account")
        DELETED = "deleted", _("deleted")

    media_id = models.CharField(_("media file"), max_length=24)
    number = models.PositiveIntegerField(_("number"))
    event = models.CharField(_("event"), max_length=16, choices=Event)
    # To the millisecond, as every database keeps it.
    at = models.DateTimeField(_("time"))
    actor = models.CharField(_("public id of the user"), max_length=24, blank=True)
    # Personal data that may have to go: the chain only holds their salted digest.
    address = models.CharField(_("network address"), max_length=45, blank=True)
    address_salt = models.CharField(_("salt of the address"), max_length=32, blank=True, editable=False)
    address_digest = models.CharField(_("digest of the address"), max_length=64, blank=True)
    # Texts and whole numbers only: what else JSON can hold comes back differently from some databases.
    details = models.JSONField(_("details"), default=dict, blank=True)
    previous = models.CharField(_("digest of the event before"), max_length=64, blank=True)
    digest = models.CharField(_("digest"), max_length=64)

    class Meta:
        verbose_name = _("custody event")
        verbose_name_plural = _("custody log")
        ordering = ["media_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["media_id", "number"], name="one_custody_event_per_number"),
        ]
        indexes = [models.Index(fields=["actor"], name="custody_of_actor")]

    def __str__(self) -> str:
        return f"{self.media_id} {self.number} {self.event}"

"""The files that come in, who asked, and what stays of them."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField


class Media(models.Model):
    """One file as received. The stored bytes are never altered."""

    class Kind(models.TextChoices):
        VIDEO = "video", _("video")
        IMAGE = "image", _("photo")

    public_id = PublicIdField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="media", verbose_name=_("owner"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    original_name = models.CharField(_("name as received"), max_length=255)
    file = models.FileField(_("file"), max_length=255)
    size = models.BigIntegerField(_("size in bytes"))
    sha256 = models.CharField(_("SHA-256"), max_length=64, db_index=True)
    md5 = models.CharField(_("MD5"), max_length=32)
    container = models.CharField(_("container"), max_length=64)
    codec = models.CharField(_("codec"), max_length=64)
    width = models.PositiveIntegerField(_("width in pixels"))
    height = models.PositiveIntegerField(_("height in pixels"))
    rotation = models.PositiveSmallIntegerField(_("rotation in degrees"), default=0)
    duration = models.FloatField(_("duration in seconds"), default=0.0)
    frame_rate = models.FloatField(_("frames a second"), default=0.0)
    frame_count = models.PositiveIntegerField(_("number of frames"), default=1)
    bit_rate = models.BigIntegerField(_("bits a second"), default=0)
    has_audio = models.BooleanField(_("has sound"), default=False)
    created_at = models.DateTimeField(_("received"), default=timezone.now)
    # Set first when its owner deletes it: from then on nobody sees it, and whatever interrupts
    # the removal of its files, housekeeping completes it.
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("media file")
        verbose_name_plural = _("media files")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="media_of_owner"),
            # Asked every few seconds for what is still to be removed.
            models.Index(fields=["deleted_at"], name="media_to_delete"),
        ]

    def __str__(self) -> str:
        return f"{self.original_name} ({self.public_id})"

    @property
    def arrived_at(self) -> datetime:
        """When its bytes came: of a link, when that was fetched, which may be days after it was given."""
        link = getattr(self, "link", None)
        return (link.fetched_at if link else None) or self.created_at

    @property
    def is_cut_out(self) -> bool:
        """Whether it is a part that was cut out of what was fetched, so that its bytes are nobody else's."""
        link = getattr(self, "link", None)
        return link is not None and link.cut_from is not None


class Submission(models.Model):
    """Who asked for a file to be examined, when, and which way it came."""

    class Source(models.TextChoices):
        WEB = "web", _("website")
        API = "api", _("app")
        LINK = "link", _("link")
        BOT = "bot", _("bot")
        COMMAND = "command", _("command line")

    # Before the number of a tweet it is the key of what the bot hands in.
    TWEET_KEY = "tweet:"

    public_id = PublicIdField()
    media = models.ForeignKey(Media, models.CASCADE, related_name="submissions", verbose_name=_("media file"))
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="submissions", verbose_name=_("submitted by")
    )
    source = models.CharField(_("source"), max_length=8, choices=Source)
    # What the client called this request: asked again under the same key, the answer is the same analysis.
    # NULL where there is none: two submissions without a key are not the same.
    idempotency_key = models.CharField(  # noqa: DJ001
        _("idempotency key"), max_length=255, null=True, blank=True, editable=False, default=None
    )
    created_at = models.DateTimeField(_("submitted"), default=timezone.now)

    class Meta:
        verbose_name = _("submission")
        verbose_name_plural = _("submissions")
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["submitted_by", "idempotency_key"], name="one_submission_per_key"),
        ]

    def __str__(self) -> str:
        return self.public_id


class DeletionReceipt(models.Model):
    """What stays of a deleted file: that it was there, its hashes, and when it went."""

    public_id = PublicIdField()
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="deletion_receipts", verbose_name=_("owner")
    )
    media_public_id = models.CharField(_("media file"), max_length=24, unique=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    md5 = models.CharField(_("MD5"), max_length=32)
    size = models.BigIntegerField(_("size in bytes"))
    received_at = models.DateTimeField(_("received"))
    deleted_at = models.DateTimeField(_("deleted"))

    class Meta:
        verbose_name = _("deletion receipt")
        verbose_name_plural = _("deletion receipts")
        ordering = ["-deleted_at", "-id"]

    def __str__(self) -> str:
        return self.media_public_id


class ResumableUpload(models.Model):
    """A file that comes in pieces. How far it is, is how long its partial file is; the row says whose and what."""

    public_id = PublicIdField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="uploads", verbose_name=_("owner"))
    name = models.CharField(_("name as received"), max_length=255)
    # The Upload-Metadata header as it came: the protocol wants it back so.
    metadata = models.CharField(_("metadata"), max_length=4096, blank=True)
    size = models.BigIntegerField(_("size in bytes"))
    created_at = models.DateTimeField(_("begun"), default=timezone.now)
    expires_at = models.DateTimeField(_("kept until"))

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["expires_at"], name="upload_expiry")]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

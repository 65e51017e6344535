"""Where files come from that nobody uploaded."""

from __future__ import annotations

from datetime import date, datetime

from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _

from media_analysis.models.media import Media


class LinkSource(models.Model):
    """The link that a file was fetched from, and what the site said about it.

    Where it stands is on its file's analysis, which is QUEUED in the stage "fetching" until the file is there; here
    is only what is known of the origin. Everything but the times and digests is a claim: the site's, or whoever gave
    us the link's.
    """

    class Problem(models.TextChoices):
        """Why there is no file, more exactly than the error code of the analysis."""

        NOT_FOUND = "not_found", _("not there (any more)")
        PRIVATE = "private", _("not public")
        REFUSED = "refused", _("refused by the site")
        LIVE = "live", _("a live stream")
        PLAYLIST = "playlist", _("a list of videos")
        NO_MEDIA = "no_media", _("no video or photo")
        UNREACHABLE = "unreachable", _("not reachable")
        TOO_SLOW = "too_slow", _("too slow")
        OUTSIDE_CUT = "outside_cut", _("shorter than the part asked for")

    media = models.OneToOneField(Media, models.CASCADE, related_name="link", verbose_name=_("media file"))
    url = models.CharField(_("link as given"), max_length=2048)
    # SHA-256 of the address without what says nothing about the video, and of the cut: see link_addresses.key_of.
    key = models.CharField(_("digest of the link"), max_length=64, db_index=True, editable=False)
    canonical_key = models.CharField(
        _("digest of the lasting link"), max_length=64, blank=True, db_index=True, editable=False
    )
    # The same for requests of one owner for the link at the same time: the first of them makes the row.
    # NULL where that said nothing, and in older rows.
    turn = models.CharField(_("turn"), max_length=64, null=True, blank=True, unique=True, editable=False, default=None)
    # Only a file of this kind will do; empty for any.
    wanted_kind = models.CharField(_("kind asked for"), max_length=8, choices=Media.Kind, blank=True, editable=False)
    # Seconds from the start of the video: what was asked for, and what it became, which begins at a key frame.
    cut_start = models.FloatField(_("asked from, in seconds"), null=True, blank=True)
    cut_end = models.FloatField(_("asked to, in seconds"), null=True, blank=True)
    cut_from = models.FloatField(_("cut from, in seconds"), null=True, blank=True)
    cut_to = models.FloatField(_("cut to, in seconds"), null=True, blank=True)

    # What the site says.
    canonical_url = models.CharField(_("lasting link"), max_length=2048, blank=True)
    site = models.CharField(_("site"), max_length=64, blank=True)
    title = models.CharField(_("title"), max_length=500, blank=True)
    uploader = models.CharField(_("uploaded by"), max_length=255, blank=True)
    uploader_url = models.CharField(_("page of the uploader"), max_length=2048, blank=True)
    # ISO 8601, a day or a moment, as exact as the site says.
    uploaded = models.CharField(_("uploaded"), max_length=32, blank=True)
    duration = models.FloatField(_("duration of the whole, in seconds"), null=True, blank=True)
    # What whoever gave us the link knows: post_url, author, posted_at, title.
    claims = models.JSONField(_("what was said with the link"), default=dict, blank=True)

    # How it was fetched.
    file_url = models.CharField(_("address of the file"), max_length=4096, blank=True)
    server_address = models.CharField(_("network address of the server"), max_length=45, blank=True)
    headers = models.JSONField(_("what the server said about the file"), default=dict, blank=True)
    fetched_with = models.CharField(_("fetched with"), max_length=64, blank=True)
    fetched_at = models.DateTimeField(_("fetched"), null=True, blank=True)
    # Of a cut: the whole file, which is not kept.
    whole_sha256 = models.CharField(_("SHA-256 of the whole"), max_length=64, blank=True)
    whole_size = models.BigIntegerField(_("size of the whole in bytes"), null=True, blank=True)
    problem = models.CharField(_("why it could not be fetched"), max_length=16, choices=Problem, blank=True)
    # The same bytes had been examined before: whose result this is, and when it was made.
    same_as = models.CharField(_("result taken from"), max_length=24, blank=True)
    same_as_at = models.DateTimeField(_("examined before"), null=True, blank=True)
    created_at = models.DateTimeField(_("received"), default=timezone.now)

    class Meta:
        verbose_name = _("link")
        verbose_name_plural = _("links")
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.canonical_url or self.url

    @property
    def is_cut(self) -> bool:
        """Whether only a part of the video was, or shall be, examined."""
        return self.cut_start is not None

    @property
    def uploaded_at(self) -> datetime | None:
        """The moment of the upload, where the site is so exact."""
        return parse_datetime(self.uploaded) if "T" in self.uploaded else None

    @property
    def uploaded_on(self) -> date | None:
        """The day of the upload, where the site says no more."""
        return None if "T" in self.uploaded or not self.uploaded else parse_date(self.uploaded)

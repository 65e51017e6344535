"""The examination of a file, and those who do it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import correlation
from accounts.ids import PublicIdField
from media_analysis.models.media import Media


class Analysis(models.Model):
    """One detector version on one media file.

    The row is its whole state. Everything found is written by a single conditional update of this row, so that a
    finished analysis is complete on any database, with or without transactions; ``result`` is
    :meth:`ml.contracts.AnalysisResult.to_dict`, and the columns beside it repeat what is searched and listed.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("being examined")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    class Stage(models.TextChoices):
        # Of a waiting one whose file is not there yet: only media_analysis.links touches it until it is.
        FETCHING = "fetching", _("Fetching the video")
        READING = "reading", _("Reading the file")
        FINDING_FACES = "finding_faces", _("Looking for faces")
        JUDGING = "judging", _("Judging the faces")
        CONCLUDING = "concluding", _("Putting the result together")

    class Priority(models.IntegerChoices):
        # The lower the number, the sooner: see media_analysis.scheduling.
        PERSON = 0, _("somebody waits for it")
        BATCH = 1, _("one of many")
        AGAIN = 2, _("examined again")

    class Outcome(models.TextChoices):
        FAKE = "FAKE", _("Signs of manipulation found")
        REAL = "REAL", _("No sign of manipulation found")
        INCONCLUSIVE = "INCONCLUSIVE", _("Can't tell")
        NOT_ASSESSABLE = "NOT_ASSESSABLE", _("Could not be examined")

    public_id = PublicIdField()
    media = models.ForeignKey(Media, models.CASCADE, related_name="analyses", verbose_name=_("media file"))
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.QUEUED)
    stage = models.CharField(_("stage"), max_length=16, choices=Stage, blank=True)
    progress = models.PositiveSmallIntegerField(_("progress in percent"), default=0)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome, blank=True)
    reason = models.CharField(_("reason"), max_length=32, blank=True)
    error_code = models.CharField(_("error"), max_length=32, blank=True)
    fake_probability = models.FloatField(_("fake probability"), null=True, blank=True)
    pooled_probability = models.FloatField(_("pooled fake probability"), null=True, blank=True)
    confidence = models.FloatField(_("confidence in percent"), null=True, blank=True)
    real_frames = models.PositiveIntegerField(_("frames called real"), null=True, blank=True)
    fake_frames = models.PositiveIntegerField(_("frames called fake"), null=True, blank=True)
    timestamps = models.JSONField(_("stretches called fake, in seconds"), default=list, blank=True)
    detector = models.CharField(_("detector"), max_length=64, blank=True)
    detector_version = models.CharField(_("detector version"), max_length=32, blank=True)
    weights_sha256 = models.JSONField(_("SHA-256 of the weights"), default=list, blank=True)
    software_version = models.CharField(_("software version"), max_length=32, blank=True)
    result = models.JSONField(_("everything found"), null=True, blank=True)
    # Names in the storage of the face crops and key frames: see media_analysis.evidence.
    evidence = models.JSONField(_("evidence pictures"), default=list, blank=True)
    seconds = models.FloatField(_("seconds taken"), null=True, blank=True)

    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    # Names the try that owns the row while it runs: an older try that wakes up late can change nothing.
    claim_token = models.CharField(_("claim"), max_length=24, blank=True)
    worker = models.CharField(_("worker"), max_length=128, blank=True)
    created_at = models.DateTimeField(_("accepted"), default=timezone.now)
    # Its place among those that wait, given by media_analysis.scheduling. One whose file is not there is in no lane.
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority, default=Priority.PERSON)
    lane = models.CharField(_("lane"), max_length=32, blank=True, default="default")
    wanted_detector = models.CharField(_("detector asked for"), max_length=64, blank=True)
    # Whose share of the workers it takes, and where in that user's share it stands.
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        editable=False,
        verbose_name=_("asked for by"),
    )
    turn = models.BigIntegerField(_("turn"), default=0, editable=False)
    queued_at = models.DateTimeField(_("waiting since"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("last sign of life"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    # When its owner's notification was written; empty on a finished one whose worker was killed before that.
    announced_at = models.DateTimeField(_("announced"), null=True, blank=True, editable=False)
    # The request that brought it, as logs and traces of all processes name it: see accounts.correlation.
    request_id = models.CharField(
        _("number of the request"), max_length=64, blank=True, default=correlation.request_id, editable=False
    )
    trace_context = models.CharField(
        _("trace"), max_length=55, blank=True, default=correlation.traceparent, editable=False
    )

    class Meta:
        verbose_name = _("analysis")
        verbose_name_plural = _("analyses")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["status", "created_at"], name="analysis_by_status"),
            models.Index(fields=["announced_at", "status"], name="analysis_to_announce"),
            # What is next, what waits longest, who had how much, and what took how long: each found without a search.
            models.Index(
                fields=["status", "lane", "wanted_detector", "priority", "turn", "queued_at"], name="analysis_next"
            ),
            models.Index(fields=["status", "lane", "wanted_detector", "queued_at"], name="analysis_oldest"),
            models.Index(fields=["requester", "lane", "priority", "turn"], name="analysis_share"),
            models.Index(fields=["requester", "status"], name="analysis_of_requester"),
            models.Index(fields=["status", "lane", "finished_at"], name="analysis_finished"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_finished(self) -> bool:
        return self.status in {self.Status.DONE, self.Status.FAILED}

    @property
    def examined_at(self) -> datetime | None:
        """When the file was really looked at: of a result that its very same bytes had had before, when that was."""
        link = getattr(self.media, "link", None)
        if link is not None and link.same_as_at and self.started_at is None:
            earlier: datetime = link.same_as_at
            return earlier
        return self.finished_at

    @property
    def real_to_fake_ratio(self) -> float | None:
        """Frames called real ÷ frames called fake; None when no frame is called fake."""
        return self.real_frames / self.fake_frames if self.fake_frames and self.real_frames is not None else None

    @property
    def tracks(self) -> list[dict[str, Any]]:
        return list(self.result["tracks"]) if self.result else []


class LiveEvent(models.Model):
    """One thing that a running analysis told, for those who watch: see :mod:`media_analysis.live`.

    Each try is a stream of its own, named by its claim, with numbers from 0 without a gap. Rows live as long as
    somebody may watch, and go soon after the end.
    """

    class Kind(models.TextChoices):
        MEDIA = "media", _("file read")
        FRAME = "frame", _("frame searched")
        FACE = "face", _("face judged")
        PERSON = "person", _("person found")
        CONCLUDED = "concluded", _("concluded")

    analysis = models.ForeignKey(
        Analysis, models.CASCADE, related_name="live_events", verbose_name=_("analysis"), db_index=False
    )
    stream = models.CharField(_("claim of the try"), max_length=24)
    number = models.PositiveIntegerField(_("number"))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    payload = models.JSONField(_("content"))
    created_at = models.DateTimeField(_("written"), default=timezone.now)

    class Meta:
        verbose_name = _("live event")
        verbose_name_plural = _("live events")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "stream", "number"], name="one_live_event_per_number"),
        ]
        indexes = [models.Index(fields=["created_at"], name="live_event_age")]

    def __str__(self) -> str:
        return f"{self.stream} {self.number}"


class WorkerState(models.Model):
    """A worker's last word: that it lives, what it does, and which detector it has loaded.

    The guard of a queue says which lanes and which detector it serves, a process that examines which one it has loaded.
    """

    name = models.CharField(_("worker"), max_length=128, unique=True)
    detector = models.CharField(_("detector"), max_length=64, blank=True)
    detector_version = models.CharField(_("detector version"), max_length=32, blank=True)
    lanes = models.JSONField(_("lanes"), default=list, blank=True)
    # It finishes what it has and takes nothing more.
    draining = models.BooleanField(_("ending"), default=False)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    seen_at = models.DateTimeField(_("last sign of life"), default=timezone.now)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

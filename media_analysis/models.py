from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from accounts.models import PushDevice


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
        indexes = [models.Index(fields=["owner", "-created_at"], name="media_of_owner")]

    def __str__(self) -> str:
        return f"{self.original_name} ({self.public_id})"


class Submission(models.Model):
    """Who asked for a file to be examined, when, and which way it came."""

    class Source(models.TextChoices):
        WEB = "web", _("website")
        API = "api", _("app")
        LINK = "link", _("link")
        BOT = "bot", _("bot")
        COMMAND = "command", _("command line")

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


class CaseDetails(models.Model):
    """The police case that a file was submitted for, in the submitter's words."""

    class Gender(models.TextChoices):
        FEMALE = "female", _("female")
        MALE = "male", _("male")
        OTHER = "other", _("other")

    submission = models.OneToOneField(
        Submission, models.CASCADE, related_name="case_details", verbose_name=_("submission")
    )
    case_id = models.CharField(_("case number"), max_length=100, blank=True)
    officer_name = models.CharField(_("officer's name"), max_length=200, blank=True)
    officer_id = models.CharField(_("officer's number"), max_length=100, blank=True)
    station = models.CharField(_("police station"), max_length=200, blank=True)
    district = models.CharField(_("district"), max_length=100, blank=True)
    city = models.CharField(_("city"), max_length=100, blank=True)
    state = models.CharField(_("state"), max_length=100, blank=True)
    fir_id = models.CharField(_("FIR number"), max_length=100, blank=True)
    fir_date = models.DateField(_("date of the FIR"), null=True, blank=True)
    fir_description = models.TextField(_("what the FIR says"), max_length=5000, blank=True)
    person_mentioned = models.CharField(_("person mentioned"), max_length=200, blank=True)
    complainant_name = models.CharField(_("complainant's name"), max_length=200, blank=True)
    complainant_phone = models.CharField(_("complainant's telephone number"), max_length=30, blank=True)
    complainant_email = models.EmailField(_("complainant's e-mail address"), blank=True)
    complainant_address = models.TextField(_("complainant's address"), max_length=1000, blank=True)
    gender = models.CharField(_("gender"), max_length=8, choices=Gender, blank=True)

    class Meta:
        verbose_name = _("case details")
        verbose_name_plural = _("case details")

    def __str__(self) -> str:
        return self.case_id or str(self.submission)


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


class WorkerState(models.Model):
    """A worker's last word: that it lives, and which detector it has loaded."""

    name = models.CharField(_("worker"), max_length=128, unique=True)
    detector = models.CharField(_("detector"), max_length=64, blank=True)
    detector_version = models.CharField(_("detector version"), max_length=32, blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    seen_at = models.DateTimeField(_("last sign of life"), default=timezone.now)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


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
        READING = "reading", _("Reading the file")
        FINDING_FACES = "finding_faces", _("Looking for faces")
        JUDGING = "judging", _("Judging the faces")
        CONCLUDING = "concluding", _("Putting the result together")

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
    enqueued_at = models.DateTimeField(_("enqueued"), null=True, blank=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("last sign of life"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    # When its owner's notification was written; empty on a finished one whose worker was killed before that.
    announced_at = models.DateTimeField(_("announced"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("analysis")
        verbose_name_plural = _("analyses")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["status", "created_at"], name="analysis_by_status"),
            models.Index(fields=["announced_at", "status"], name="analysis_to_announce"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_finished(self) -> bool:
        return self.status in {self.Status.DONE, self.Status.FAILED}

    @property
    def real_to_fake_ratio(self) -> float | None:
        """Frames called real ÷ frames called fake; None when no frame is called fake."""
        return self.real_frames / self.fake_frames if self.fake_frames and self.real_frames is not None else None

    @property
    def tracks(self) -> list[dict[str, Any]]:
        return list(self.result["tracks"]) if self.result else []


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


class Feedback(models.Model):
    """What the owner of a finished analysis says about it, and whether the file may be used to improve the detector.

    Only its owner ever sets ``consent_at``: nobody else can permit, not even an administrator. A file leaves for
    training only while there is consent and a reviewer has said what the file really is.
    Opinion and review go with the analysis when its file is deleted.
    """

    class Opinion(models.TextChoices):
        AGREE = "agree", _("I agree: it is right")
        DISAGREE = "disagree", _("I disagree: it is wrong")

    class Review(models.TextChoices):
        WAITING = "waiting", _("waiting for review")
        REAL = "real", _("confirmed as real")
        FAKE = "fake", _("confirmed as fake")
        REJECTED = "rejected", _("not used")

    class Method(models.TextChoices):
        """How a fake was made. The values are folder names of exports."""

        FACE_SWAP = "face_swap", _("face swap")
        REENACTMENT = "reenactment", _("re-enacted expression")
        LIP_SYNC = "lip_sync", _("mouth changed to fit other words")
        GENERATED = "generated", _("wholly generated")
        RETOUCHED = "retouched", _("retouched or filtered")
        UNKNOWN = "unknown", _("unknown method")

    public_id = PublicIdField()
    analysis = models.ForeignKey(Analysis, models.CASCADE, related_name="feedback", verbose_name=_("analysis"))
    given_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="feedback", verbose_name=_("given by")
    )
    opinion = models.CharField(_("opinion"), max_length=8, choices=Opinion)
    comment = models.TextField(_("comment"), blank=True)
    # When its owner permitted the use of the file; empty where there is no consent, or none any more.
    consent_at = models.DateTimeField(_("consent given"), null=True, blank=True, editable=False)
    # The number of the wording that was agreed to: see media_analysis.feedback.CONSENT_VERSION.
    consent_version = models.PositiveSmallIntegerField(_("wording of the consent"), default=0, editable=False)
    exported_at = models.DateTimeField(_("handed over for training"), null=True, blank=True, editable=False)

    review = models.CharField(_("review"), max_length=8, choices=Review, default=Review.WAITING)
    fake_method = models.CharField(_("method of the fake"), max_length=16, choices=Method, blank=True)
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="feedback_reviews",
        verbose_name=_("reviewed by"),
    )
    reviewed_at = models.DateTimeField(_("reviewed"), null=True, blank=True)

    changed_on = models.DateField(_("day of the last change"), null=True, blank=True, editable=False)
    changes_that_day = models.PositiveSmallIntegerField(_("changes on that day"), default=0, editable=False)
    created_at = models.DateTimeField(_("given"), default=timezone.now)
    updated_at = models.DateTimeField(_("changed"), default=timezone.now)

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        ordering = ["-updated_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "given_by"], name="one_feedback_each"),
        ]
        indexes = [models.Index(fields=["review", "opinion"], name="feedback_queue")]
        permissions = [("review_feedback", _("Can decide what a disputed file really is"))]

    def __str__(self) -> str:
        return self.public_id


class Notification(models.Model):
    """What somebody is told: that an examination of theirs ended. One for each time that it did."""

    class Kind(models.TextChoices):
        DONE = "done", _("examined")
        FAILED = "failed", _("failed")

    public_id = PublicIdField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="notifications", verbose_name=_("user")
    )
    analysis = models.ForeignKey(Analysis, models.CASCADE, related_name="notifications", verbose_name=_("analysis"))
    # Of the analysis: one that failed and was tried again ends a second time.
    finished_at = models.DateTimeField(_("finished"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    read_at = models.DateTimeField(_("read"), null=True, blank=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "finished_at"], name="one_notification_per_finish"),
        ]
        indexes = [models.Index(fields=["user", "read_at", "-created_at"], name="notifications_of_user")]

    def __str__(self) -> str:
        return self.public_id


class Delivery(models.Model):
    """A notification on its way to one device or mailbox. The rows are the queue: see media_analysis.deliveries."""

    class Channel(models.TextChoices):
        PUSH = "push", _("push message")
        EMAIL = "email", _("e-mail")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        DROPPED = "dropped", _("not wanted any more")

    notification = models.ForeignKey(
        Notification, models.CASCADE, related_name="deliveries", verbose_name=_("notification")
    )
    channel = models.CharField(_("channel"), max_length=8, choices=Channel)
    device = models.ForeignKey(
        PushDevice, models.SET_NULL, null=True, blank=True, related_name="deliveries", verbose_name=_("device")
    )
    # The device's public id, which outlives the device; empty for an e-mail.
    target = models.CharField(_("target"), max_length=24, blank=True)
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), default=timezone.now)
    # Names the try that owns the row while it is being sent.
    claim_token = models.CharField(_("claim"), max_length=24, blank=True)
    claimed_at = models.DateTimeField(_("claimed"), null=True, blank=True)
    # Just before an e-mail goes out: from here on nobody knows whether it did until `sent_at` says so.
    handed_over_at = models.DateTimeField(_("handed over"), null=True, blank=True)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=32, blank=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["notification", "channel", "target"], name="one_delivery_per_target"),
        ]
        indexes = [models.Index(fields=["status", "next_try_at"], name="deliveries_due")]

    def __str__(self) -> str:
        return f"{self.notification} {self.channel}"


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

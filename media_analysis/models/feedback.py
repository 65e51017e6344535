"""What people say about results."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from media_analysis.models.analysis import Analysis


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

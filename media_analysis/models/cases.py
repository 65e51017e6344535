"""The police cases that files belong to."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from media_analysis.models.media import Submission


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

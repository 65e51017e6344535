"""The police cases that files belong to: as told with one file, and as a folder that several people work on."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField
from media_analysis.models.media import Media, Submission


class CaseFields(models.Model):
    """What is known of a police case. Every field may be empty."""

    class Gender(models.TextChoices):
        FEMALE = "female", _("female")
        MALE = "male", _("male")
        OTHER = "other", _("other")

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
        abstract = True


class CaseDetails(CaseFields):
    """The police case that a file was submitted for, in the submitter's words."""

    submission = models.OneToOneField(
        Submission, models.CASCADE, related_name="case_details", verbose_name=_("submission")
    )

    class Meta:
        verbose_name = _("case details")
        verbose_name_plural = _("case details")

    def __str__(self) -> str:
        return self.case_id or str(self.submission)


class Case(CaseFields):
    """A folder for the files of one police case, which several people may look into. It goes with its owner."""

    class Status(models.TextChoices):
        OPEN = "open", _("open")
        CLOSED = "closed", _("closed")

    public_id = PublicIdField()
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="owned_cases", verbose_name=_("owner")
    )
    title = models.CharField(_("title"), max_length=200)
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.OPEN)
    created_at = models.DateTimeField(_("opened"), default=timezone.now)
    updated_at = models.DateTimeField(_("last changed"), default=timezone.now)

    class Meta:
        verbose_name = _("case")
        verbose_name_plural = _("cases")
        ordering = ["-updated_at", "-id"]

    def __str__(self) -> str:
        return f"{self.title} ({self.public_id})"

    @property
    def is_open(self) -> bool:
        return self.status == self.Status.OPEN


class CaseRole(models.TextChoices):
    """What somebody may do in a case; each may do what the next may, too."""

    OWNER = "owner", _("owner")
    EXAMINER = "examiner", _("examiner")
    VIEWER = "viewer", _("viewer")


class CaseMember(models.Model):
    """Somebody who may look into a case: its owner too, so that one question finds everybody."""

    case = models.ForeignKey(Case, models.CASCADE, related_name="members", verbose_name=_("case"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="case_memberships", verbose_name=_("user")
    )
    role = models.CharField(_("role"), max_length=8, choices=CaseRole)
    joined_at = models.DateTimeField(_("joined"), default=timezone.now)

    class Meta:
        verbose_name = _("member of a case")
        verbose_name_plural = _("members of cases")
        ordering = ["joined_at", "id"]
        constraints = [models.UniqueConstraint(fields=["case", "user"], name="one_membership_each")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class CaseInvitation(models.Model):
    """Somebody is asked to join a case. Until they do, they see nothing of it but its title and who asks.

    ``user`` is empty where nobody has an account of that name: whoever asks is not told the difference.
    """

    public_id = PublicIdField()
    case = models.ForeignKey(Case, models.CASCADE, related_name="invitations", verbose_name=_("case"))
    invited_as = models.CharField(_("invited as"), max_length=254)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="case_invitations",
        verbose_name=_("user"),
    )
    role = models.CharField(_("role"), max_length=8, choices=CaseRole)
    created_at = models.DateTimeField(_("invited"), default=timezone.now)

    class Meta:
        verbose_name = _("invitation to a case")
        verbose_name_plural = _("invitations to cases")
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["case", "invited_as"], name="one_invitation_each")]

    def __str__(self) -> str:
        return f"{self.invited_as} ({self.role})"


class CaseMedia(models.Model):
    """A file in a case. When the file is deleted its line stays, with the file's id and SHA-256."""

    case = models.ForeignKey(Case, models.CASCADE, related_name="files", verbose_name=_("case"))
    media = models.ForeignKey(
        Media, models.SET_NULL, null=True, blank=True, related_name="in_cases", verbose_name=_("media file")
    )
    media_public_id = models.CharField(_("public id of the file"), max_length=24)
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("added by"),
    )
    added_at = models.DateTimeField(_("added"), default=timezone.now)

    class Meta:
        verbose_name = _("file in a case")
        verbose_name_plural = _("files in cases")
        ordering = ["added_at", "id"]
        constraints = [models.UniqueConstraint(fields=["case", "media_public_id"], name="once_in_each_case")]

    def __str__(self) -> str:
        return self.media_public_id


class CaseNote(models.Model):
    """What somebody wrote into a case. Notes are only ever added."""

    public_id = PublicIdField()
    case = models.ForeignKey(Case, models.CASCADE, related_name="notes", verbose_name=_("case"))
    # Empty once the account is deleted.
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("author"),
    )
    text = models.TextField(_("note"), max_length=10_000)
    created_at = models.DateTimeField(_("written"), default=timezone.now)

    class Meta:
        verbose_name = _("note on a case")
        verbose_name_plural = _("notes on cases")
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return self.public_id

"""The rules for case fields, in one place: /api/v1/ takes them under these names, the phone apps under their own, the
website's form asks here too."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from accounts.ids import PUBLIC_ID_PATTERN
from accounts.texts import clean_text
from accounts.times import RowSerializer, UtcField
from media_analysis import cases
from media_analysis.case_details import (
    DATE_FORMATS,
    FIELDS,
    GENDERS,
    ascii_digits,
    validate_phone,
)
from media_analysis.models import (
    Analysis,
    Case,
    CaseDetails,
    CaseInvitation,
    CaseMember,
    CaseNote,
    CaseRole,
)

MAX_TITLE_LENGTH = 200
ROLES = [(role.value, role.label) for role in cases.ROLES]


def _limit(name: str) -> int:
    field: Any = CaseDetails._meta.get_field(name)
    return field.max_length  # type: ignore[no-any-return]


class CaseText(serializers.CharField):
    """Text that is cleaned before it is judged. Null and blanks are the same as nothing."""

    def __init__(self, *, name: str, lines: bool = False, **options: Any) -> None:
        self.lines = lines
        super().__init__(
            **{"required": False, "allow_blank": True, "allow_null": True, "max_length": _limit(name), **options}
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is None:
            return ""
        # What is far too long is refused as it is: cleaning megabytes would take long.
        if isinstance(data, str) and len(data) <= 4 * (self.max_length or 0):
            data = clean_text(data, lines=self.lines)
        return super().run_validation(data)


class CasePhone(CaseText):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.validators.append(validate_phone)

    def to_internal_value(self, data: Any) -> str:
        return ascii_digits(super().to_internal_value(data))


class CaseEmail(CaseText):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.validators.append(serializers.EmailField().validators[-1])


class CaseDate(serializers.DateField):
    default_error_messages = {"invalid": _("Enter a date such as 2026-11-22 or 22/11/2026.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"required": False, "allow_null": True, "input_formats": DATE_FORMATS, "initial": None, **options}
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and len(data) <= 100:
            data = ascii_digits(clean_text(data)) or None
        return super().run_validation(data)


class CaseGender(CaseText):
    default_error_messages = {"unknown": _("Enter female, male or other, or f or m.")}

    def to_internal_value(self, data: Any) -> str:
        gender = GENDERS.get(super().to_internal_value(data).lower())
        if gender is None:
            self.fail("unknown")
        return gender.value


class CaseDetailsInput(serializers.Serializer[None]):
    """The police case that the file belongs to. Every field may be absent or empty; unknown ones are ignored.

    Valid data holds fields of :class:`CaseDetails`, cleaned, those absent left out.
    """

    case_id = CaseText(name="case_id", help_text="Case number.")
    officer_name = CaseText(name="officer_name", help_text="The investigating officer's name.")
    officer_id = CaseText(name="officer_id", help_text="The officer's service number.")
    station = CaseText(name="station", help_text="Police station.")
    district = CaseText(name="district", help_text="District.")
    city = CaseText(name="city", help_text="City.")
    state = CaseText(name="state", help_text="State.")
    fir_id = CaseText(name="fir_id", help_text="Number of the First Information Report.")
    fir_date = CaseDate(help_text="Date of the FIR: 2026-11-22, 22/11/2026, 22-11-2026 or 22.11.2026.")
    fir_description = CaseText(name="fir_description", lines=True, help_text="What the FIR says.")
    person_mentioned = CaseText(name="person_mentioned", help_text="The person that the FIR mentions.")
    complainant_name = CaseText(name="complainant_name", help_text="The complainant's name.")
    complainant_phone = CasePhone(
        name="complainant_phone", help_text="The complainant's telephone number: 5 to 20 digits, and + ( ) - . / ."
    )
    complainant_email = CaseEmail(name="complainant_email", help_text="The complainant's e-mail address.")
    complainant_address = CaseText(name="complainant_address", lines=True, help_text="The complainant's address.")
    gender = CaseGender(name="gender", help_text="f, m, female, male or other, in capitals or not.")


class CaseInput(CaseDetailsInput):
    """A case of its own: what is known of it, under a title."""

    title = CaseText(
        name="case_id",
        max_length=MAX_TITLE_LENGTH,
        required=True,
        allow_blank=False,
        help_text="What its members call it.",
    )

    def validate_title(self, title: str) -> str:
        if not title:
            raise serializers.ValidationError(_("Give the case a title."))
        return title


class CaseChangeInput(CaseInput):
    """What shall be another; the rest stays as it is."""

    status = serializers.ChoiceField(Case.Status.choices, required=False, help_text="open, or closed.")


class CaseMediaInput(serializers.Serializer[None]):
    media = serializers.ListField(
        child=serializers.RegexField(rf"^{PUBLIC_ID_PATTERN}\Z"),
        min_length=1,
        max_length=cases.MAX_FILES,
        help_text="The files' ids: `media.id` of their analyses.",
    )


class AddedOutput(serializers.Serializer[None]):
    added = serializers.IntegerField(min_value=0, help_text="How many were not in the case before.")


class CaseNoteInput(serializers.Serializer[None]):
    text = serializers.CharField(max_length=cases.MAX_NOTE_LENGTH, help_text="What is to be remembered.")


class InvitationInput(serializers.Serializer[None]):
    who = serializers.CharField(max_length=254, help_text="Exact user name or e-mail address.")
    role = serializers.ChoiceField(ROLES, help_text="examiner adds files and notes, viewer looks and downloads.")


class RoleInput(serializers.Serializer[None]):
    role = serializers.ChoiceField(ROLES, help_text="examiner adds files and notes, viewer looks and downloads.")


class CaseNoteOutput(RowSerializer[CaseNote]):
    id = serializers.CharField(source="public_id", help_text="The note's id.")
    author = serializers.CharField(
        source="author.username", default=None, allow_null=True, help_text="User name; null of a deleted account."
    )

    class Meta:
        model = CaseNote
        fields = ("id", "author", "text", "created_at")
        extra_kwargs = {
            "text": {"help_text": "The note. It never changes."},
            "created_at": {"help_text": "When it was written."},
        }


class CaseMemberOutput(RowSerializer[CaseMember]):
    user_id = serializers.CharField(source="user.public_id", help_text="The member's user id.")
    username = serializers.CharField(source="user.username", help_text="Their user name.")

    class Meta:
        model = CaseMember
        fields = ("user_id", "username", "role", "joined_at")
        extra_kwargs = {
            "role": {"help_text": "owner, examiner or viewer."},
            "joined_at": {"help_text": "Since when they are in the case."},
        }


class InvitationOutput(RowSerializer[CaseInvitation]):
    id = serializers.CharField(source="public_id", help_text="The invitation's id.")

    class Meta:
        model = CaseInvitation
        fields = ("id", "invited_as", "role", "created_at")
        extra_kwargs = {
            "invited_as": {"help_text": "The name or address that was given, whether or not there is such an account."},
            "role": {"help_text": "examiner or viewer."},
            "created_at": {"help_text": "When they were invited."},
        }


class InvitationToMeOutput(RowSerializer[CaseInvitation]):
    id = serializers.CharField(source="public_id", help_text="The invitation's id.")
    title = serializers.CharField(source="case.title", help_text="The case's title.")
    owner = serializers.CharField(source="case.owner.username", help_text="User name of who invites.")

    class Meta:
        model = CaseInvitation
        fields = ("id", "title", "owner", "role", "created_at")
        extra_kwargs = {
            "role": {"help_text": "examiner adds files and notes, viewer looks and downloads."},
            "created_at": {"help_text": "When you were invited."},
        }


class CaseFileOutput(serializers.Serializer[Any]):
    """A file in a case, with the state of its latest analysis."""

    media_id = serializers.CharField(source="line.media_public_id", help_text="The file's id.")
    sha256 = serializers.CharField(help_text="SHA-256 of the file as received; empty while a link is not fetched.")
    added_at = UtcField(source="line.added_at", help_text="When it was added.")
    added_by = serializers.CharField(
        source="line.added_by.username",
        default=None,
        allow_null=True,
        help_text="User name of who added it; null of a deleted account.",
    )
    deleted = serializers.SerializerMethodField(help_text="Whether the file was deleted. Then what follows is null.")
    original_name = serializers.CharField(
        source="media.original_name", default=None, allow_null=True, help_text="What the file was called."
    )
    owner = serializers.CharField(
        source="media.owner.username", default=None, allow_null=True, help_text="User name of the file's owner."
    )
    analysis_id = serializers.CharField(
        source="analysis.public_id", default=None, allow_null=True, help_text="The latest analysis."
    )
    status = serializers.ChoiceField(
        Analysis.Status.choices, source="analysis.status", default=None, allow_null=True, help_text="How far it is."
    )
    outcome = serializers.CharField(
        source="analysis.outcome",
        default=None,
        allow_null=True,
        help_text="FAKE, REAL, INCONCLUSIVE or NOT_ASSESSABLE; empty while it is not done.",
    )
    confidence = serializers.FloatField(
        source="analysis.confidence", default=None, allow_null=True, help_text="In percent, where there is one."
    )

    def get_deleted(self, file: cases.CaseFile) -> bool:
        return file.media is None


class CaseSummaryOutput(RowSerializer[Case]):
    """A case as its members see it in a list."""

    id = serializers.CharField(source="public_id", help_text="The case's id.")
    owner = serializers.CharField(source="owner.username", help_text="User name of its owner.")
    role = serializers.ChoiceField(CaseRole.choices, help_text="What you are in it.")
    file_count = serializers.IntegerField(help_text="How many files are in it, deleted ones too.")

    class Meta:
        model = Case
        fields: tuple[str, ...] = (
            *("id", "title", "status", "owner", "role", "file_count"),
            *("created_at", "updated_at"),
        )
        extra_kwargs = {
            "title": {"help_text": "What its members call it."},
            "status": {"help_text": "open, or closed: then nothing in it can be changed."},
            "created_at": {"help_text": "When it was opened."},
            "updated_at": {"help_text": "When something in it was changed last."},
        }


class MobileCaseInput(serializers.Serializer[None]):
    """The same fields by the phone apps' names."""

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for name, field in CaseDetailsInput().get_fields().items():
            published = FIELDS[name]
            fields[published] = _renamed(field, name) if published != name else field
        return fields


def _renamed(field: Any, source: str) -> Any:
    renamed = deepcopy(field)
    renamed.source = source
    return renamed


def filled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of valid data, the fields of :class:`CaseDetails` that are filled."""
    return {name: given[name] for name in FIELDS if given.get(name)}


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of valid data, the title and every field of :class:`CaseDetails`: what is absent is empty."""
    empty: dict[str, Any] = {name: None if name == "fir_date" else "" for name in FIELDS}
    return {**empty, **given}


def read_case(fields: Any) -> dict[str, Any]:
    """The case that came with a request, as fields of :class:`CaseDetails`; empty if none is filled.

    Raises ValidationError.
    """
    given = CaseDetailsInput(data=fields)
    given.is_valid(raise_exception=True)
    return filled(given.validated_data)


class CaseOutput(RowSerializer[CaseDetails]):
    """The police case that the file was submitted for."""

    class Meta:
        model = CaseDetails
        fields = tuple(FIELDS)
        extra_kwargs = {
            name: {"help_text": f"{field.help_text} Empty if not given."}
            for name, field in CaseDetailsInput().fields.items()
            if name not in {"fir_date", "gender"}
        } | {
            "fir_date": {"help_text": "Date of the FIR; null if not given."},
            "gender": {"help_text": "female, male or other; empty if not given."},
        }


class CaseFieldsOutput(RowSerializer[Case]):
    """What is known of a case."""

    class Meta:
        model = Case
        fields = CaseOutput.Meta.fields
        extra_kwargs = CaseOutput.Meta.extra_kwargs


class CaseDetailOutput(CaseSummaryOutput):
    """A case with what is known of it."""

    details = CaseFieldsOutput(source="*", help_text="What is known of the case.")

    class Meta(CaseSummaryOutput.Meta):
        fields = (*CaseSummaryOutput.Meta.fields, "details")

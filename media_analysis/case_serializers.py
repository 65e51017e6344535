"""The rules for case fields, in one place: /api/v1/ takes them under these names, the phone apps under their own, the
website's form asks here too."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from media_analysis.case_details import (
    DATE_FORMATS,
    FIELDS,
    GENDERS,
    ascii_digits,
    clean_text,
    validate_phone,
)
from media_analysis.models import CaseDetails

MAX_TITLE_LENGTH = 200


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


class CaseOutput(serializers.ModelSerializer[CaseDetails]):
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

"""The police case that a file belongs to: how its fields are cleaned, and how they are listed again."""

from __future__ import annotations

import unicodedata
from typing import Any

from django.core.validators import RegexValidator
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from media_analysis.models import Analysis, CaseDetails
from media_analysis.models.cases import CaseFields

# In the order in which they are asked for and shown: name here → name in the published API of the phone apps.
FIELDS = {
    "case_id": "caseId",
    "officer_name": "officerName",
    "officer_id": "officerId",
    "station": "station",
    "district": "district",
    "city": "city",
    "state": "state",
    "fir_id": "firId",
    "fir_date": "firDate",
    "fir_description": "firDesc",
    "person_mentioned": "personMentioned",
    "complainant_name": "cmpltName",
    "complainant_phone": "cmpltNumber",
    "complainant_email": "cmpltEmail",
    "complainant_address": "cmpltAddr",
    "gender": "gender",
}
# ISO, and as Indians write it.
DATE_FORMATS = ["%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y"]
GENDERS = {
    "f": CaseDetails.Gender.FEMALE,
    "m": CaseDetails.Gender.MALE,
    **{gender.value: gender for gender in CaseDetails.Gender},
}

validate_phone = RegexValidator(
    r"^\+?(?:[ ()./-]*[0-9]){5,20}[ ()./-]*$", _("Enter a telephone number: digits, and + ( ) - . / between them.")
)


def ascii_digits(text: str) -> str:
    """Digits of any script as 0 to 9, everything else as it is."""
    return "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in text)


def case_of(analysis: Analysis) -> CaseDetails | None:
    """The case that the file was submitted for, the latest if there are several."""
    cases = CaseDetails.objects.filter(submission__media_id=analysis.media_id)
    return cases.order_by("-submission__created_at", "-pk").first()


def case_rows(case: CaseFields | None) -> tuple[tuple[str, str], ...]:
    """What is filled, as label and text in the active language."""
    if case is None:
        return ()
    rows = []
    for name in FIELDS:
        field: Any = CaseDetails._meta.get_field(name)
        value = getattr(case, name)
        if name == "gender" and value:
            value = case.get_gender_display()
        elif name == "fir_date" and value:
            value = date_format(value)
        if value:
            rows.append((str(field.verbose_name), str(value)))
    return tuple(rows)

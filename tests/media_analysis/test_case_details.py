"""The police case by the other ways in than the phone apps', and where it is shown."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.texts import clean_text
from media_analysis.case_details import FIELDS, case_rows
from media_analysis.case_serializers import CaseDetailsInput, MobileCaseInput, read_case
from media_analysis.models import Analysis, CaseDetails, Submission
from tests.media_analysis.factories import make_done
from tests.media_analysis.test_submit import assert_nothing_is_left

pytestmark = pytest.mark.django_db(transaction=True)

NEW = "/analyses/new/"
CASE = {"case_id": "17/2026", "fir_date": "2026-11-22", "complainant_email": "a@example.in", "gender": "other"}


@pytest.fixture
def with_case(owner: User) -> Analysis:
    analysis = make_done(owner)
    submission = Submission.objects.create(media=analysis.media, submitted_by=owner, source="api")
    CaseDetails.objects.create(submission=submission, case_id="17/2026", fir_date=date(2026, 11, 22), gender="male")
    return analysis


def send(client: Client, url: str, path: Path, **fields: Any) -> Any:
    with path.open("rb") as file:
        return client.post(url, {"file": file, **fields})


def test_every_column_is_taken_under_both_names_and_shown() -> None:
    columns = {field.name for field in CaseDetails._meta.fields} - {"id", "submission"}
    assert set(FIELDS) == columns == set(CaseDetailsInput().fields)
    assert set(FIELDS.values()) == set(MobileCaseInput().fields)


def test_the_form_keeps_a_case(as_owner: Client, clip: Path) -> None:
    page = as_owner.get(NEW).content.decode()
    assert 'name="complainant_email"' in page
    assert "<details" in page
    answer = send(as_owner, NEW, clip, **CASE, station="  Sadar\u202e ")
    assert answer.status_code == 302
    case = CaseDetails.objects.get()
    assert (case.case_id, case.fir_date, case.gender, case.station) == ("17/2026", date(2026, 11, 22), "other", "Sadar")


def test_the_form_without_a_case_keeps_none(as_owner: Client, clip: Path) -> None:
    assert send(as_owner, NEW, clip, **dict.fromkeys(FIELDS, "")).status_code == 302
    assert not CaseDetails.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("complainant_email", "no"), ("fir_date", "22nd"), ("gender", "x"), ("case_id", "x" * 101)]
)
def test_the_form_names_a_wrong_field_and_keeps_what_was_written(  # noqa: PLR0917
    as_owner: Client, owner: User, settings: Any, clip: Path, name: str, value: str
) -> None:
    answer = send(as_owner, NEW, clip, **{"station": "Sadar Bazar", name: value})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "Something in the case details is not right" in page
    assert list(answer.context["case_form"].errors) == [name]
    assert f'id="case_{name}_error"' in page
    assert 'value="Sadar Bazar"' in page
    assert " open>" in page
    assert_nothing_is_left(settings, owner)


def test_the_admin_shows_the_case_and_changes_nothing(as_admin: Client, with_case: Analysis) -> None:
    submission = Submission.objects.get()
    url = reverse("admin:media_analysis_submission_change", args=[submission.pk])
    page = as_admin.get(url).content.decode()
    assert "17/2026" in page
    assert 'name="case_details-0-case_id"' not in page
    as_admin.post(url, {"case_details-0-case_id": "18"})
    assert CaseDetails.objects.get().case_id == "17/2026"
    media = as_admin.get(reverse("admin:media_analysis_media_change", args=[with_case.media_id])).content.decode()
    assert url in media
    found = as_admin.get(reverse("admin:media_analysis_submission_changelist"), {"q": "17/2026"}).content.decode()
    assert submission.public_id in found


def test_the_case_goes_with_the_file(as_owner: Client, with_case: Analysis) -> None:
    as_owner.post(reverse("media_analysis:delete", args=[with_case.media.public_id]))
    assert not CaseDetails.objects.exists()


def test_only_what_is_filled_is_listed_in_order(with_case: Analysis) -> None:
    assert case_rows(CaseDetails.objects.get()) == (
        ("case number", "17/2026"),
        ("date of the FIR", "22 November 2026"),
        ("gender", "male"),
    )
    assert case_rows(None) == ()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a \t b\n", "a   b"),
        ("a\x00\x1b[31mb\x7f", "a[31mb"),
        ("\u202eevil\u2066 \u200fx", "evil x"),
        ("a\u00a0b\u2028c", "a b c"),
        # क्‍ष and its like are spelled with a joiner.
        ("क्\u200dष", "क्\u200dष"),
        ("e\u0301", "\u00e9"),
        ("\u0000", ""),
    ],
)
def test_text_is_cleaned_without_harm_to_indian_scripts(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize("written", ["2026-11-02", "02/11/2026", "2/11/2026", "02-11-2026", "02.11.2026", "०२/११/२०२६"])
def test_dates_are_read_as_indians_write_them(written: str) -> None:
    assert read_case({"fir_date": written}) == {"fir_date": date(2026, 11, 2)}


@pytest.mark.parametrize(("written", "gender"), [("F", "female"), ("m", "male"), ("MALE", "male"), ("Other", "other")])
def test_gender_is_read_in_any_case(written: str, gender: str) -> None:
    assert read_case({"gender": written}) == {"gender": gender}


@pytest.mark.parametrize("written", ["+91 98765 43210", "(0562) 222-33-44", "98765.43210", "+९१ ९८७६५४३२१०", "100 200"])
def test_telephone_numbers_may_be_written_in_many_ways(written: str) -> None:
    assert read_case({"complainant_phone": written})["complainant_phone"].isascii()

"""The police case in /api/v1/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from media_analysis.case_details import FIELDS
from tests.media_analysis.factories import make_done
from tests.media_analysis.test_case_details import CASE, send
from tests.media_analysis.test_submit import assert_nothing_is_left

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_api_takes_and_gives_the_case_by_its_own_names(as_owner: Client, clip: Path) -> None:
    answer = send(as_owner, "/api/v1/analyses/", clip, **CASE)
    assert answer.status_code == 201, answer.content
    case = as_owner.get(f"/api/v1/analyses/{answer.json()['id']}/").json()["case"]
    assert set(case) == set(FIELDS)
    assert case == {**dict.fromkeys(FIELDS, ""), **CASE}


def test_the_api_names_a_wrong_field_by_its_own_name(as_owner: Client, owner: User, settings: Any, clip: Path) -> None:
    answer = send(as_owner, "/api/v1/analyses/", clip, complainant_phone="none")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["complainant_phone"])
    assert_nothing_is_left(settings, owner)


def test_an_analysis_without_a_case_has_null(as_owner: Client, owner: User) -> None:
    assert as_owner.get(f"/api/v1/analyses/{make_done(owner).public_id}/").json()["case"] is None

"""The pages for when something is wrong come without what the others rely on."""

from __future__ import annotations

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.utils import translation


@pytest.mark.parametrize("name", ["400.html", "403.html", "404.html", "500.html", "503.html"])
def test_an_error_page_needs_neither_request_nor_context(name: str) -> None:
    page = render_to_string(name)
    assert page.count("<h1>") == 1
    assert "<html" in page


@pytest.mark.parametrize("name", ["500.html", "503.html"])
def test_what_is_read_out_is_said_in_its_own_language(name: str) -> None:
    with translation.override("hi"):
        assert '<html lang="hi">' in render_to_string(name)


def test_an_unknown_address_has_a_page(db: None) -> None:
    answer = Client().get("/no/such/page/")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_a_form_without_its_mark_is_told_to_be_sent_again(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post("/accounts/login/", {"username": "owner", "password": "guess"})
    assert answer.status_code == 403
    assert "This form has expired" in answer.content.decode()


def test_an_address_that_takes_forms_only_has_a_page_for_who_opens_it(as_owner: Client) -> None:
    answer = as_owner.get("/notifications/read/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "This address does not take such requests." in answer.content.decode()
    assert 'href="/"' in answer.content.decode()

"""The police case on the upload form, with JavaScript and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.media_factory import make_image

pytestmark = pytest.mark.browser

SUMMARY = "Case details, for police"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return make_image(tmp_path / "photo.png")


def fill(page: Page, email: str) -> None:
    page.get_by_label("Case number").fill("17/2026")
    page.get_by_label("Complainant's e-mail address").fill(email)


def test_a_wrong_field_is_shown_and_the_file_stays_chosen(visitor: Visitor, photo: Path) -> None:
    page = visitor.page
    visitor.sign_up("officer")
    email = page.get_by_label("Complainant's e-mail address")
    expect(email).to_be_hidden()
    page.get_by_text(SUMMARY).click()
    visitor.check_page()
    visitor.choose(photo)
    # The browser finds nothing wrong with it, the server does.
    fill(page, "a@b")
    visitor.examine()
    expect(page.get_by_role("alert")).to_contain_text("Something in the case details is not right.")
    expect(email).to_be_focused()
    expect(email).to_have_accessible_description("Enter a valid email address.")
    expect(page.locator("[data-chosen]")).to_contain_text("photo.png")
    visitor.check_page()
    fill(page, "a@example.in")
    visitor.examine()
    expect(visitor.heading).to_have_text("Your file is being examined")


def test_without_javascript_too(visitor_without_javascript: Visitor, photo: Path) -> None:
    visitor, page = visitor_without_javascript, visitor_without_javascript.page
    visitor.sign_up("plain-officer")
    page.get_by_text(SUMMARY).click()
    visitor.choose(photo)
    fill(page, "a@b")
    visitor.examine()
    expect(page.get_by_role("alert")).to_contain_text("Something in the case details is not right.")
    expect(page.get_by_label("Case number")).to_have_value("17/2026")
    expect(page.get_by_label("Complainant's e-mail address")).to_have_attribute("aria-invalid", "true")
    fill(page, "a@example.in")
    visitor.choose(photo)
    visitor.examine()
    expect(visitor.heading).to_have_text("Your file is being examined")

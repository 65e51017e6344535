"""Saying whether a result is right, and reading what the site says of its detectors."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from ml.detectors.catalog import DEFAULT_DETECTOR
from tests.browser.conftest import Site, Visitor
from tests.media_factory import make_face_image
from tests.tiny_detector import NAME, write_error_rates

pytestmark = pytest.mark.browser

CONSENT = "This file may be used to improve the detector"


def test_an_opinion_is_given_by_keyboard_changed_and_its_consent_withdrawn(
    site: Site, visitor: Visitor, tmp_path: Path
) -> None:
    site.start_worker()
    page = visitor.page
    visitor.sign_up("critic")
    visitor.upload(make_face_image(tmp_path / "portrait.jpg"))
    expect(page.get_by_label(CONSENT)).not_to_be_checked()
    visitor.check_page()

    page.get_by_label("I agree").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("I took this picture.")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("Thank you.")
    expect(page.get_by_label("I disagree")).to_be_checked()
    expect(page.get_by_label("Comment")).to_have_value("I took this picture.")
    expect(page.get_by_label(CONSENT)).to_be_checked()
    visitor.check_page()

    page.get_by_role("button", name="Withdraw my permission").click()
    expect(page.get_by_role("status").first).to_contain_text("Your permission is withdrawn.")
    expect(page.get_by_label(CONSENT)).not_to_be_checked()
    expect(page.get_by_label("I disagree")).to_be_checked()


def test_without_javascript_an_opinion_is_given_too(
    site: Site, visitor_without_javascript: Visitor, tmp_path: Path
) -> None:
    site.start_worker()
    visitor = visitor_without_javascript
    page = visitor.page
    visitor.sign_up("plain-critic")
    visitor.choose(make_face_image(tmp_path / "portrait.jpg"))
    visitor.examine()
    visitor.wait_for_result()
    # A browser stops an empty form; one that does not gets the page back with what is missing.
    page.eval_on_selector_all("[required]", "fields => fields.forEach((field) => field.removeAttribute('required'))")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    page.get_by_label("I agree").check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status").first).to_contain_text("Thank you.")


def test_the_detectors_are_found_from_any_page_and_have_their_cards(site: Site, visitor: Visitor) -> None:
    folder = Path(site.environment["SENTINEL_DETECTORS_DIR"]) / NAME
    write_error_rates(folder)
    page = visitor.page
    visitor.go("/")
    link = page.get_by_role("link", name="The detectors and how well they do")
    link.focus()
    page.keyboard.press("Enter")
    expect(visitor.heading).to_have_text("Detectors")
    expect(page.locator("section h2").first).to_contain_text("in use here")
    visitor.check_page()

    page.get_by_role("link", name="Tiny test network").click()
    expect(page.get_by_role("row", name="Videos")).to_contain_text("1 of 20")
    visitor.check_page()
    # On a phone the rows are blocks, and still a table.
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.get_by_role("row", name="Videos").get_by_role("cell").first).to_contain_text("1 of 20")
    visitor.check_page()

    visitor.go(f"/models/{DEFAULT_DETECTOR}/")
    expect(page.get_by_role("region", name="Model card").get_by_role("table").first).to_be_visible()
    visitor.check_page()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the model card").click()
    assert download.value.suggested_filename.endswith("-model-card.md")


def test_a_results_detector_leads_to_its_card(site: Site, visitor: Visitor, tmp_path: Path) -> None:
    site.start_worker()
    visitor.sign_up("curious")
    visitor.upload(make_face_image(tmp_path / "portrait.jpg"))
    visitor.page.get_by_role("link", name=f"{NAME}, version").click()
    assert visitor.path == f"/models/{NAME}/"
    expect(visitor.heading).to_contain_text("Tiny test network")

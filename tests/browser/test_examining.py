"""From a clip to its result and away again."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Visitor
from tests.media_factory import make_face_image, make_face_video, make_image, make_two_faces_video

pytestmark = pytest.mark.browser


def download_report(page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report (PDF)").click()
    assert download.value.suggested_filename.startswith("sentinel-report-")
    assert download.value.path().read_bytes().startswith(b"%PDF-")
    expect(page.get_by_text("The report is ready.")).to_be_visible()


def test_a_dropped_clip_is_examined_shown_and_deleted(site: Site, visitor: Visitor, tmp_path: Path) -> None:
    site.stop_worker()
    page = visitor.page
    clip = make_two_faces_video(tmp_path / "clip.mp4", seconds=3, fps=10)
    visitor.go("/")
    visitor.check_page()
    visitor.go("/accounts/signup/")
    visitor.check_page()
    visitor.sign_up("asha-examines")
    visitor.check_page()
    before = site.stored_files()

    visitor.drop(clip, "a <b>bold</b> " + "long" * 40 + ".mp4")
    expect(page.locator("[data-chosen]")).to_contain_text("a <b>bold</b> long")
    visitor.examine()
    expect(visitor.heading).to_have_text("Your file is being examined")
    expect(page.locator("[data-position]")).to_contain_text("The examination service is not running right now.")
    visitor.check_page()
    page.reload()
    expect(page.get_by_role("progressbar")).to_be_visible()

    site.start_worker()
    visitor.wait_for_result()
    expect(visitor.heading).to_have_text("Signs of manipulation found")
    expect(page.get_by_text("decides the verdict", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="Fake probability over time")).to_be_visible()
    first_face = page.get_by_role("img", name="Face of person 1").first
    expect(first_face).to_be_visible()
    first_face.scroll_into_view_if_needed()
    expect(first_face).not_to_have_js_property("naturalWidth", 0)
    expect(page.locator(".key-frames image").first).to_be_visible()
    assert page.locator(".key-frames .box").count() >= 2
    visitor.check_page()
    result = visitor.path

    download_report(page)

    page.get_by_role("link", name="History").click()
    expect(page.locator(".entries")).to_contain_text("Signs of manipulation found")
    visitor.check_page()
    page.get_by_role("link", name="Open").click()
    expect(visitor.heading).to_have_text("Signs of manipulation found")

    assert site.stored_files() - before
    page.get_by_role("link", name="Delete").click()
    expect(visitor.heading).to_have_text("Delete this file?")
    visitor.check_page()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("status").first).to_contain_text("was deleted")
    page.get_by_text("Receipts of deleted files").click()
    expect(page.locator(".receipts code")).to_have_count(2)
    visitor.check_page()
    # What others left may be tidied away meanwhile.
    assert site.stored_files() <= before
    assert visitor.go(result) == 404


def test_without_javascript_a_clip_is_examined_too(
    site: Site, visitor_without_javascript: Visitor, tmp_path: Path
) -> None:
    site.start_worker()
    visitor = visitor_without_javascript
    visitor.sign_up("plain")
    visitor.choose(make_face_video(tmp_path / "clip.mp4", seconds=2, fps=10))
    visitor.examine()
    visitor.wait_for_result()
    expect(visitor.heading).to_have_text("Signs of manipulation found")
    expect(visitor.page.get_by_role("img", name="Face of person 1").first).to_be_visible()


def test_a_photo_has_a_result_without_a_curve(site: Site, visitor: Visitor, tmp_path: Path) -> None:
    site.start_worker()
    visitor.sign_up("photographer")
    visitor.upload(make_face_image(tmp_path / "portrait.jpg"))
    expect(visitor.page.get_by_role("heading", name="The photo with the faces found")).to_be_visible()
    expect(visitor.page.locator(".curve")).to_have_count(0)
    visitor.check_page()


def test_the_history_is_narrowed_down_by_result_and_name(site: Site, visitor: Visitor, tmp_path: Path) -> None:
    site.start_worker()
    page = visitor.page
    visitor.sign_up("collector")
    visitor.go("/analyses/")
    expect(page.get_by_text("Nothing examined yet")).to_be_visible()
    visitor.check_page()
    visitor.upload(make_image(tmp_path / "bars.png"))
    expect(visitor.heading).to_contain_text("Could not be examined, because")
    visitor.check_page()
    visitor.upload(make_face_image(tmp_path / "portrait.jpg"))

    visitor.go("/analyses/")
    expect(page.locator(".entries > li")).to_have_count(2)
    page.get_by_label("Show").select_option("Could not be examined")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".entries .title")).to_have_text(["bars.png"])
    page.get_by_label("Name contains").fill("portrait")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("Nothing matches this filter")).to_be_visible()
    visitor.check_page()
    page.get_by_role("link", name="Show everything").first.click()
    expect(page.locator(".entries > li")).to_have_count(2)

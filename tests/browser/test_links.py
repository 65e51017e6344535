"""A pasted link: fetched before one's eyes, examined, and told where it came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Visitor
from tests.media_factory import make_face_video, make_video

pytestmark = pytest.mark.browser


def paste(visitor: Visitor, link: str) -> None:
    visitor.go("/analyses/new/")
    visitor.page.get_by_label("Link to a video or photo").fill(link)
    visitor.examine()


def facts(page: Page) -> str:
    return page.locator("section", has=page.get_by_role("heading", name="Where the file comes from")).inner_text()


def test_a_pasted_link_is_fetched_examined_and_the_second_time_there_at_once(
    site: Site, visitor: Visitor, tmp_path: Path
) -> None:
    site.videos.files["/clip.mp4"] = make_face_video(tmp_path / "clip.mp4", seconds=2).read_bytes()
    link = site.videos.add_page("abc", f"{site.videos.url}/slow.mp4", duration="PT2S")
    # Slow enough to be seen.
    site.videos.pause = 4 / (len(site.videos.files["/clip.mp4"]) / 16384)
    page = visitor.page
    site.stop_worker()
    visitor.sign_up("leela")
    visitor.check_page()
    paste(visitor, link)
    expect(visitor.heading).to_have_text("The video is being fetched")
    expect(page.locator("[data-stage]")).to_have_text("Fetching the video")
    visitor.check_page()
    result = visitor.path

    site.start_worker()
    expect(page.locator("[data-percent]")).to_have_text(re.compile("[1-9]"), timeout=60_000)
    expect(visitor.heading).to_have_text("Your file is being examined", timeout=60_000)
    visitor.wait_for_result()
    assert visitor.path == result
    expect(visitor.heading).to_have_text("Signs of manipulation found")
    shown = facts(page)
    for text in (link, "Minister sings", "Village News", "20 November 2026, 10:15", "yt-dlp", "127.0.0.1"):
        assert text in shown, shown
    visitor.check_page()

    site.stop_worker()
    paste(visitor, f"{link}&utm_source=chat")
    expect(page.get_by_text("You had this link examined already")).to_be_visible()
    assert visitor.path == result
    visitor.go("/analyses/new/")
    expect(page.get_by_text("9 of 10 examinations left today.")).to_be_visible()


def test_of_a_long_video_a_part_can_be_examined(site: Site, visitor: Visitor, tmp_path: Path) -> None:
    long = make_video(tmp_path / "long.mp4", seconds=75, fps=5, size=(64, 48), options={"g": "10"})
    site.videos.files["/long.mp4"] = long.read_bytes()
    page = visitor.page
    site.start_worker()
    visitor.sign_up("meena")
    paste(visitor, f"{site.videos.file_url}/long.mp4")
    expect(visitor.heading).to_have_text("The examination failed", timeout=60_000)
    expect(page.get_by_text("it cost none of your examinations")).to_be_visible()
    visitor.check_page()
    page.get_by_label("From", exact=True).fill("0:70")
    page.get_by_label("To", exact=True).fill("1:1x")
    page.get_by_role("button", name="Examine this part").click()
    expect(page.get_by_text("Enter a time such as 1:30.")).to_be_visible()
    visitor.check_page()
    page.get_by_label("To", exact=True).fill("1:14")
    visitor.examine()
    visitor.wait_for_result()
    expect(visitor.heading).to_contain_text("Could not be examined")
    assert "from 1:10 to 1:1" in facts(page)


def test_without_javascript_links_work_and_refusals_are_told(site: Site, visitor_without_javascript: Visitor) -> None:
    visitor, page = visitor_without_javascript, visitor_without_javascript.page
    site.start_worker()
    visitor.sign_up("nila")
    paste(visitor, "http://127.0.0.1/clip.mp4")
    expect(page.get_by_role("alert")).to_contain_text("This is not a link to a public web page or file.")
    paste(visitor, f"{site.videos.file_url}/private")
    expect(visitor.heading).to_have_text("The examination failed", timeout=60_000)
    expect(page.get_by_text("This site does not let us fetch the video.")).to_be_visible()
    visitor.go("/analyses/new/")
    expect(page.get_by_text("10 of 10 examinations left today.")).to_be_visible()
    visitor.examine()
    expect(page.get_by_role("alert")).to_contain_text("Choose a video or a photo first.")

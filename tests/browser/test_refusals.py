"""What cannot be taken is refused with a text that says why, and the page stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import MAX_UPLOAD_BYTES, Site, Visitor
from tests.media_factory import make_video

pytestmark = pytest.mark.browser

UNREADABLE = "This file cannot be read as a video or a photo."
TOO_LONG = "The video is longer than 60 seconds."
TOO_LARGE = f"The file is larger than {MAX_UPLOAD_BYTES // 1024 // 1024} MB."


@pytest.fixture(scope="module")
def refused_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By the text of the refusal."""
    folder = tmp_path_factory.mktemp("refused")
    text = folder / "notes.mp4"
    text.write_text("This is no video.\n" * 50, encoding="utf-8")
    large = folder / "large.mp4"
    large.write_bytes(bytes(MAX_UPLOAD_BYTES + 1))
    long = make_video(folder / "long.mp4", seconds=61, fps=5, size=(160, 120))
    return {UNREADABLE: text, TOO_LARGE: large, TOO_LONG: long}


def test_refused_files_leave_the_page_and_a_clear_text(visitor: Visitor, refused_files: dict[str, Path]) -> None:
    visitor.sign_up("refused")
    for text, file in refused_files.items():
        visitor.choose(file)
        visitor.examine()
        expect(visitor.page.get_by_role("alert")).to_contain_text(text)
        expect(visitor.page.get_by_role("alert")).to_be_in_viewport(ratio=1)
        expect(visitor.page.get_by_role("button", name="Examine")).to_be_enabled()
    visitor.check_page()
    expect(visitor.page.locator("form[data-upload]")).to_contain_text("10 of 10 examinations left today.")


def test_refused_files_get_the_same_texts_without_javascript(
    visitor_without_javascript: Visitor, refused_files: dict[str, Path]
) -> None:
    visitor = visitor_without_javascript
    visitor.sign_up("refused-plainly")
    for text, file in refused_files.items():
        visitor.choose(file)
        visitor.examine()
        expect(visitor.page.get_by_role("alert")).to_contain_text(text)


def test_an_upload_can_be_cancelled(visitor: Visitor, refused_files: dict[str, Path]) -> None:
    visitor.sign_up("hesitant")
    # Held back on its way, so that there is time to cancel it.
    visitor.page.route("**/api/v1/analyses/", lambda route: None)
    visitor.choose(refused_files[TOO_LONG])
    visitor.examine()
    visitor.page.get_by_role("button", name="Cancel").click()
    expect(visitor.page.get_by_role("alert")).to_have_text("Cancelled. Nothing was examined.")
    expect(visitor.page.get_by_role("button", name="Examine")).to_be_enabled()


def test_a_lost_connection_is_told_and_the_file_stays_chosen(visitor: Visitor, refused_files: dict[str, Path]) -> None:
    page, keys = visitor.page, []

    def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.abort("connectionreset")

    visitor.sign_up("offline")
    page.route("**/api/v1/analyses/", lose)
    visitor.choose(refused_files[TOO_LONG])
    visitor.examine()
    expect(page.get_by_role("alert")).to_contain_text("The connection was lost before the file had arrived.")
    expect(page.locator("[data-chosen]")).to_contain_text("long.mp4")
    # Whether it had arrived after all, nobody knows: the same again must not cost twice, and another file does.
    with page.expect_request("**/api/v1/analyses/"):
        visitor.examine()
    expect(page.get_by_role("alert")).to_be_visible()
    visitor.choose(refused_files[UNREADABLE])
    with page.expect_request("**/api/v1/analyses/"):
        visitor.examine()
    expect(page.get_by_role("alert")).to_be_visible()
    assert keys[0] == keys[1] != keys[2]


def test_the_form_is_gone_when_nobody_is_logged_in(site: Site, visitor: Visitor) -> None:
    visitor.go("/analyses/new/")
    assert visitor.path == "/accounts/login/?next=/analyses/new/"
    visitor.check_page()

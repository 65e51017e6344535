"""The video of a result in Chromium: played, searched by curve, keys and stretches, and where it can't be played."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, Visitor
from tests.conftest import PASSWORD
from tests.media_factory import counter_frame, face_frame, make_video

pytestmark = pytest.mark.browser

NAME = "viewer"
# Seconds between which the face is in the picture, of four.
FROM, TO = 1.5, 3.0


def frame(number: int) -> object:
    return face_frame(number) if FROM <= number / 10 < TO else counter_frame(number)


@pytest.fixture(scope="module")
def results(site: Site, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Results of one clip, by the file's name. Of the second Chromium knows the sound only, of the third nothing."""
    folder = tmp_path_factory.mktemp("clips")
    site.start_worker()
    context = chromium.new_context(locale="en-IN")
    context.set_default_timeout(20_000)
    visitor = Visitor(site, context)
    visitor.sign_up(NAME)
    found = {}
    for name, codec in (("h264.mp4", "libx264"), ("mpeg4.mp4", "mpeg4"), ("mpeg4.avi", "mpeg4")):
        clip = make_video(folder / name, codec=codec, seconds=4, fps=10, frames=frame, audio=True)  # type: ignore[arg-type]
        found[name] = visitor.upload(clip)
    context.close()
    return found


@pytest.fixture
def page(visitor: Visitor) -> Iterator[Page]:
    visitor.log_in(NAME, PASSWORD)
    expect(visitor.heading).to_have_text("Examine a video or photo")
    yield visitor.page
    assert visitor.complaints == []


def now(page: Page) -> float:
    return float(page.evaluate("document.querySelector('video').currentTime"))


def wait_for(page: Page, condition: Callable[[], bool]) -> None:
    """Polled from here: the page's policy keeps Playwright from evaluating text in it again and again."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(20)


def has_picture(page: Page) -> bool:
    """Whether a sampled frame lies over the video."""
    return bool(page.locator("[data-overlay] image").get_attribute("href"))


def test_a_video_plays_with_its_boxes_and_the_log_says_so(
    visitor: Visitor, page: Page, results: dict[str, str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/file") else None)
    visitor.go(results["h264.mp4"])
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    visitor.check_page()
    assert asked == []
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    wait_for(page, lambda: now(page) > 1.6)
    page.get_by_role("button", name="Pause").click()
    assert not has_picture(page)
    expect(page.locator("[data-overlay] .box-fake")).to_have_count(1)
    expect(page.locator("strong[data-title]")).to_contain_text("nearest frame")
    assert asked
    for event in ("viewed", "downloaded"):
        # Of everything that a player asks, one event; of what was not asked, none.
        log = visitor.site.manage("shell", "-c", COUNT.format(media=asked[0].split("/")[-2], event=event)).stdout
        assert log.strip().endswith("1" if event == "viewed" else "0"), log


COUNT = """
from media_analysis import custody
log = custody.events_of("{media}").filter(event="{event}")
print(sum(event.details.get("what") == "original" for event in log))
"""


def test_the_curve_shows_the_frame_under_pointer_finger_and_keys(
    visitor: Visitor, page: Page, results: dict[str, str]
) -> None:
    visitor.go(results["h264.mp4"])
    curve = page.get_by_role("slider", name="Frames looked at")
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] * 0.55, box["y"] + 40
    page.mouse.move(*middle)
    expect(page.locator("strong[data-title]")).to_have_text("Frame 22 at 2.20 s.")
    assert has_picture(page)
    page.mouse.move(0, 0)
    expect(page.locator("strong[data-title]")).to_contain_text("nearest frame")
    assert not has_picture(page)
    page.mouse.click(*middle)
    page.mouse.move(0, 0)
    expect(page.locator("strong[data-title]")).to_have_text("Frame 22 at 2.20 s.")
    expect(page.locator("[data-faces]")).to_contain_text("called fake (full line)")
    wait_for(page, lambda: abs(now(page) - 2.2) < 0.01)
    picture = page.locator("[data-overlay] image")
    assert picture.evaluate(
        "async (it) => { const i = new Image(); i.src = it.href.baseVal; await i.decode(); return i.width; }"
    )
    curve.focus()
    page.keyboard.press("Home")
    expect(curve).to_have_attribute("aria-valuenow", "1")
    expect(curve).to_have_attribute("aria-valuetext", "Frame 0 at 0.00 s. Person 1: not found in this frame.")
    expect(page.locator("[data-overlay] .box")).to_have_count(0)
    page.keyboard.press("ArrowRight")
    expect(curve).to_have_attribute("aria-valuenow", "2")
    page.keyboard.press("End")
    expect(curve).to_have_attribute("aria-valuenow", "32")
    visitor.check_page()


def test_a_finger_drags_along_the_curve(site: Site, chromium: Browser, results: dict[str, str]) -> None:
    context = chromium.new_context(locale="en-IN", viewport={"width": 320, "height": 700}, has_touch=True)
    context.set_default_timeout(20_000)
    visitor = Visitor(site, context)
    visitor.log_in(NAME, PASSWORD)
    expect(visitor.heading).to_have_text("Examine a video or photo")
    visitor.go(results["h264.mp4"])
    curve = visitor.page.get_by_role("slider", name="Frames looked at")
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    assert box is not None
    curve.tap(position={"x": box["width"] * 0.25, "y": 40})
    expect(visitor.page.locator("strong[data-title]")).to_have_text("Frame 10 at 1.00 s.")
    assert has_picture(visitor.page)
    context.close()


def test_stretches_are_marked_and_jumped_to(visitor: Visitor, page: Page, results: dict[str, str]) -> None:
    visitor.go(results["h264.mp4"])
    seek = page.get_by_role("slider", name="Position in the video")
    mark, track = page.locator("[data-plot] .seek-mark").bounding_box(), page.locator(".seek-line").bounding_box()
    assert mark is not None
    assert track is not None
    start = 4 * (mark["x"] - track["x"]) / track["width"]
    assert start == pytest.approx(FROM, abs=0.15)
    page.get_by_role("button", name="To the next stretch").click()
    wait_for(page, lambda: abs(now(page) - start) < 0.05)
    expect(seek).to_have_attribute("aria-valuetext", "1.4 of 4.0 s, in a stretch called fake")
    seek.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, lambda: now(page) > start + 0.9)
    page.keyboard.press("Home")
    wait_for(page, lambda: now(page) == 0)
    expect(seek).to_have_attribute("aria-valuetext", "0.0 of 4.0 s")
    page.keyboard.press("PageDown")
    wait_for(page, lambda: abs(now(page) - start) < 0.05)
    page.locator("[data-stretch]").click()
    assert now(page) == pytest.approx(start, abs=0.05)
    # The curve's dots of the stretch lie under its mark.
    dots = [dot.bounding_box() for dot in page.locator(".plot-area .dot").all()]
    assert dots
    for dot in dots:
        assert dot is not None
        centre = dot["x"] + dot["width"] / 2
        assert mark["x"] - 1 <= centre <= mark["x"] + mark["width"] + 1


@pytest.mark.parametrize("name", ["mpeg4.mp4", "mpeg4.avi"])
def test_what_the_browser_cannot_play_is_stepped_through(
    visitor: Visitor, page: Page, results: dict[str, str], name: str
) -> None:
    visitor.go(results[name])
    expect(page.get_by_text("This browser can’t play this video")).to_be_hidden()
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_text("This browser can’t play this video")).to_be_visible()
    wait_for(page, lambda: float(page.locator("[data-time]").inner_text().split()[0]) >= 2)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("strong[data-title]")).to_contain_text("Frame")
    assert has_picture(page)
    expect(page.locator("[data-overlay] .box-fake")).to_have_count(1)
    page.get_by_role("button", name="To the stretch before").click()
    # In an AVI file, all comes a frame later.
    expect(page.locator("[data-time]")).to_have_text(re.compile(r"1\.[45] of 4\.\d s"))


def test_a_slider_lays_the_heat_map_over_the_face(visitor: Visitor, page: Page, results: dict[str, str]) -> None:
    visitor.go(results["h264.mp4"])
    strength = page.get_by_label("Strength of the heat map").first
    strength.scroll_into_view_if_needed()
    face, heat = page.locator("[data-heat]").first.locator("img").all()
    for picture in (face, heat):
        # Both are fetched only when they come into view.
        expect(picture).not_to_have_js_property("naturalWidth", 0)
    assert face.bounding_box() == heat.bounding_box()
    assert heat.evaluate("(it) => getComputedStyle(it).opacity") == "1"
    strength.focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    expect(strength).to_have_attribute("aria-valuetext", "70 %")
    assert heat.evaluate("(it) => getComputedStyle(it).opacity") == "0.7"


def test_without_javascript_the_browser_plays_and_pictures_lie_side_by_side(
    visitor_without_javascript: Visitor, results: dict[str, str]
) -> None:
    visitor = visitor_without_javascript
    visitor.log_in(NAME, PASSWORD)
    expect(visitor.heading).to_have_text("Examine a video or photo")
    visitor.go(results["h264.mp4"])
    page = visitor.page
    expect(page.locator("video[controls]")).to_be_visible()
    expect(page.get_by_role("slider", name="Position in the video")).to_be_hidden()
    source = page.locator("video").get_attribute("src")
    stretch = page.get_by_role("link", name="1.4–2.9 s")
    expect(stretch).to_have_attribute("href", f"{source}#t=1.40,2.90")
    page.locator(".heat-pictures").first.scroll_into_view_if_needed()
    face, heat = (picture.bounding_box() for picture in page.locator(".heat-pictures").first.locator("img").all())
    assert face is not None
    assert heat is not None
    assert face["x"] + face["width"] <= heat["x"]

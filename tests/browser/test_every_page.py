"""What holds on every page: nobody is kept out, nothing is cut off in any language, and none is heavy or jumps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.conftest import RESULT_MS, Site, Visitor
from tests.browser.pages import (
    FIND_CUT_OFF,
    LANGUAGES,
    MOST_BYTES,
    MOST_SHIFT,
    WATCH_SHIFTS,
    View,
    cookies_of,
    fill_site,
    weigh,
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def filled(
    site: Site, tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> Iterator[tuple[Site, list[View], list[Any]]]:
    """The site in use, its pages, and the cookies of who uses it."""
    site.start_worker()
    context = chromium.new_context(locale="en")
    page = context.new_page()
    shown = fill_site(site, page, tmp_path_factory.mktemp("filled"))
    yield site, shown, cookies_of(context)
    # What waits would be before the files of other tests.
    site.start_worker()
    page.locator(".verdict-card").wait_for(timeout=RESULT_MS)
    context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_cut_off_on_the_smallest_phone(
    filled: tuple[Site, list[View], list[Any]], chromium: Browser, language: str
) -> None:
    site, shown, cookies = filled
    context = chromium.new_context(locale=language, viewport={"width": 320, "height": 640}, service_workers="block")
    page = context.new_page()
    found = []
    for view in shown:
        context.clear_cookies()
        context.add_cookies(cookies if view.signed_in else [])
        page.goto(site.url + view.path)
        page.evaluate("document.fonts.ready")
        assert page.evaluate("document.documentElement.lang") == language
        # With what is folded up, too: a menu or a list must not be wider than the window either.
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        found += [f"{view.name}: {each}" for each in page.evaluate(FIND_CUT_OFF)]
    context.close()
    assert found == []


def test_pages_are_light_and_stand_still(filled: tuple[Site, list[View], list[Any]], chromium: Browser) -> None:
    # Heavier than English by its letters.
    language = "hi"
    site, shown, cookies = filled

    def too_much(view: View) -> str:
        """What the page has too much of for somebody who was never here; empty if nothing."""
        context = chromium.new_context(locale=language, viewport={"width": 360, "height": 740}, service_workers="block")
        context.add_cookies(cookies if view.signed_in else [])
        page = context.new_page()
        page.add_init_script(WATCH_SHIFTS)
        weights = weigh(page, language)
        page.goto(site.url + view.path, wait_until="load")
        page.evaluate("document.fonts.ready")
        shift = page.evaluate("new Promise(requestAnimationFrame).then(() => window.shifted)")
        context.close()
        fits = sum(weights) <= MOST_BYTES and shift <= MOST_SHIFT
        return "" if fits else f"{view.name}: {sum(weights)} bytes, shifted by {shift:.3f}"

    # Where the machine is so busy that the letters come after the first paint, they move what is painted: once more.
    assert [twice for view in shown if too_much(view) and (twice := too_much(view))] == []


def test_axe_finds_nothing_serious_in_hindi(filled: tuple[Site, list[View], list[Any]], chromium: Browser) -> None:
    site, shown, cookies = filled
    context = chromium.new_context(locale="hi", service_workers="block")
    page = context.new_page()
    found = []
    for view in shown:
        context.clear_cookies()
        context.add_cookies(cookies if view.signed_in else [])
        page.goto(site.url + view.path)
        found += [
            f"{view.name}: {rule['id']} {[node['target'] for node in rule['nodes']]}"
            for rule in Axe().run(page).response["violations"]
            if rule["impact"] in {"serious", "critical"}
        ]
    context.close()
    assert found == []


def test_a_pressed_button_says_so_before_the_answer_comes_and_sends_once(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/accounts/login/")
    page.get_by_label("User name or e-mail address").fill("nobody")
    page.get_by_label("Password").fill("nothing")
    # Runs after the page's own listener; what it finds is read on the next page.
    page.evaluate(
        """addEventListener("submit", (event) => {
            if (event.defaultPrevented) return;
            sessionStorage.setItem("busy", event.submitter.getAttribute("aria-busy"));
            sessionStorage.setItem("sent", Number(sessionStorage.getItem("sent")) + 1);
        })"""
    )
    button = page.get_by_role("main").get_by_role("button", name="Log in")
    button.evaluate("(button) => { button.click(); button.click(); }")
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('busy')") == "true"
    assert page.evaluate("sessionStorage.getItem('sent')") == "1"
    expect(button).not_to_have_attribute("aria-busy", "true")


def test_the_keyboard_goes_through_a_form_in_its_order_and_out_again(visitor: Visitor) -> None:
    """Each step has a visible focus, and none is a trap."""
    page = visitor.page
    visitor.go("/accounts/signup/")
    visited = []
    # The first field has the focus already.
    for _ in range(40):
        place = page.evaluate(
            """() => {
                const { localName, name, type, href } = document.activeElement;
                const about = document.activeElement.getAttribute("aria-controls");
                const style = getComputedStyle(document.activeElement);
                const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                return [[localName, type, name || href || about].filter(Boolean).join(" "), ring];
            }"""
        )
        if place[0] == "body":
            break
        visited.append(place)
        page.keyboard.press("Tab")
    assert place[0] == "body", "the focus never came out of the page"
    assert [name for name, ring in visited if not ring] == []
    names = [name for name, _ in visited]
    assert len(names) == len(set(names)), "the focus went round"
    fields = [name.split()[-1] for name in names if name.startswith(("input", "select"))]
    assert fields == ["username", "email", "language", "password1", "password2"]
    assert names.index("input password password2") < next(i for i, name in enumerate(names) if "submit" in name)

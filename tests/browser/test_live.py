"""Watching an examination in two browsers, with and without Redis, and where no WebSocket gets through."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.conftest import RESULT_MS, Site, Visitor
from tests.conftest import PASSWORD
from tests.media_factory import make_face_video
from tests.redis_process import running_redis

pytestmark = pytest.mark.browser

FIRST_BOX_MS = 15_000


@pytest.fixture(scope="module", params=["embedded", pytest.param("redis", marks=pytest.mark.long)])
def live_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose worker has already examined something, as workers usually have."""
    site = Site(tmp_path_factory.mktemp("live"))
    try:
        if request.param == "redis":
            site.environment["CHANNEL_REDIS_URL"] = request.getfixturevalue("redis")
        site.prepare()
        site.start_web()
        site.start_worker()
        member = site.member("first")
        clip = make_face_video(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=1)
        member.wait_for(member.upload(clip).json()["id"])
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_video(
        tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=8, size=(1280, 720), options={"crf": "35"}
    )


@contextmanager
def opened(site: Site, browser: Browser) -> Iterator[Visitor]:
    context = browser.new_context(locale="en-IN", viewport={"width": 1100, "height": 800})
    context.set_default_timeout(60_000)
    try:
        yield Visitor(site, context)
    finally:
        context.close()


@contextmanager
def frozen_worker(site: Site) -> Iterator[None]:
    """Nothing moves on while entered, so that what pages show can be compared."""
    main, *others = site.family(site.processes["worker"].pid)
    for process in (main, *others):
        _send(process, signal.SIGSTOP)
    # Stopped in the middle of a transaction, it would keep everybody from writing, which no page survives.
    time.sleep(0.1)  # A signal takes a moment to arrive.
    while not _can_be_written(site):
        for process in others:
            _send(process, signal.SIGCONT)
        time.sleep(0.02)
        for process in others:
            _send(process, signal.SIGSTOP)
        time.sleep(0.1)
    try:
        yield
    finally:
        for process in others:
            _send(process, signal.SIGCONT)
        # First a sign of life, then whoever looks for one.
        time.sleep(1)
        _send(main, signal.SIGCONT)


def _can_be_written(site: Site) -> bool:
    with closing(sqlite3.connect(site.data / "sentinel.sqlite3", timeout=0.1, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        database.execute("ROLLBACK")
        return True


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return


def dots(page: Page) -> int:
    return page.locator("[data-curve] .dot").count()


def wait_for_more_dots(page: Page, number: int) -> None:
    """The curve grows."""
    end = time.monotonic() + RESULT_MS / 1000
    while dots(page) <= number and not page.locator(".verdict-card").count():
        assert time.monotonic() < end
        page.wait_for_timeout(10)


def shown(page: Page) -> dict[str, Any]:
    """What of the examination is on the page."""
    return {
        "strip": page.locator("[data-strip] li").all_inner_texts(),
        "numbers": page.locator(".live-numbers dd").all_inner_texts(),
        "dots": [
            dot.evaluate("(it) => [it.getAttribute('cx'), it.getAttribute('cy')]")
            for dot in page.locator("[data-curve] .dot").all()
        ],
    }


def send_clip(visitor: Visitor, clip: Path) -> float:
    """Returns when the upload was answered, on the monotonic clock."""
    visitor.go("/analyses/new/")
    visitor.choose(clip)
    with visitor.page.expect_response(lambda answer: answer.request.method == "POST"):
        visitor.examine()
    return time.monotonic()


def test_two_browsers_watch_one_reloads_and_the_end_is_the_result(
    live_site: Site, chromium: Browser, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(live_site, chromium) as visitor, opened(live_site, chromium) as second:
        visitor.sign_up("asha")
        second.log_in("asha", PASSWORD)
        second.page.wait_for_url("**/analyses/new/")
        answered = send_clip(visitor, clip)
        page = visitor.page
        page.locator("[data-picture] rect.box").first.wait_for(timeout=FIRST_BOX_MS)
        with capsys.disabled():
            sys.stdout.write(f"\nfirst boxed frame {time.monotonic() - answered:.2f} s after the upload\n")
        wait_for_more_dots(page, 2)
        with frozen_worker(live_site):
            page.wait_for_timeout(1500)
            before = dots(page)
            assert before >= 3
            here = shown(page)
            assert page.locator("[data-picture] image").count() == 1
            second.go(visitor.path)
            expect(second.page.locator("[data-curve] .dot")).to_have_count(before)
            assert shown(second.page) == here
            page.reload()
            expect(page.locator("[data-curve] .dot")).to_have_count(before)
            assert shown(page) == here
            # Frames of before come after the reload too.
            expect(page.locator("[data-strip] img").first).to_be_visible()
            visitor.check_page()
            assert_strangers_are_refused(live_site, chromium, visitor.path)
            page.locator("[data-strip] button").first.press("Enter")
            expect(page.get_by_role("button", name="Follow live again")).to_be_visible()
            expect(page.locator("strong[data-title]")).to_have_text("Frame at 0.0 s")
            page.get_by_role("button", name="Follow live again").press("Enter")
            expect(page.get_by_role("button", name="Follow live again")).to_be_hidden()
        wait_for_more_dots(page, before)
        for each in (visitor, second):
            each.wait_for_result()
            assert each.page.evaluate("window.scrollY") == 0
        result = page.request.get(f"{live_site.url}/api/v1{visitor.path}").json()
        faces = [face for track in result["result"]["tracks"] for face in track["faces"]]
        page.get_by_text("The same numbers as a table").click()
        cells = page.get_by_role("region", name="Table of scores").locator("td:nth-child(4)").all_inner_texts()
        assert [float(cell.removesuffix("%")) for cell in cells] == pytest.approx(
            [100 * face["fake_probability"] for face in faces], abs=0.051
        )
        # What was shown while it ran are the same scores.
        live = [float(text.split("%")[0]) for text in here["strip"] if "%" in text]
        assert live == pytest.approx([100 * face["fake_probability"] for face in faces[: len(live)]], abs=0.51)
        assert visitor.complaints == second.complaints == []


def assert_strangers_are_refused(site: Site, browser: Browser, path: str) -> None:
    with opened(site, browser) as stranger:
        stranger.sign_up(f"stranger{time.monotonic_ns()}")
        code = stranger.page.evaluate(
            """(path) => new Promise((resolve) => {
                const socket = new WebSocket(`ws://${location.host}/ws${path}`);
                socket.onmessage = () => resolve("a message");
                socket.onclose = (event) => resolve(event.code);
            })""",
            path,
        )
        assert code == 4404


@pytest.mark.parametrize("obstacle", ["none there", "silent, then closed each time"])
def test_where_no_socket_gets_through_the_page_asks(
    live_site: Site, chromium: Browser, clip: Path, obstacle: str
) -> None:
    with opened(live_site, chromium) as visitor:
        visitor.sign_up(f"ravi{time.monotonic_ns()}")
        if obstacle == "none there":
            visitor.page.add_init_script("delete window.WebSocket")
        else:
            opened_ones: list[WebSocketRoute] = []

            def close(route: WebSocketRoute) -> None:
                opened_ones.append(route)
                if len(opened_ones) > 1:
                    route.close(code=1011)

            visitor.page.route_web_socket("**/ws/**", close)
        visitor.page.clock.install()
        send_clip(visitor, clip)
        with visitor.page.expect_response("**/progress/", timeout=RESULT_MS):
            # So long a socket may say nothing; then comes the next.
            visitor.page.clock.fast_forward(16_000)
        visitor.wait_for_result()

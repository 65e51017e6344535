"""The site as its users meet it: a real web server, a real worker and Chromium. No test touches the database."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.conftest import PASSWORD
from tests.site_process import SiteProcess
from tests.tiny_detector import NAME as DETECTOR
from tests.tiny_detector import write_tiny_detector
from tests.video_site import VideoSite, video_site

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MAX_UPLOAD_BYTES = 2 * 1024 * 1024
# The worker loads torch for its first analysis, on machines that may be busy.
RESULT_MS = 120_000


class Site(SiteProcess):
    """A site with a detector that calls every face fake. Its worker can be stopped and started again."""

    def __init__(self, folder: Path, videos: VideoSite | None = None) -> None:
        self.mails = folder / "mails"
        # Links to it may be pasted, where one runs.
        self.videos = videos or VideoSite()
        for made in (self.mails, folder / "data"):
            made.mkdir()
        super().__init__(
            folder / "data",
            SENTINEL_DETECTORS_DIR=str(write_tiny_detector(folder / "detectors", bias=20.0).parent),
            SENTINEL_DETECTOR=DETECTOR,
            SENTINEL_MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES),
            SENTINEL_LINK_SITES="127.0.0.1",
            SENTINEL_LINK_ALLOW_PRIVATE=f"127.0.0.1:{self.videos.port},127.0.0.2:{self.videos.port}",
            # Four slashes: django-environ takes off the first, and what is left has to be absolute.
            EMAIL_URL=f"filemail:///{self.mails}",
        )

    def start_worker(self) -> None:
        if "worker" not in self.processes:
            super().start_worker()

    def stop_worker(self) -> None:
        if worker := self.processes.pop("worker", None):
            worker.terminate()
            worker.wait(timeout=30)

    def stored_files(self) -> set[Path]:
        """Every file received or made from one."""
        return {path for folder in ("media", "incoming") for path in (self.data / folder).rglob("*") if path.is_file()}

    def mail_with(self, text: str) -> str:
        """The first mail that says so. The worker sends it."""
        end = time.monotonic() + RESULT_MS / 1000
        while time.monotonic() < end:
            for path in self.mails.iterdir():
                if text in (mail := path.read_text(encoding="utf-8")):
                    return mail
            time.sleep(0.1)
        raise AssertionError(f"no mail says {text!r}")


def stand_still(page: Page) -> None:
    """Wait for what fades or slides in: half there, its colours are not those that people read."""
    page.evaluate(
        """() => Promise.allSettled(
            document.getAnimations()
                .filter((each) => each.effect.getComputedTiming().endTime !== Infinity)
                .map((each) => each.finished)
        ).then(() => null)"""
    )


class Visitor:
    """Somebody in front of a browser of their own. Collects what the pages complain about."""

    def __init__(self, site: Site, context: BrowserContext) -> None:
        self.site = site
        # Where this visitor finds the site; it has more than one name.
        self.origin = site.url
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message: ConsoleMessage) -> None:
        # A refusal with its status is what some tests are about; Chromium notes each as an error.
        refused = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        if message.type in {"error", "warning"} and not refused:
            self.complaints.append(message.text)

    def go(self, path: str) -> int:
        """Open a page of the site; returns the answer's status."""
        response = self.page.goto(self.origin + path)
        assert response is not None
        return response.status

    def sign_up(self, name: str) -> None:
        self.go("/accounts/signup/")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("E-mail address").fill(f"{name}@example.org")
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_label("Password confirmation").fill(PASSWORD)
        self.page.get_by_role("main").get_by_role("button", name="Sign up").click()
        expect(self.heading).to_have_text("Examine a video or photo")

    def log_in(self, name: str, password: str) -> None:
        self.go("/accounts/login/")
        self.page.get_by_label("User name or e-mail address").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("main").get_by_role("button", name="Log in", exact=True).click()

    def choose(self, file: Path) -> None:
        self.page.get_by_label("Choose a video or a photo").set_input_files(file)

    def drop(self, file: Path, name: str) -> None:
        """Drop a file onto the page, as from a file manager."""
        transfer = self.page.evaluate_handle(
            """([content, name]) => {
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name));
                return transfer;
            }""",
            [base64.b64encode(file.read_bytes()).decode(), name],
        )
        for event in ("dragover", "drop"):
            self.page.dispatch_event("main", event, {"dataTransfer": transfer})

    def examine(self) -> None:
        self.page.get_by_role("button", name="Examine").click()

    def upload(self, file: Path) -> str:
        """Send a file and wait for its result; returns the path of the result's page."""
        self.go("/analyses/new/")
        self.choose(file)
        self.examine()
        expect(self.page.locator("[data-progress], .verdict-card").first).to_be_visible(timeout=30_000)
        self.wait_for_result()
        return self.path

    def wait_for_result(self) -> None:
        expect(self.page.locator(".verdict-card")).to_be_visible(timeout=RESULT_MS)

    @property
    def heading(self) -> Any:
        return self.page.get_by_role("heading", level=1)

    @property
    def path(self) -> str:
        return self.page.url.removeprefix(self.origin)

    def check_page(self) -> None:
        """Nothing keeps people out in either colour scheme, nothing lies beyond the edge of a small phone."""
        expect(self.page.locator("h1")).to_have_count(1)
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            self.page.emulate_media(color_scheme=scheme)
            stand_still(self.page)
            violations = Axe().run(self.page).response["violations"]
            severe = [
                (rule["id"], [node["target"] for node in rule["nodes"]])
                for rule in violations
                if rule["impact"] in {"serious", "critical"}
            ]
            assert severe == [], f"{self.path} in {scheme}"
        size = self.page.viewport_size
        self.page.set_viewport_size({"width": 320, "height": 640})
        root = "document.documentElement"
        assert self.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), f"{self.path} is wider than 320 pixels"
        if size:
            self.page.set_viewport_size(size)
        assert self.complaints == [], self.path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with video_site() as videos:
        site = Site(tmp_path_factory.mktemp("site"), videos)
        try:
            site.prepare()
            site.start_web()
            yield site
        finally:
            site.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def _open(site: Site, browser: Browser, **options: Any) -> Iterator[Visitor]:
    context = browser.new_context(locale="en-IN", viewport={"width": 1100, "height": 800}, **options)
    context.set_default_timeout(20_000)
    try:
        yield Visitor(site, context)
    finally:
        context.close()


@pytest.fixture
def visitor(site: Site, chromium: Browser) -> Iterator[Visitor]:
    with _open(site, chromium) as visitor:
        yield visitor


@pytest.fixture
def another_visitor(site: Site, chromium: Browser) -> Iterator[Visitor]:
    with _open(site, chromium) as visitor:
        yield visitor


@pytest.fixture
def visitor_without_javascript(site: Site, chromium: Browser) -> Iterator[Visitor]:
    with _open(site, chromium, java_script_enabled=False) as visitor:
        yield visitor

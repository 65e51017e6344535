"""Every page of a site that is in use, for tests and pictures of all of them, and what may be wrong with a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Response

from tests.browser.conftest import Site
from tests.conftest import PASSWORD
from tests.media_factory import make_face_image, make_face_video, make_video

LANGUAGES = ("en", "mr", "hi", "bn", "ml", "te")
LONG_NAME = "ഒരു വളരെ നീണ്ട പേരുള്ള വീഡിയോ ഫയൽ പൊലീസ് സ്റ്റേഷനിൽ പരാതിയോടൊപ്പം നൽകിയത് " * 2 + ".mp4"
# Lighthouse's threshold for shifts, and our own for bytes without media.
MOST_BYTES, MOST_SHIFT = 150_000, 0.05

# Run before anything of a page is; leaves the sum in `window.shifted`.
WATCH_SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""
# What lies beyond the window's edge, and texts that are cut off by their own box, as short descriptions.
FIND_CUT_OFF = r"""() => {
  const found = [];
  const tell = (element, what) => {
    const text = (element.textContent || element.getAttribute("aria-label") || "").trim().replace(/\s+/g, " ");
    const kind = typeof element.className === "string" && element.className ? `.${element.className}` : "";
    found.push(`${what}: ${element.localName}${kind} “${text.slice(0, 40)}”`);
  };
  const scrolls = (style) => /auto|scroll/.test(style.overflowX);
  const unseen = (style) => style.display === "none" || style.visibility === "hidden" || style.clipPath !== "none";
  const words = (element) => [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  const walk = (element) => {
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    if (unseen(style) || element.classList.contains("skip") || (!box.width && !box.height)) return;
    if (box.right > document.documentElement.clientWidth + 1 || box.left < -1) {
      tell(element, "beyond the edge");
      return;
    }
    // What can be scrolled to is not lost; drawings have their own rules.
    if (scrolls(style) || element.localName === "svg") return;
    for (const text of style.display === "inline" || style.textOverflow === "ellipsis" ? [] : words(element)) {
      const range = document.createRange();
      range.selectNodeContents(text);
      const place = range.getBoundingClientRect();
      if (place.right > box.right + 1 || place.left < box.left - 1) tell(element, "text wider than its box");
    }
    const hides = /hidden|clip/.test(style.overflowY) && style.webkitLineClamp === "none";
    // A letter may reach a pixel or two over its line.
    if (hides && element.clientHeight && element.scrollHeight > element.clientHeight + 2) {
      tell(element, "cut off below");
    }
    for (const child of element.children) walk(child);
  };
  walk(document.body);
  return found;
}"""


@dataclass(frozen=True)
class View:
    """A page as one kind of visitor has it."""

    name: str
    path: str
    signed_in: bool = True


def fill_site(site: Site, page: Page, folder: Path) -> list[View]:
    """Sign up in `page`, use the site, and return what there is to look at. Leaves the worker stopped.

    A video, a photo, one without a face, one with a long name in Malayalam, one that is shared, one that waits.
    """
    clips = {
        "result-video": make_face_video(folder / "face.mp4", seconds=4),
        "result-photo": make_face_image(folder / "photo.jpg"),
        "result-no-face": make_video(folder / "bars.mp4", seconds=1),
        "result-long-name": make_face_video(folder / "name.mp4", seconds=1),
    }
    sign_up(page, site, "asha")
    found = [
        View("home", "/", signed_in=False),
        View("sign-up", "/accounts/signup/", signed_in=False),
        View("log-in", "/accounts/login/", signed_in=False),
        View("password-reset", "/accounts/password-reset/", signed_in=False),
        View("detectors", "/models/", signed_in=False),
        View("detector", "/models/sentinel-lite/", signed_in=False),
        View("developers", "/developers/", signed_in=False),
        View("check", "/check/", signed_in=False),
        View("offline", "/offline/", signed_in=False),
        View("not-found", "/nothing/", signed_in=False),
        View("empty-history", "/analyses/?name=nothing-of-this-name"),
        View("classify", "/analyses/new/"),
        View("history", "/analyses/"),
        View("account", "/accounts/"),
        View("password-change", "/accounts/password/"),
        View("delete-account", "/accounts/delete/"),
        View("security", "/accounts/security/"),
        View("code-app", "/accounts/security/code-app/"),
        View("confirm", "/accounts/confirm/"),
        View("notifications", "/notifications/"),
    ]
    for name, clip in clips.items():
        shown = LONG_NAME if name.endswith("long-name") else clip.name
        found.append(View(name, examine(page, site, clip, shown, wait=True)))
    path = found[-1].path
    page.get_by_role("button", name="Make a public page").click()
    card = page.get_by_label("Link to copy").input_value()
    found += [
        View("card", card.removeprefix(site.url), signed_in=False),
        View("papers", f"{path}papers/"),
        View("custody", link(page, site, r"/media/\w+/custody/")),
        View("delete", link(page, site, r"/media/\w+/delete/")),
        View("feedback", f"{path}feedback/"),
    ]
    found += [*case_pages(page, site), failed_link(page, site)]
    site.stop_worker()
    found.append(View("waiting", examine(page, site, clips["result-video"], "face.mp4", wait=False)))
    return found


def case_pages(page: Page, site: Site) -> list[View]:
    """Those of a new case, and of the same with files, a note and an invitation."""
    page.goto(f"{site.url}/cases/new/")
    page.get_by_label("Title").fill(LONG_NAME.removesuffix(".mp4"))
    page.get_by_role("main").locator("[type=submit]").click()
    page.wait_for_url(re.compile(r"/cases/[0-9a-f]{24}/"))
    case = page.url.removeprefix(site.url)
    page.get_by_role("link", name="Add examined files").click()
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    page.get_by_role("main").locator("[type=submit]").click()
    page.get_by_label("New note").fill("Asked the complainant for the original file.\nSeen by the duty officer.")
    page.get_by_role("button", name="Add the note").click()
    page.get_by_label("User name or e-mail address").fill("a-colleague-with-a-rather-long-address@police.example.org")
    page.get_by_role("button", name="Invite").click()
    page.goto(f"{site.url}/cases/new/")
    page.get_by_label("Title").fill("Empty")
    page.get_by_role("main").locator("[type=submit]").click()
    page.wait_for_url(re.compile(r"/cases/[0-9a-f]{24}/"))
    return [
        View("cases", "/cases/"),
        View("case-new", "/cases/new/"),
        View("case", case),
        View("case-empty", page.url.removeprefix(site.url)),
        View("case-files", f"{case}files/"),
        View("case-documents", f"{case}documents/"),
        View("case-edit", f"{case}edit/"),
        View("case-delete", f"{case}delete/"),
        View("classify-for-a-case", f"/analyses/new/?case={case.split('/')[2]}"),
    ]


def failed_link(page: Page, site: Site) -> View:
    """The page of a link behind which there is nothing."""
    page.goto(f"{site.url}/analyses/new/")
    page.locator("[name=link]").fill("https://missing.invalid/clip.mp4")
    page.locator("form[data-upload]").get_by_role("button", name="Examine").click()
    page.wait_for_url(re.compile(r"/analyses/[0-9a-f]{24}/"))
    page.get_by_role("button", name="Try again").wait_for(timeout=60_000)
    return View("failed-link", page.url.removeprefix(site.url))


def link(page: Page, site: Site, pattern: str) -> str:
    """The first link on the page that leads to an address of this kind."""
    addresses = page.locator("a[href]").evaluate_all("links => links.map((link) => link.href)")
    return str(next(address for address in addresses if re.search(pattern, address))).removeprefix(site.url)


def sign_up(page: Page, site: Site, name: str) -> None:
    page.goto(f"{site.url}/accounts/signup/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("E-mail address").fill(f"{name}@example.org")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/analyses/new/")


def examine(page: Page, site: Site, clip: Path, name: str, *, wait: bool) -> str:
    """Send a file under that name; returns the path of its page, which `page` shows. `wait`: until it has a result."""
    page.goto(f"{site.url}/analyses/new/")
    page.get_by_label("Choose a video or a photo").set_input_files(
        # As its content: no file system here has names that long.
        {"name": name, "mimeType": "application/octet-stream", "buffer": clip.read_bytes()}
    )
    page.locator("form[data-upload]").get_by_role("button", name="Examine").click()
    page.wait_for_url(re.compile(r"/analyses/[0-9a-f]{24}/"))
    if wait:
        page.locator(".verdict-card").wait_for(timeout=120_000)
    return page.url.removeprefix(site.url)


def cookies_of(context: Any) -> list[Any]:
    """Those that say who somebody is, without the one for their language."""
    return [cookie for cookie in context.cookies() if cookie["name"] == "sessionid"]


def weigh(page: Page, language: str) -> list[int]:
    """A list that gets the bytes of everything that `page` loads from now on."""
    weights: list[int] = []

    def listen(response: Response) -> None:
        weights.append(weight(response, language))

    page.on("response", listen)
    return weights


def weight(response: Response, language: str) -> int:
    """Bytes that came over the line, without media: users' pictures, and letters that only the name of a file needs."""
    own_script = {"mr": "devanagari", "hi": "devanagari", "bn": "bengali", "ml": "malayalam", "te": "telugu"}
    is_font_of_a_name = "/noto-sans-" in response.url and f"-{own_script.get(language)}-" not in response.url
    is_media = any(part in response.url for part in ("/evidence/", "/media/")) or response.url.endswith(".png")
    if is_media or is_font_of_a_name or response.status == 304:
        return 0
    return max(response.request.sizes()["responseBodySize"], 0)

"""Being told, and the installed app: bell, list, toasts, push messages, no network, and a phone's "share" menu.

Chromium's own push service is out of reach here. So the page's subscription is one that these tests made, a push
service of theirs takes and reads the site's message, and Chromium is given what it says as if it had come its own way.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.browser.conftest import CHROMIUM, CHROMIUM_ARGUMENTS, Site, Visitor
from tests.conftest import PASSWORD
from tests.push_service import PushService, Subscription, decode, push_service
from tests.site_process import wait_until

pytestmark = pytest.mark.browser

# Takes the place of Chromium's subscriptions in the page; what the page asks of it is checked.
OWN_SUBSCRIPTIONS = """
const bytes = (values) => Uint8Array.from(values).buffer;
const kept = () => JSON.parse(localStorage.getItem("test-subscription"));
const subscription = () => kept() && {
    endpoint: made.endpoint,
    options: { applicationServerKey: bytes(kept()) },
    toJSON: () => ({ endpoint: made.endpoint, expirationTime: null, keys: made.keys }),
    unsubscribe: async () => localStorage.removeItem("test-subscription"),
};
PushManager.prototype.getSubscription = async () => subscription();
PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
    if (!userVisibleOnly) throw new Error("Chromium wants messages to be seen");
    localStorage.setItem("test-subscription", JSON.stringify([...applicationServerKey]));
    return subscription();
};
"""
REGISTRATION = "navigator.serviceWorker.ready"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushService]:
    with push_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, service: PushService) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("pwa"))
    site.environment |= {"SENTINEL_PUSH_ALLOW_PRIVATE": "on", "SSL_CERT_FILE": str(service.certificate)}
    try:
        site.prepare()
        site.start_web()
        yield site
    finally:
        site.stop()


@pytest.fixture
def subscribing(visitor: Visitor, service: PushService) -> Visitor:
    """A visitor whose browser may show messages and gets its subscriptions from our push service."""
    visitor.page.context.grant_permissions(["notifications"], origin=visitor.site.url)
    keys = service.subscription
    made = {"endpoint": service.endpoint, "keys": {"p256dh": keys.p256dh, "auth": keys.auth}}
    visitor.page.add_init_script(f"const made = {json.dumps(made)};" + OWN_SUBSCRIPTIONS)
    return visitor


def with_service_worker(page: Page) -> None:
    page.evaluate(f"{REGISTRATION}.then(() => true)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")


def deliver(page: Page, origin: str, message: dict[str, Any]) -> None:
    """Hand a message to the service worker, as Chromium does with one from its push service."""
    session = page.context.new_cdp_session(page)
    found: list[str] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(one["registrationId"] for one in event["registrations"]),
    )
    session.send("ServiceWorker.enable")
    end = 100
    while not found and end:
        page.wait_for_timeout(50)
        end -= 1
    session.send(
        "ServiceWorker.deliverPushMessage",
        {"origin": origin, "registrationId": found[0], "data": json.dumps(message)},
    )
    session.detach()


def shown(page: Page) -> list[dict[str, Any]]:
    """The messages on the screen."""
    return list(
        page.evaluate(
            f"""{REGISTRATION}.then((registration) => registration.getNotifications()).then((all) => all.map(
                ({{ title, body, tag, data, lang }}) => ({{ title, body, tag, url: data.url, lang }})))"""
        )
    )


def kept(page: Page) -> list[str]:
    """The paths of everything that the browser keeps for the site, beside its ordinary cache."""
    return list(
        page.evaluate(
            """async () => {
                const found = [];
                for (const name of await caches.keys())
                    for (const request of await (await caches.open(name)).keys())
                        found.push(new URL(request.url).pathname);
                return found;
            }"""
        )
    )


def share_link(page: Page, text: str) -> None:
    """The same with a link in the text, as most apps share it."""
    with page.expect_navigation():
        page.evaluate(
            """(text) => {
                const form = Object.assign(document.createElement("form"), {
                    method: "post", action: "/share/", enctype: "multipart/form-data",
                });
                form.append(Object.assign(document.createElement("input"), { name: "text", value: text }));
                document.body.append(form);
                form.submit();
            }""",
            text,
        )


def share(page: Page, file: Path) -> None:
    """What a phone's "share" menu does: a form with the file, posted to the app."""
    with page.expect_navigation():
        page.evaluate(
            """([content, name]) => {
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, { type: "video/mp4" }));
                const form = document.createElement("form");
                Object.assign(form, { action: "/share/", method: "post", enctype: "multipart/form-data" });
                const input = document.createElement("input");
                Object.assign(input, { type: "file", name: "file" });
                input.files = transfer.files;
                form.append(input);
                document.body.append(form);
                form.submit();
            }""",
            [base64.b64encode(file.read_bytes()).decode(), file.name],
        )


def test_a_result_is_told_on_an_open_page_and_on_the_subscribed_device(
    subscribing: Visitor, service: PushService, clip: Path
) -> None:
    visitor, page, site = subscribing, subscribing.page, subscribing.site
    visitor.sign_up("asha-subscribed")
    visitor.go("/notifications/")
    expect(page.get_by_text("Nothing to report yet")).to_be_visible()
    expect(page.get_by_text("This device gets no messages.")).to_be_visible()
    page.get_by_role("button", name="Tell me on this device").click()
    expect(page.get_by_text("This device gets a message when")).to_be_visible()
    assert page.evaluate("JSON.parse(localStorage.getItem('test-subscription')).length") == 65
    visitor.check_page()

    # The upload is under way; its owner looks at something else meanwhile.
    site.stop_worker()
    visitor.go("/analyses/new/")
    visitor.choose(clip)
    visitor.examine()
    expect(page.locator("[data-progress]")).to_be_visible(timeout=30_000)
    result = visitor.path
    visitor.go("/models/")
    site.start_worker()
    wait_until(lambda: bool(service.taken), seconds=120, what=lambda: f"a message\n{site.log('worker')}")
    # News come at the next round, or when the service worker says so.
    [message] = service.messages()
    assert message["url"] == result
    with_service_worker(page)
    for _ in range(2):
        deliver(page, site.url, message)
    toast = page.locator(".toast")
    expect(toast).to_contain_text("clip.mp4")
    expect(page.locator("[data-bell]")).to_have_accessible_name("Notifications 1 unread")
    visitor.check_page()
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_have_count(0)
    page.wait_for_function(f"{REGISTRATION}.then((one) => one.getNotifications()).then((all) => all.length > 0)")
    assert shown(page) == [
        {
            "title": "Your examination is finished",
            "body": "Open Sentinel to see the result.",
            "tag": message["tag"],
            "url": result,
            "lang": "en",
        }
    ]

    visitor.go("/notifications/")
    expect(page.get_by_role("listitem").filter(has_text="clip.mp4")).to_have_class("unread")
    visitor.check_page()
    page.get_by_role("button", name=re.compile("^Mark as read")).click()
    expect(page.locator("[data-bell]")).to_have_accessible_name("Notifications")
    page.get_by_role("button", name="Stop telling me on this device").click()
    expect(page.get_by_text("This device gets no messages.")).to_be_visible()
    expect(page.get_by_text("Devices that are told")).to_have_count(0)


def test_somebody_elses_messages_end_with_the_next_who_logs_in(subscribing: Visitor) -> None:
    page = subscribing.page
    subscribing.sign_up("biju")
    subscribing.go("/notifications/")
    page.get_by_role("button", name="Tell me on this device").click()
    expect(page.get_by_text("This device gets a message when")).to_be_visible()
    # Their session ends without a log-out.
    page.context.clear_cookies()
    subscribing.sign_up("chitra")
    page.wait_for_function("localStorage.getItem('test-subscription') === null")


def test_a_subscription_that_the_browser_renews_is_registered_by_the_service_worker(visitor: Visitor) -> None:
    page, keys = visitor.page, Subscription()
    visitor.sign_up("kiran")
    with_service_worker(page)
    [worker] = page.context.service_workers
    renewed = {"endpoint": "https://push.example.org/renewed", "keys": {"p256dh": keys.p256dh, "auth": keys.auth}}
    worker.evaluate("(renewed) => renew({ toJSON: () => renewed })", renewed)
    visitor.go("/notifications/")
    expect(page.get_by_text("Device without a name")).to_be_visible()
    devices = page.evaluate("fetch('/api/v1/push-devices/').then((answer) => answer.json())")
    assert [device["endpoint"] for device in devices] == ["https://push.example.org/renewed"]


def test_switches_are_kept(visitor: Visitor) -> None:
    visitor.sign_up("deepa")
    visitor.go("/notifications/")
    by_email = visitor.page.get_by_label("E-mail when an examination ends")
    expect(by_email).not_to_be_checked()
    by_email.check()
    visitor.page.get_by_role("button", name="Save").click()
    expect(by_email).to_be_checked()
    expect(visitor.page.get_by_label("File names in push messages and e-mails")).not_to_be_checked()
    visitor.check_page()


def test_a_blocked_browser_is_told_what_to_do(site: Site, chromium: Browser) -> None:
    context = chromium.new_context(locale="en-IN")
    visitor = Visitor(site, context)
    visitor.page.add_init_script("Object.defineProperty(Notification, 'permission', { get: () => 'denied' })")
    visitor.sign_up("esha")
    visitor.go("/notifications/")
    expect(visitor.page.get_by_text("Messages from this site are blocked")).to_be_visible()
    expect(visitor.page.get_by_role("button", name="Tell me on this device")).to_have_count(0)
    context.close()


def test_without_a_network_there_is_a_page_that_says_so(visitor: Visitor) -> None:
    page, site = visitor.page, visitor.site
    visitor.sign_up("farid")
    with_service_worker(page)
    web = site.processes.pop("web")
    web.terminate()
    web.wait(timeout=30)
    try:
        page.goto(f"{site.url}/analyses/")
        expect(visitor.heading).to_have_text("No connection")
        assert page.evaluate("getComputedStyle(document.querySelector('.button')).borderRadius") != "0px"
        assert "farid" not in page.content()
        visitor.complaints.clear()
        visitor.check_page()
    finally:
        site.start_web()
    page.get_by_role("link", name="Try again").click()
    expect(visitor.heading).to_have_text("Your examinations")


def test_the_browser_keeps_nothing_of_a_person(visitor: Visitor, clip: Path) -> None:
    page = visitor.page
    visitor.sign_up("gita")
    with_service_worker(page)
    for path in ("/analyses/", "/notifications/", "/models/"):
        visitor.go(path)
    assert [path for path in kept(page) if not path.startswith("/static/")] == ["/offline/"]
    share(page, clip)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Log in")).to_be_visible()
    wait_until(
        lambda: [path for path in kept(page) if not path.startswith("/static/")] == ["/offline/"],
        seconds=10,
        what=lambda: f"the caches to be emptied: {kept(page)}",
    )


def test_a_shared_file_waits_for_the_log_in_and_for_a_yes(visitor: Visitor, clip: Path) -> None:
    page = visitor.page
    visitor.sign_up("hari")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in").first).to_be_visible()
    with_service_worker(page)
    share(page, clip)
    expect(visitor.heading).to_have_text("Log in")
    page.get_by_label("User name or e-mail address").fill("hari")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_text("The shared file is below.")).to_be_visible()
    expect(page.locator("[data-chosen]")).to_contain_text("clip.mp4")
    assert "/share/file" not in kept(page)
    visitor.check_page()
    visitor.examine()
    expect(page.locator("[data-progress], .verdict-card").first).to_be_visible(timeout=30_000)


def test_a_shared_link_waits_in_its_field(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_up("javed")
    with_service_worker(page)
    share_link(page, "Look at this! https://videos.example/watch?v=1&t=2 (shared with an app)")
    expect(page.get_by_label("Link to a video or photo")).to_have_value("https://videos.example/watch?v=1&t=2")
    visitor.check_page()


def test_without_a_service_worker_the_server_asks_for_the_file_again(visitor: Visitor, clip: Path) -> None:
    visitor.sign_up("indu")
    cookies = {cookie["name"]: cookie["value"] for cookie in visitor.page.context.cookies()}
    with clip.open("rb") as file:
        answer = requests.post(f"{visitor.site.url}/share/", files={"file": file}, cookies=cookies, timeout=30)
    assert answer.url == f"{visitor.site.url}/share/"
    assert "Choose the file that you wanted to share." in answer.text
    with clip.open("rb") as file:
        answer = requests.post(f"{visitor.site.url}/share/", files={"file": file}, timeout=30)
    assert "/accounts/login/?next=/share/" in answer.url
    visitor.go("/share/")
    expect(visitor.page.get_by_text("The shared file did not arrive here.")).to_be_visible()


def test_chromium_finds_nothing_in_the_way_of_installing(site: Site, chromium: Browser, tmp_path: Path) -> None:
    # Chromium installs nothing from the private windows that other tests use.
    playwright: Playwright = chromium.browser_type  # type: ignore[assignment]
    context = playwright.launch_persistent_context(  # type: ignore[attr-defined]
        tmp_path / "profile", executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS
    )
    page = context.new_page()
    page.goto(site.url)
    with_service_worker(page)
    session = context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert json.loads(manifest["data"])["name"] == "Sentinel"
    assert session.send("Page.getInstallabilityErrors") == {"installabilityErrors": []}
    context.close()


def test_the_icons_are_what_the_manifest_says(site: Site) -> None:
    manifest = requests.get(f"{site.url}/manifest.webmanifest", timeout=30)
    assert manifest.headers["Content-Type"] == "application/manifest+json"
    for icon in manifest.json()["icons"]:
        picture = requests.get(site.url + icon["src"], timeout=30)
        assert picture.headers["Content-Type"] == "image/png"
        assert len(picture.content) < 30_000
        width, height = (int.from_bytes(picture.content[at : at + 4], "big") for at in (16, 20))
        assert icon["sizes"] == f"{width}x{height}"


def test_the_key_that_pages_hand_out_is_a_point(visitor: Visitor) -> None:
    visitor.sign_up("jaya")
    visitor.go("/notifications/")
    key = decode(visitor.page.locator("[data-push]").get_attribute("data-key") or "")
    assert (len(key), key[0]) == (65, 4)


def test_letters_that_the_device_lacks_are_there_without_a_network(site: Site, chromium: Browser) -> None:
    context = chromium.new_context(locale="ml")
    page = context.new_page()
    page.goto(site.url)
    with_service_worker(page)
    page.goto(f"{site.url}/models/")
    page.evaluate("document.fonts.ready")
    web = site.processes.pop("web")
    web.terminate()
    web.wait(timeout=30)
    try:
        page.goto(f"{site.url}/analyses/")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.evaluate("document.fonts.ready")
        fonts = "[...document.fonts].filter((font) => font.status === 'loaded').map((font) => font.family)"
        assert any("Malayalam" in family for family in page.evaluate(fonts))
        assert any("malayalam" in path for path in kept(page))
    finally:
        context.close()
        site.start_web()

"""Second factors as owners use them: a code app without any script, passkeys with a device that Chromium plays."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django_otp.oath import hotp
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, Visitor, _open
from tests.conftest import PASSWORD

pytestmark = pytest.mark.browser


@pytest.fixture
def named_visitor(site: Site, chromium: Browser) -> Iterator[Visitor]:
    """At the site's name: passkeys belong to names, not to numbers."""
    with _open(site, chromium) as visitor:
        visitor.origin = site.url.replace("127.0.0.1", "localhost")
        yield visitor


def add_device(page: Page) -> Any:
    """A device with a screen lock, that always lets its owner through."""
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devices, made["authenticatorId"]


def test_a_passkey_is_made_and_logs_in_without_a_password(named_visitor: Visitor) -> None:
    visitor, page = named_visitor, named_visitor.page
    devices, device = add_device(page)
    visitor.sign_up("keyholder")
    visitor.go("/accounts/security/")
    page.get_by_label("What is this device called?").fill("My phone")
    page.get_by_role("button", name="Add a passkey").click()
    expect(visitor.heading).to_have_text("Your recovery codes")
    visitor.check_page()
    codes = page.locator(".recovery-codes code").all_inner_texts()
    assert len(codes) == 10
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_text().split() == codes
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_label("Name of the passkey")).to_have_value("My phone")
    visitor.check_page()

    page.get_by_role("button", name="Log out", exact=True).click()
    visitor.go("/accounts/login/?next=/analyses/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(visitor.heading).to_have_text("Your examinations")

    # Beside the password it is the second step. A device that does not check its owner gets nobody in.
    page.get_by_role("button", name="Log out", exact=True).click()
    devices.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    visitor.log_in("keyholder", PASSWORD)
    expect(visitor.heading).to_have_text("Second step")
    visitor.check_page()
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_text("The passkey was not used.")).to_be_visible()
    devices.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(visitor.heading).to_have_text("Examine a video or photo")

    visitor.go("/accounts/security/")
    page.get_by_role("button", name=re.compile("Remove.*My phone")).click()
    expect(page.get_by_text("The passkey is removed.")).to_be_visible()


def test_a_code_app_is_set_up_and_used_without_javascript(visitor_without_javascript: Visitor) -> None:
    visitor, page = visitor_without_javascript, visitor_without_javascript.page
    visitor.sign_up("coder")
    visitor.go("/accounts/security/")
    page.get_by_role("link", name="Set up a code app").click()
    expect(page.get_by_role("img", name="QR code for the code app")).to_be_visible()
    secret = base64.b32decode(page.locator(".secret").inner_text().replace(" ", ""))
    step = int(time.time()) // 30
    page.get_by_role("textbox", name="Code").fill(str(hotp(secret, step)).zfill(6))
    page.get_by_role("button", name="Switch on").click()
    expect(visitor.heading).to_have_text("Your recovery codes")
    page.get_by_role("button", name="Log out", exact=True).click()
    visitor.log_in("coder", PASSWORD)
    expect(visitor.heading).to_have_text("Second step")
    # The next one: each works once.
    page.get_by_role("textbox", name="Code").fill(str(hotp(secret, step + 1)).zfill(6))
    page.get_by_role("button", name="Go on").click()
    expect(visitor.heading).to_have_text("Examine a video or photo")

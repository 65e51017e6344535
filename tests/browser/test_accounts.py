"""Who gets in, and what stays closed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Site, Visitor
from tests.conftest import PASSWORD
from tests.media_factory import make_face_image

pytestmark = pytest.mark.browser


def test_a_stranger_finds_nothing_of_what_another_has(
    site: Site, visitor: Visitor, another_visitor: Visitor, tmp_path: Path
) -> None:
    site.start_worker()
    visitor.sign_up("keeper")
    result = visitor.upload(make_face_image(tmp_path / "portrait.jpg"))
    picture = visitor.page.locator(".strip img").first.get_attribute("src")
    deletion = visitor.page.get_by_role("link", name="Delete").get_attribute("href")
    assert picture is not None
    assert deletion is not None
    assert visitor.go(picture) == 200

    another_visitor.go(result)
    expect(another_visitor.heading).to_have_text("Log in")
    another_visitor.sign_up("nosy")
    for path in (result, picture, deletion, f"/api/v1{result}", f"/api/v1{result}progress/"):
        assert another_visitor.go(path) == 404, path
    another_visitor.go(result)
    expect(another_visitor.heading).to_have_text("There is nothing here")
    another_visitor.check_page()


def test_guessing_a_password_is_stopped(visitor: Visitor) -> None:
    visitor.sign_up("guarded")
    visitor.page.get_by_role("button", name="Log out").click()
    visitor.log_in("guarded", "wrong")
    expect(visitor.page.get_by_role("alert")).to_be_visible()
    visitor.check_page()
    for _ in range(4):
        visitor.log_in("guarded", "wrong")
    expect(visitor.heading).to_have_text("Too many failed log-ins")
    visitor.check_page()
    with visitor.page.expect_response(lambda response: response.request.method == "POST") as answer:
        visitor.log_in("guarded", PASSWORD)
    assert answer.value.status == 429
    assert "sessionid" not in {cookie.get("name") for cookie in visitor.page.context.cookies()}


def test_a_lost_password_is_replaced_by_mail(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_up("forgetful")
    page.get_by_role("button", name="Log out").click()
    visitor.go("/accounts/login/")
    page.get_by_role("link", name="Forgotten your password?").click()
    visitor.check_page()
    page.get_by_label("Email").fill("Forgetful@example.org")
    page.get_by_role("button", name="Send the link").click()
    expect(visitor.heading).to_have_text("Look into your mailbox")
    visitor.check_page()

    site.start_worker()
    mail = site.mail_with("Hello forgetful,")
    link = re.search(r"http://\S+", mail)
    assert link is not None
    page.goto(link[0])
    expect(visitor.heading).to_have_text("Choose a new password")
    visitor.check_page()
    page.get_by_label("New password", exact=True).fill("quite another one 7")
    page.get_by_label("New password confirmation").fill("quite another one 7")
    page.get_by_role("button", name="Set password").click()
    expect(visitor.heading).to_have_text("Your new password is set")
    visitor.check_page()

    visitor.log_in("Forgetful@example.org", "quite another one 7")
    expect(visitor.heading).to_have_text("Examine a video or photo")
    page.goto(link[0])
    expect(visitor.heading).to_have_text("This link does not work any more")


def test_a_new_password_is_shown_and_measured_while_it_is_typed(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/accounts/signup/")
    page.get_by_label("User name").fill("आशा")
    field, meter = page.get_by_label("Password", exact=True), page.locator("meter")
    button = page.get_by_role("button", name="Show the password").first
    submit = page.get_by_role("main").get_by_role("button", name="Sign up")
    before = submit.bounding_box()
    field.fill("12345")
    expect(page.get_by_role("status").filter(has_text="rules are met")).to_have_text("3 of 6 rules are met")
    # It would move away from under a finger.
    assert submit.bounding_box() == before
    field.press("Tab")
    expect(button).to_be_focused()
    button.press("Space")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(field).to_have_attribute("type", "text")
    field.fill(PASSWORD)
    expect(page.locator(".helptext li[data-met]")).to_have_count(6)
    expect(meter).to_have_js_property("value", 6)
    visitor.check_page()
    page.get_by_label("E-mail address").fill("shown@example.org")
    page.get_by_label("Password confirmation").fill("another one than before")
    page.get_by_role("button", name="Sign up").click()
    expect(page.locator(".errorlist").first).to_be_visible()
    expect(field).to_have_attribute("type", "password")
    field.fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("link", name="Account: आशा")).to_be_visible()
    visitor.check_page()


def test_without_javascript_passwords_have_no_dead_buttons(site: Site, chromium: Browser) -> None:
    context = chromium.new_context(locale="en", java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.url}/accounts/signup/")
    expect(page.get_by_label("Password", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Show the password")).to_have_count(0)
    expect(page.locator("meter")).to_be_hidden()
    context.close()


def test_a_password_is_changed(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_up("changer")
    page.get_by_role("link", name="Account: changer").click()
    page.get_by_role("link", name="Change password").click()
    visitor.check_page()
    page.get_by_label("Old password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill("12345")
    page.get_by_label("New password confirmation").fill("12345")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".errorlist").first).to_be_visible()
    visitor.check_page()
    page.get_by_label("Old password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill("quite another one 7")
    page.get_by_label("New password confirmation").fill("quite another one 7")
    page.get_by_role("button", name="Change password").click()
    expect(visitor.heading).to_have_text("Your password is changed")
    visitor.check_page()


def test_the_account_is_kept_without_javascript(site: Site, visitor_without_javascript: Visitor) -> None:
    visitor = visitor_without_javascript
    page = visitor.page
    visitor.sign_up("minder")
    answer = requests.post(
        f"{site.url}/api/v1/tokens/",
        json={"username": "minder", "password": PASSWORD, "device": "A phone with quite a long name"},
        timeout=20,
    )
    page.get_by_role("link", name="Account: minder").click()
    expect(visitor.heading).to_have_text("Your account")
    page.get_by_label("First name").fill("Asha")
    page.get_by_label("E-mail address").fill("new@example.org")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".errorlist")).to_have_text("This is not your password.")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Your account is changed.")).to_be_visible()
    page.get_by_role("button", name="A phone with quite a long name").click()
    expect(page.get_by_text("The device is logged out.")).to_be_visible()
    header = {"Authorization": f"Bearer {answer.json()['access']}"}
    assert requests.get(f"{site.url}/api/v1/account/", headers=header, timeout=20).status_code == 401


def test_an_account_is_deleted(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_up("leaver")
    for device in ("A phone", ""):
        fields = {"username": "leaver", "password": PASSWORD, "device": device}
        requests.post(f"{site.url}/api/v1/tokens/", json=fields, timeout=20)
    visitor.go("/accounts/")
    visitor.check_page()
    page.get_by_role("link", name="Delete your account").click()
    visitor.check_page()
    page.get_by_label("Your password").fill("wrong")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator(".errorlist")).to_have_text("This is not your password.")
    visitor.check_page()
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("Your account is deleted.")).to_be_visible()
    visitor.log_in("leaver", PASSWORD)
    expect(page.get_by_role("alert")).to_be_visible()


def test_the_keyboard_reaches_the_content_first(visitor: Visitor) -> None:
    visitor.go("/")
    visitor.page.keyboard.press("Tab")
    expect(visitor.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("main")).to_be_focused()

"""The API's documentation, under the site's own policy and without a request to anybody else."""

from __future__ import annotations

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import Site, Visitor

pytestmark = pytest.mark.browser

REDOC_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"


@pytest.fixture
def elsewhere(site: Site, visitor: Visitor) -> list[str]:
    """Requests to other hosts that were answered."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((site.url, "blob:", "data:")):
            asked.append(request.url)

    visitor.page.on("requestfinished", note)
    return asked


def test_swagger_ui_sends_requests_as_whoever_is_logged_in(visitor: Visitor, elsewhere: list[str]) -> None:
    visitor.sign_up("tries-requests")
    assert visitor.go("/api/docs/") == 200
    operation = visitor.page.locator(".opblock-get", has=visitor.page.locator("[data-path='/api/v1/analyses/']"))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table tbody")
    expect(answer.locator(".response-col_status")).to_have_text("200")
    expect(answer.locator("code").first).to_contain_text('"results"')
    assert visitor.complaints == []
    assert elsewhere == []


def test_redoc_is_styled_and_searches(visitor: Visitor, elsewhere: list[str]) -> None:
    assert visitor.go("/api/docs/redoc/") == 200
    expect(visitor.page.get_by_role("heading", name="Sentinel API")).to_be_visible()
    search = visitor.page.get_by_role("searchbox").or_(visitor.page.get_by_placeholder("Search..."))
    search.fill("feedback")
    expect(visitor.page.locator("[data-role='search:results'] li").first).to_be_visible()
    # Nothing that Redoc brings was refused, but for the logo that it would show from elsewhere.
    assert [line for line in visitor.complaints if REDOC_LOGO not in line] == []
    assert elsewhere == []


def test_the_guide_for_app_developers_is_linked_and_readable(visitor: Visitor) -> None:
    visitor.go("/")
    visitor.page.get_by_role("contentinfo").get_by_role("link", name="For app developers").click()
    expect(visitor.heading).to_have_text("For app developers")
    visitor.check_page()

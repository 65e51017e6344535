"""Two people and a case: one opens it and invites, the other joins, looks, takes a report away, and is put out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.media_factory import make_face_image

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_image(tmp_path_factory.mktemp("portrait") / "portrait.jpg")


def test_a_colleague_is_invited_looks_and_is_put_out(
    visitor: Visitor, another_visitor: Visitor, portrait: Path, tmp_path: Path
) -> None:
    owner, colleague = visitor, another_visitor
    visitor.site.start_worker()
    owner.sign_up("asha-cases")
    colleague.sign_up("ravi-cases")
    result = owner.upload(portrait)
    owner.go("/cases/")
    owner.check_page()
    owner.page.get_by_role("link", name="Open a case").click()
    owner.check_page()
    owner.page.get_by_label("Title").fill("A case with a title that is longer than a narrow telephone is wide")
    owner.page.get_by_role("button", name="Save").click()
    case = owner.path
    owner.page.get_by_role("link", name="Add examined files").click()
    owner.check_page()
    owner.page.get_by_label("portrait.jpg").check()
    owner.page.get_by_role("button", name="Add", exact=True).click()
    owner.page.get_by_label("User name or e-mail address").fill("ravi-cases@example.org")
    owner.page.get_by_role("button", name="Invite", exact=True).click()
    expect(owner.page.get_by_text("not accepted yet")).to_be_visible()
    owner.check_page()

    assert (colleague.go(case), colleague.go(result)) == (404, 404)
    colleague.go("/cases/")
    colleague.check_page()
    colleague.page.get_by_role("button", name="Join").click()
    expect(colleague.heading).to_contain_text("A case with a title")
    colleague.check_page()
    expect(colleague.page.get_by_role("button", name="Add the note")).to_have_count(0)
    take_report_away(colleague, tmp_path / "case.pdf")
    colleague.go(case)
    colleague.page.get_by_role("link", name="portrait.jpg", exact=True).click()
    expect(colleague.heading).to_have_text("Signs of manipulation found")
    expect(colleague.page.get_by_role("link", name="Delete")).to_have_count(0)

    owner.go(result)
    owner.page.get_by_role("link", name="Read the custody log").click()
    owner.check_page()
    row = owner.page.get_by_role("row").filter(has_text="Downloaded with the report of a case")
    expect(row).to_contain_text("ravi-cases")
    expect(row).to_contain_text("127.0.0.1")

    owner.go(case)
    owner.page.get_by_role("button", name=re.compile("Remove.*ravi-cases")).click()
    expect(owner.page.get_by_text("They are no longer in this case.")).to_be_visible()
    assert (colleague.go(case), colleague.go(result)) == (404, 404)
    assert "nothing is wrong" in visitor.site.manage("check_custody_log").stdout


def take_report_away(visitor: Visitor, target: Path) -> None:
    """From the page of a case."""
    visitor.page.get_by_role("button", name="Make the report (PDF)").click()
    expect(visitor.heading).to_have_text("Reports and exports")
    visitor.check_page()
    expect(visitor.page.get_by_text("Ready", exact=True)).to_be_visible(timeout=60_000)
    visitor.check_page()
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("link", name="Download", exact=True).click()
    download.value.save_as(target)
    assert target.read_bytes().startswith(b"%PDF-")

"""The guide for app developers and the script of the phone apps' calls: what they show really works."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from django.test import Client
from django.urls import Resolver404, resolve

from accounts.errors import STATUS, Code, text_of
from sentinel_site.api_docs import GUIDE, render_guide
from tests.site_process import ROOT, SiteProcess


def test_the_guide_lists_every_error_with_its_status_and_text() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.*) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [
        (str(code), str(STATUS[code]), text_of(code)) for code in sorted(Code, key=lambda code: (STATUS[code], code))
    ]


def test_the_guide_is_a_page_whose_links_lead_somewhere(client: Client, db: None) -> None:
    page = client.get("/developers/")
    assert page.status_code == 200
    assert page.content.count(b"<h1") == 1
    links = re.findall(r'href="(/[^"]*)"', render_guide(GUIDE.read_text(encoding="utf-8")))
    assert links != []
    for link in links:
        try:
            resolve(link)
        except Resolver404:
            pytest.fail(f"{link} leads nowhere")


def test_headings_can_be_linked_to_and_raw_html_stays_text() -> None:
    html = render_guide("# Title\n\n## Log in\n\n<script>alert(1)</script>\n")
    assert '<h2 id="log-in">Log in</h2>' in html
    assert "<script>" not in html
    assert "Title" not in html


def run_bash(arguments: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", **environment}
    return subprocess.run(
        ["bash", *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
def test_the_commands_of_the_guide_work_one_after_the_other(live: SiteProcess, face_clip: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 10
    script = tmp_path / "guide.sh"
    script.write_text("set -euo pipefail\n" + "\n".join(blocks), encoding="utf-8")
    environment = {"SITE": live.url, "VIDEO": str(face_clip), "NAME": "follows-the-guide"}
    done = run_bash(["-x", str(script)], environment, tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{live.log('worker')}"
    assert '"outcome":"FAKE"' in done.stdout


@pytest.mark.slow
def test_the_script_of_the_phone_apps_calls_succeeds(
    live: SiteProcess, face_clip: Path, face_photo: Path, tmp_path: Path
) -> None:
    environment = {"SITE": live.url, "VIDEO": str(face_clip), "IMAGE": str(face_photo)}
    done = run_bash([str(ROOT / "docs" / "try-the-api.sh")], environment, tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{live.log('worker')}"
    assert done.stdout.endswith("All answers were as expected.\n")


@pytest.mark.slow
def test_the_script_fails_where_an_answer_is_not_as_expected(live: SiteProcess, tmp_path: Path) -> None:
    no_video = tmp_path / "notes.mp4"
    no_video.write_text("no video")
    environment = {"SITE": live.url, "VIDEO": str(no_video), "IMAGE": str(no_video)}
    done = run_bash([str(ROOT / "docs" / "try-the-api.sh")], environment, tmp_path)
    assert done.returncode == 1
    assert "expected 200" in done.stderr

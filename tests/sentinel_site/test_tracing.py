"""A request and what comes of it, as those see it who watch over a site: traces, errors, log lines, figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.media_factory import make_face_video
from tests.sentinel_site.watchers import Watcher, watching
from tests.site_process import SiteProcess, running_site, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow

SECRET = "Zm9yIG5vYm9keSBlbHNl"
# Of this test's member, who must be in nothing that leaves.
MEMBER = "watchedmember"


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    with watching() as server:
        yield server


@pytest.fixture(scope="module")
def site(prepared: Path, tmp_path_factory: pytest.TempPathFactory, watcher: Watcher) -> Iterator[SiteProcess]:
    folder = tmp_path_factory.mktemp("watched")
    write_tiny_detector(folder / "detectors")
    # A page that breaks.
    (folder / "templates/accounts").mkdir(parents=True)
    (folder / "templates/accounts/password_reset.html").write_text("{% no such tag %}")
    environment = {
        "SENTINEL_DETECTOR": NAME,
        "SENTINEL_DETECTORS_DIR": str(folder / "detectors"),
        "SENTINEL_TEMPLATES_DIR": str(folder / "templates"),
        "LOG_FORMAT": "json",
        "SENTINEL_METRICS": "loopback",
        "OTEL_EXPORTER_OTLP_ENDPOINT": watcher.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "SENTRY_DSN": watcher.dsn,
    }
    with running_site(prepared, folder / "data", **environment) as running:
        yield running


def _lines(site: SiteProcess, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.log(name).splitlines() if line.startswith("{")]


def test_a_file_is_one_trace_from_the_request_to_the_last_stage(
    site: SiteProcess, watcher: Watcher, tmp_path: Path
) -> None:
    member = site.member(MEMBER)
    clip = make_face_video(tmp_path / "private-name.mp4", seconds=1)
    answer = member.upload(clip)
    assert answer.status_code == 201, answer.text
    request_id = answer.headers["X-Request-ID"]
    assert len(request_id) == 32
    site.start_worker()
    public_id = answer.json()["id"]
    assert member.wait_for(public_id)["status"] == "done"

    def by_name() -> dict[str, dict[str, Any]]:
        of_request = [
            span["trace"] for span in watcher.spans if span["attributes"].get("sentinel.request_id") == request_id
        ]
        return {span["name"]: span for span in watcher.spans if span["trace"] in of_request}

    wait_until(lambda: "examine" in by_name(), seconds=20, what=lambda: f"the worker's span: {sorted(by_name())}")
    spans = by_name()
    request = next(span for name, span in spans.items() if name.startswith("POST "))
    assert spans["enqueue"]["parent"] == request["id"]
    assert spans["examine"]["parent"] == request["id"]
    assert spans["examine"]["attributes"]["sentinel.analysis"] == public_id
    for stage in ("reading", "finding_faces", "judging", "concluding"):
        if stage in spans:
            assert spans[stage]["parent"] == spans["examine"]["id"]
    assert {"reading", "concluding"} <= set(spans)

    figures = requests.get(f"{site.url}/metrics", timeout=30).text
    assert 'sentinel_submissions_total{kind="file",result="accepted",source="' in figures
    assert 'sentinel_analyses_finished_last_hour{error="",outcome="' in figures
    assert "django_http_responses_total_by_status_view_method_total" in figures
    asked_by_proxy = requests.get(f"{site.url}/metrics", headers={"X-Forwarded-For": "127.0.0.1"}, timeout=30)
    assert asked_by_proxy.status_code == 404
    private = (MEMBER, "private-name", f"{MEMBER}@example.org", member.session.cookies["sessionid"])
    for word in private:
        assert word.encode() not in watcher.bytes
        assert word not in figures


def test_an_error_is_told_with_its_number_and_without_secrets(site: SiteProcess, watcher: Watcher) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": f"sessionid={SECRET}"}
    answer = requests.get(f"{site.url}/accounts/password-reset/?token={SECRET}", headers=headers, timeout=30)
    assert answer.status_code == 500
    request_id = answer.headers["X-Request-ID"]
    assert request_id in answer.text
    wait_until(lambda: bool(watcher.errors), seconds=20, what="the error")
    told = next(error for error in watcher.errors if error["tags"].get("request_id") == request_id)
    assert told["exception"]["values"][-1]["type"] == "TemplateSyntaxError"
    assert told["request"] == {"method": "GET", "url": f"{site.url}/accounts/password-reset/"}
    assert told["release"].startswith("sentinel@")
    line = next(line for line in _lines(site, "web") if line.get("request_id") == request_id and line.get("error"))
    assert "TemplateSyntaxError" in line["error"]
    assert SECRET.encode() not in watcher.bytes
    assert SECRET not in site.log("web")


def test_a_collector_that_is_away_keeps_nobody_waiting(prepared: Path, tmp_path: Path) -> None:
    # Nobody routes there: connections neither come about nor are refused.
    nowhere = "http://192.0.2.1:4318"
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": nowhere,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "SENTRY_DSN": "http://public@192.0.2.1/1",
    }
    with running_site(prepared, tmp_path / "data", **environment) as site:
        begun = time.monotonic()
        assert all(requests.get(site.url, timeout=10).status_code == 200 for _ in range(20))
        # Waiting for one of them would take three seconds each.
        assert time.monotonic() - begun < 20
        begun = time.monotonic()
        site.stop()
        assert time.monotonic() - begun < 12

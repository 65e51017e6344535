"""One message, whatever is killed when, and no analysis kept waiting by a push service. Real processes, real kills."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.media_factory import make_video
from tests.push_service import PushService, push_service
from tests.site_process import Member, SiteProcess, running_site, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow

PUSH_TIMEOUT = 3.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PushService]:
    with push_service(tmp_path) as running:
        yield running


@pytest.fixture
def site(prepared: Path, tmp_path: Path, service: PushService) -> Iterator[SiteProcess]:
    write_tiny_detector(tmp_path / "detectors")
    mails = tmp_path / "mails"
    mails.mkdir()
    environment = {
        "SENTINEL_DETECTOR": NAME,
        "SENTINEL_DETECTORS_DIR": str(tmp_path / "detectors"),
        "SENTINEL_PUSH_ALLOW_PRIVATE": "on",
        "SENTINEL_PUSH_TIMEOUT_SECONDS": str(PUSH_TIMEOUT),
        "SENTINEL_PUSH_RETRY_SECONDS": "2",
        # Four slashes: django-environ takes off the first, and what is left has to be absolute.
        "EMAIL_URL": f"filemail:///{mails}",
        # What the site trusts: the push service's certificate.
        "SSL_CERT_FILE": str(service.certificate),
    }
    with running_site(prepared, tmp_path / "data", **environment) as running:
        yield running


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", seconds=1)


def subscribed(site: SiteProcess, service: PushService, name: str) -> Member:
    """A new member whose browser registered itself as the page does."""
    member = site.member(name)
    keys = {"p256dh": service.subscription.p256dh, "auth": service.subscription.auth}
    answer = member.session.post(
        f"{site.url}/api/v1/push-devices/",
        json={"endpoint": service.endpoint, "keys": keys, "name": "Chromium"},
        headers={"X-CSRFToken": str(member.session.cookies["csrftoken"])},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return member


def query(site: SiteProcess, statement: str) -> list[Any]:
    with sqlite3.connect(site.data / "sentinel.sqlite3", timeout=20) as database:
        return database.execute(statement).fetchall()


def deliveries(site: SiteProcess) -> list[Any]:
    return query(site, "SELECT status FROM media_analysis_delivery ORDER BY id")


def kill_worker(site: SiteProcess) -> None:
    family = site.family(site.processes["worker"].pid)
    site.kill("worker")
    for process in family:
        if process.is_running():
            process.kill()


def wait_until_sent(site: SiteProcess, number: int = 1) -> None:
    wait_until(
        lambda: deliveries(site) == [("sent",)] * number,
        seconds=60,
        what=lambda: f"the message to be sent: {deliveries(site)}\n{site.log('worker')}",
    )


def test_a_worker_killed_between_the_result_and_the_message_leaves_exactly_one(
    site: SiteProcess, service: PushService, clip: Path
) -> None:
    member = subscribed(site, service, "asha")
    # Nobody answers the first try, so that the kill comes after the result and before any message.
    service.answers = [(503, {"Retry-After": "0"})] * 2
    site.start_worker()
    public_id = member.upload(clip).json()["id"]
    wait_until(lambda: bool(service.received), seconds=90, what=lambda: f"a first try\n{site.log('worker')}")
    kill_worker(site)
    assert member.analysis(public_id)["status"] == "done"
    assert service.taken == []
    site.start_worker()
    wait_until_sent(site)
    time.sleep(3)
    assert len(service.taken) == 1
    [message] = service.messages()
    assert message["url"] == f"/analyses/{public_id}/"
    assert query(site, "SELECT public_id FROM media_analysis_notification") == [(message["tag"],)]


@pytest.mark.long
def test_a_worker_killed_before_the_notification_was_written_is_made_up_for(
    site: SiteProcess, service: PushService, clip: Path
) -> None:
    member = subscribed(site, service, "asha")
    site.start_worker()
    member.wait_for(member.upload(clip).json()["id"])
    wait_until_sent(site)
    kill_worker(site)
    # As a kill right after the result's update leaves it.
    for statement in (
        "DELETE FROM media_analysis_delivery",
        "DELETE FROM media_analysis_notification",
        "UPDATE media_analysis_analysis SET announced_at = NULL",
    ):
        query(site, statement)
    service.taken.clear()
    site.start_worker()
    wait_until_sent(site)
    assert len(service.messages()) == 1


@pytest.mark.long
def test_a_worker_killed_while_the_service_answers_sends_again_under_the_same_topic(
    site: SiteProcess, service: PushService, clip: Path
) -> None:
    member = subscribed(site, service, "asha")
    service.hold.set()
    site.start_worker()
    member.upload(clip)
    wait_until(lambda: bool(service.taken), seconds=90, what=lambda: f"the message\n{site.log('worker')}")
    kill_worker(site)
    assert deliveries(site) == [("sending",)]
    service.hold.clear()
    site.start_worker()
    wait_until_sent(site)
    assert len(service.taken) == 2
    assert len({request.headers["Topic"] for request in service.taken}) == 1
    assert len({service.subscription.read(request.body)["tag"] for request in service.taken}) == 1
    # What a browser shows that was away all the time.
    assert len(service.messages()) == 1


@pytest.mark.long
def test_a_push_service_that_hangs_keeps_no_analysis_waiting(
    site: SiteProcess, service: PushService, clip: Path
) -> None:
    member = subscribed(site, service, "asha")
    site.start_worker()
    # The first loads the networks.
    member.wait_for(member.upload(clip).json()["id"])
    service.hold.set()
    ids = [member.upload(clip).json()["id"] for _ in range(4)]
    assert [member.wait_for(public_id)["status"] for public_id in ids] == ["done"] * 4
    # From the first start to the last end: no more than the examinations themselves, and not the time-outs between.
    seconds = query(
        site,
        "SELECT (julianday(MAX(finished_at)) - julianday(MIN(started_at))) * 86400 - SUM(seconds) "
        "FROM media_analysis_analysis WHERE id > (SELECT MIN(id) FROM media_analysis_analysis)",
    )[0][0]
    assert seconds < PUSH_TIMEOUT, f"{seconds:.1f} s more than the analyses took"
    service.hold.clear()
    wait_until_sent(site, 5)


@pytest.mark.long
def test_an_email_goes_out_exactly_once(site: SiteProcess, service: PushService, clip: Path, tmp_path: Path) -> None:
    member = site.member("asha")
    page = f"{site.url}/notifications/"
    token = str(member.session.cookies["csrftoken"])
    answer = member.session.post(
        f"{page}preferences/",
        {"notify_by_email": "on", "csrfmiddlewaretoken": token},
        headers={"Referer": page},
        timeout=30,
    )
    assert answer.ok
    site.start_worker()
    member.wait_for(member.upload(clip).json()["id"])
    wait_until_sent(site)
    kill_worker(site)
    site.start_worker()
    time.sleep(8)
    [file] = (tmp_path / "mails").iterdir()
    text = file.read_text()
    assert text.count("Message-ID: <notification-") == 1
    assert "asha@example.org" in text

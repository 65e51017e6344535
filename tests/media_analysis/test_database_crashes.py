"""The database goes away under load and comes back: nobody is told anything wrong, nothing is lost, all goes on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
import requests

from tests.media_factory import make_face_video
from tests.postgresql_process import PostgresqlProcess, running_postgresql
from tests.site_process import Member, SiteProcess, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow


@pytest.fixture
def database() -> Iterator[PostgresqlProcess]:
    # Not below pytest's folder, which every other session of pytest closes to the server's own user again.
    with TemporaryDirectory(prefix="postgresql-") as folder, running_postgresql(Path(folder) / "server") as server:
        yield server


@pytest.fixture
def site(database: PostgresqlProcess, tmp_path: Path) -> Iterator[SiteProcess]:
    write_tiny_detector(tmp_path / "detectors")
    data = tmp_path / "data"
    data.mkdir()
    site = SiteProcess(
        data,
        DATABASE_URL=database.create_database("site"),
        SENTINEL_DETECTOR=NAME,
        SENTINEL_DETECTORS_DIR=str(tmp_path / "detectors"),
        SENTINEL_HEARTBEAT_SECONDS="0.5",
        SENTINEL_STALLED_AFTER_SECONDS="6",
    )
    site.prepare()
    site.start_web()
    site.start_worker()
    try:
        yield site
    finally:
        site.stop()


class Visitors:
    """People who ask all the time; what each kind of page answered, and when."""

    def __init__(self, site: SiteProcess, member: Member) -> None:
        self.site, self.member = site, member
        self.seen: Counter[tuple[str, int]] = Counter()
        self.slowest = 0.0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(path,)) for path in ("/analyses/", "/api/v1/analyses/")
        ]

    def _ask(self, path: str) -> None:
        cookies = dict(self.member.session.cookies)
        while not self._stop.wait(0.05):
            begun = time.monotonic()
            answer = requests.get(f"{self.site.url}{path}", cookies=cookies, timeout=30, allow_redirects=False)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.seen[path, answer.status_code] += 1

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_database_that_stops_and_starts_under_load(
    site: SiteProcess, database: PostgresqlProcess, tmp_path: Path
) -> None:
    member = site.member("asha")
    clip = make_face_video(tmp_path / "clip.mp4", seconds=15, size=(800, 600))
    public_id = member.upload(clip).json()["id"]

    def status() -> str:
        (row,) = database.execute("SELECT status, progress FROM media_analysis_analysis", name="site")
        return f"{row[0]} {row[1]}"

    wait_until(lambda: status().startswith("running") and not status().endswith(" 0"), seconds=90, what="it to run")
    before = {name: process.pid for name, process in site.processes.items()}
    cookies = dict(member.session.cookies)
    with Visitors(site, member) as visitors:
        time.sleep(0.5)
        database.kill()
        away_since = time.monotonic()

        page = requests.get(f"{site.url}/analyses/", cookies=cookies, headers={"Accept-Language": "hi"}, timeout=30)
        assert (page.status_code, page.headers["Retry-After"]) == (503, "10")
        assert '<html lang="hi">' in page.text
        refused = member.upload(clip)
        assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")
        health = requests.get(f"{site.url}/api/v1/health/", timeout=30)
        assert (health.status_code, health.json()["database"]["ok"]) == (503, False)
        assert requests.get(f"{site.url}/api/v1/live/", timeout=30).status_code == 200
        # Longer than an analysis may be without a heartbeat.
        time.sleep(max(8.0 - (time.monotonic() - away_since), 0))

        database.start()
        done = wait(member, public_id)
    assert (done["status"], done["attempts"]) == ("done", 1), site.log("worker")
    assert {name: process.pid for name, process in site.processes.items()} == before
    assert all(psutil.pid_exists(pid) for pid in before.values())
    # Everybody was answered, at once, and with nothing but what is true.
    assert {code for _path, code in visitors.seen} == {200, 503}, visitors.seen
    assert visitors.slowest < 10
    # New files come in again, and are examined.
    second = member.upload(clip)
    assert second.status_code == 201, second.text
    assert wait(member, second.json()["id"])["status"] == "done"
    (spent,) = database.execute("SELECT count(*) FROM accounts_usageentry", name="site")
    assert spent == (2,)


def wait(member: Member, public_id: str) -> dict[str, Any]:
    """As Member.wait_for, but 503 means to come again."""
    found: dict[str, Any] = {}

    def finished() -> bool:
        answer = member.session.get(f"{member.site.url}/api/v1/analyses/{public_id}/", timeout=30)
        if answer.status_code == 503:
            return False
        answer.raise_for_status()
        found.update(answer.json())
        return found["status"] in {"done", "failed"}

    wait_until(
        finished, seconds=90, what=lambda: f"analysis {public_id} to finish: {found}\n{member.site.log('worker')}"
    )
    return found

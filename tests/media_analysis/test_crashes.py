"""What was accepted is never lost, whatever is killed when. These tests really kill the processes."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.media_factory import make_face_video, make_video
from tests.site_process import SiteProcess, running_site, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow

# Fast enough for a test, slow enough for two busy cores.
IMPATIENT = {"SENTINEL_HEARTBEAT_SECONDS": "0.5", "SENTINEL_STALLED_AFTER_SECONDS": "4"}


@pytest.fixture
def site(prepared: Path, tmp_path: Path) -> Iterator[SiteProcess]:
    write_tiny_detector(tmp_path / "detectors")
    environment = {"SENTINEL_DETECTOR": NAME, "SENTINEL_DETECTORS_DIR": str(tmp_path / "detectors"), **IMPATIENT}
    with running_site(prepared, tmp_path / "data", **environment) as running:
        yield running


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that examining it takes seconds."""
    return make_face_video(tmp_path_factory.mktemp("clips") / "long.mp4", seconds=15, size=(800, 600))


def query(site: SiteProcess, statement: str) -> list[Any]:
    with sqlite3.connect(site.data / "sentinel.sqlite3", timeout=20) as database:
        return database.execute(statement).fetchall()


def running_worker(site: SiteProcess, *, attempt: int = 1, percent: int = 0) -> int:
    """Waits until this try of the analysis runs and has come so far; returns the process that runs it."""
    statement = (
        "SELECT worker FROM media_analysis_analysis WHERE status = 'running' "  # noqa: S608 -- numbers
        f"AND attempts = {attempt:d} AND progress >= {percent:d}"
    )
    found: list[Any] = []

    def runs() -> bool:
        found[:] = query(site, statement)
        return bool(found)

    wait_until(runs, seconds=90, what=lambda: f"a running analysis\n{site.log('worker')}")
    return int(found[0][0].rpartition("/")[2])


def test_a_worker_killed_in_the_middle_is_replaced_and_the_analysis_finishes_once(
    site: SiteProcess, long_clip: Path
) -> None:
    member = site.member("asha")
    site.start_worker()
    public_id = member.upload(long_clip).json()["id"]
    psutil.Process(running_worker(site, percent=5)).send_signal(signal.SIGKILL)
    done = member.wait_for(public_id)
    assert done["status"] == "done", done
    assert done["attempts"] == 2
    time.sleep(2)
    assert member.analysis(public_id)["finished_at"] == done["finished_at"]
    assert len(list((site.data / "media/analyses" / public_id).iterdir())) == 1


@pytest.mark.long
def test_a_machine_that_reboots_goes_on_where_it_was(site: SiteProcess, long_clip: Path) -> None:
    member = site.member("asha")
    site.start_worker()
    public_id = member.upload(long_clip).json()["id"]
    running_worker(site)
    for name in ("worker", "web"):
        for process in site.family(site.processes[name].pid):
            process.kill()
        site.kill(name)
    site.start_web()
    site.start_worker()
    assert member.wait_for(public_id)["status"] == "done"


def test_the_workers_of_a_killed_queue_end_with_it(site: SiteProcess) -> None:
    site.start_worker()
    wait_until(lambda: "Worker ready" in site.log("worker"), seconds=60, what="the worker")
    family = site.family(site.processes["worker"].pid)
    assert len(family) >= 4
    site.kill("worker")
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.long
def test_three_lost_tries_fail_with_a_reason_and_a_retry_finishes(site: SiteProcess, long_clip: Path) -> None:
    member = site.member("asha")
    public_id = member.upload(long_clip).json()["id"]
    site.start_worker()
    for attempt in (1, 2, 3):
        psutil.Process(running_worker(site, attempt=attempt)).send_signal(signal.SIGKILL)
    wait_until(
        lambda: member.analysis(public_id)["status"] == "failed", seconds=60, what="the third loss to be noticed"
    )
    failed = member.analysis(public_id)
    assert (failed["status"], failed["error_code"]) == ("failed", "internal_error")
    page = member.session.get(f"{site.url}/analyses/{public_id}/", timeout=30)
    assert f"/analyses/{public_id}/retry/" in page.text
    member.session.post(
        f"{site.url}/analyses/{public_id}/retry/",
        headers={"X-CSRFToken": member.session.cookies["csrftoken"]},
        timeout=30,
    )
    assert member.wait_for(public_id)["status"] == "done"


@pytest.mark.long
def test_two_users_ten_uploads_each_in_parallel_all_finish_and_the_limit_holds(
    site: SiteProcess, tmp_path: Path
) -> None:
    clip = make_video(tmp_path / "clip.mp4", seconds=1)
    members = [site.member("asha"), site.member("biju")]
    site.start_worker()
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda number: members[number % 2].upload(clip), range(24)))
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [429] * 4
    for number, answer in enumerate(answers):
        if answer.status_code == 201:
            assert members[number % 2].wait_for(answer.json()["id"])["status"] == "done"
    assert query(site, "SELECT COUNT(*) FROM accounts_usageentry") == [(20,)]
    assert "database is locked" not in site.log("web") + site.log("worker")


def test_a_detector_that_cannot_load_stops_the_worker_with_a_reason(site: SiteProcess) -> None:
    site.environment["SENTINEL_DETECTOR"] = "no-such-detector"
    site.start_worker()
    assert site.processes.pop("worker").wait(timeout=60) == 78
    assert "no-such-detector" in site.log("worker")


def test_an_upload_of_101_mb_is_refused_unread_and_leaves_nothing(site: SiteProcess, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(101 * 1024 * 1024)
    member = site.member("asha")
    answer = member.upload(large)
    assert (answer.status_code, answer.json()["error"]) == (412, "file_too_large")
    assert list((site.data / "incoming").iterdir()) == []
    assert not list((site.data / "media").rglob("original"))


def test_a_large_upload_is_not_held_in_memory(site: SiteProcess, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(99 * 1024 * 1024)
    member = site.member("asha")
    member.upload(make_video(tmp_path / "first.mp4", seconds=1))  # Loads what the first upload loads.
    web = psutil.Process(site.processes["web"].pid)
    # Forgets the peak so far: hashing a password takes a hundred megabytes for a moment.
    Path(f"/proc/{web.pid}/clear_refs").write_text("5")
    before = web.memory_info().rss
    assert member.upload(large).status_code == 422
    peak = int(Path(f"/proc/{web.pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    assert peak - before < 30 * 1024 * 1024


def test_the_web_process_never_loads_torch(site: SiteProcess, tmp_path: Path) -> None:
    site.member("asha").upload(make_video(tmp_path / "clip.mp4", seconds=1))
    maps = Path(f"/proc/{site.processes['web'].pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "libav" in maps

"""Workers that are restarted one after the other, and a Redis that is killed: nothing is lost, nothing done twice."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.media_factory import make_face_video, make_video
from tests.redis_process import running_redis
from tests.site_process import Member, SiteProcess, running_site, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    write_tiny_detector(tmp_path / "detectors")
    return {
        "SENTINEL_DETECTOR": NAME,
        "SENTINEL_DETECTORS_DIR": str(tmp_path / "detectors"),
        "SENTINEL_DAILY_LIMIT": "100",
        "SENTINEL_DRAIN_SECONDS": "1",
        # Whatever is rescued only because its worker was silent for long comes too late for these tests.
        "SENTINEL_STALLED_AFTER_SECONDS": "300",
    }


@pytest.fixture
def site(prepared: Path, tmp_path: Path, environment: dict[str, str]) -> Iterator[SiteProcess]:
    with running_site(prepared, tmp_path / "data", **environment) as running:
        yield running


def query(site: SiteProcess, statement: str) -> list[Any]:
    with sqlite3.connect(site.data / "sentinel.sqlite3", timeout=20) as database:
        return database.execute(statement).fetchall()


def everything_is_done_once(site: SiteProcess, member: Member, ids: list[str]) -> None:
    for public_id in ids:
        done = member.wait_for(public_id)
        assert (done["status"], done["attempts"]) == ("done", 1), done
    assert query(site, "SELECT COUNT(*) FROM media_analysis_custodyevent WHERE event = 'analysed'") == [(len(ids),)]
    assert query(site, "SELECT COUNT(*) FROM media_analysis_notification") == [(len(ids),)]
    assert len(list((site.data / "media/analyses").glob("*/*"))) == len(ids)


@pytest.mark.long
def test_two_workers_restarted_in_turn_under_load_lose_nothing_and_do_nothing_twice(
    site: SiteProcess, tmp_path: Path
) -> None:
    member = site.member("asha")
    long = make_face_video(tmp_path / "long.mp4", seconds=15, size=(800, 600))
    short = make_video(tmp_path / "short.mp4", seconds=1)

    def start(name: str) -> None:
        site._start(name, "django", "run_worker")
        wait_until(lambda: "Worker ready" in site.log(name), seconds=60, what=name)

    start("first")
    start("second")
    ids = [member.upload(path).json()["id"] for path in (long, long, *[short] * 3)]

    def percent_of_long() -> list[Any]:
        ours = f"LIKE '%:{site.processes['first'].pid}/%'"
        return query(site, f"SELECT progress FROM media_analysis_analysis WHERE status = 'running' AND worker {ours}")  # noqa: S608

    wait_until(lambda: any(row[0] >= 5 for row in percent_of_long()), seconds=60, what="the first to be at it")
    for name, successor in (("first", "third"), ("second", "fourth")):
        process = site.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - begun < 15
        running = query(site, "SELECT worker FROM media_analysis_analysis WHERE status = 'running'")
        assert f":{process.pid}/" not in str(running)
        start(successor)
    # The long one was not through in time: it went back, and that was no failed try.
    assert "given back to the queue" in site.log("first") + site.log("second")
    everything_is_done_once(site, member, ids)
    assert "Traceback" not in "".join(site.log(name) for name in ("first", "second", "third", "fourth"))


def test_a_redis_that_is_killed_costs_nothing_but_a_line_in_the_log(
    prepared: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", seconds=1)
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis") as address:
        port = int(address.rpartition(":")[2].partition("/")[0])
        environment["QUEUE_REDIS_URL"] = address
        with running_site(prepared, tmp_path / "data", **environment) as site:
            member = site.member("asha")
            ids = [member.upload(clip).json()["id"] for _ in range(4)]
            site.start_worker()
            wait_until(lambda: member.analysis(ids[0])["status"] == "done", seconds=90, what="the first")
            # With all messages that it has.
            ids += [member.upload(clip).json()["id"] for _ in range(4)]
            [server] = [each for each in psutil.Process().children() if each.name() == "redis-server"]
            server.kill()
            begun = time.monotonic()
            ids += [member.upload(clip).json()["id"] for _ in range(2)]
            assert time.monotonic() - begun < 10
            everything_is_done_once(site, member, ids)
            with running_redis(tmp_path / "redis", port=port):
                wait_until(lambda: "is back" in site.log("worker"), seconds=20, what="the worker to find it again")
                ids.append(member.upload(clip).json()["id"])
                everything_is_done_once(site, member, ids)
            log = site.log("web") + site.log("worker")
            assert query(site, "SELECT COUNT(*) FROM django_q_ormq") == [(0,)]
    assert log.count("The broker of the queue is away") <= 4
    assert "Traceback" not in log
    assert "reincarnated" not in log

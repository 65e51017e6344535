"""What the site says about itself, and who tells it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from accounts.models import User
from media_analysis import health, housekeeping, readiness
from media_analysis.models import Analysis, WorkerState
from tests.media_analysis.factories import make_analysis, make_done
from tests.site_process import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/health/"


@pytest.fixture
def beat() -> Iterator[health.WorkerBeat]:
    """As if this process were a worker."""
    yield health.WorkerBeat.begin()
    health.WorkerBeat.current = None


def seen(name: str, *, seconds_ago: float = 0, **fields: Any) -> WorkerState:
    return WorkerState.objects.create(name=name, seen_at=timezone.now() - timedelta(seconds=seconds_ago), **fields)


def test_with_a_worker_and_a_database_the_site_is_fit(owner: User) -> None:
    seen("host:1", lanes=["default"], detector="tiny-test")
    seen("host:1/2", detector="tiny-test", detector_version="1")
    answer = Client().get(URL)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert "X-RateLimit-Limit" not in answer
    body = answer.json()
    assert body["fit"] is True
    assert body["web"]["ok"] is body["database"]["ok"] is body["workers"]["ok"] is True
    assert body["database"]["milliseconds"] > 0
    assert body["workers"]["alive"] == 1
    assert body["workers"]["last_seen_at"].endswith("Z")
    assert body["detector"] == {"loaded": True, "name": "tiny-test", "version": "1"}
    lane = {"lane": "default", "waiting": 0, "running": 0, "oldest_waiting_seconds": None, "workers": 1}
    nothing = {"waiting": 0, "running": 0, "oldest_waiting_seconds": None, "unserved": 0}
    assert body["queue"] == {**nothing, "lanes": [lane]}
    assert "host" not in answer.content.decode()


def test_the_queue_tells_how_much_waits_and_since_when(owner: User) -> None:
    make_analysis(owner, spent=False, queued_at=timezone.now() - timedelta(seconds=90))
    make_analysis(owner, spent=False, lane="gpu", wanted_detector="large", priority=Analysis.Priority.BATCH)
    make_analysis(owner, spent=False, status="running", queued_at=timezone.now() - timedelta(hours=1))
    make_analysis(owner, spent=False, stage="fetching", lane="")
    make_done(owner)
    queue = Client().get(URL).json()["queue"]
    assert (queue["waiting"], queue["running"]) == (2, 1)
    assert 90 <= queue["oldest_waiting_seconds"] < 120
    assert [(lane["lane"], lane["waiting"], lane["running"], lane["workers"]) for lane in queue["lanes"]] == [
        ("default", 1, 1, 0),
        ("gpu", 1, 0, 0),
    ]
    assert queue["unserved"] == 2
    found = {(figure.lane, figure.priority): figure for figure in health.queue_figures()}
    assert len(found) == 6
    assert found["gpu", "batch"][2:4] == (1, 0)
    assert found["default", "again"] == ("default", "again", 0, 0, None)


def test_what_no_worker_that_lives_can_do_is_told(owner: User, settings: Any) -> None:
    waiting = make_analysis(owner, spent=False, lane="gpu", wanted_detector="large")
    make_analysis(owner, spent=False)
    seen("host:1", lanes=["default"], detector="small")
    assert Client().get(URL).json()["queue"]["unserved"] == 1
    assert not health.is_served(waiting)
    seen("host:2", lanes=["gpu"], detector="other")
    seen("host:3", lanes=["gpu"], detector="large", draining=True)
    seen("host:4", lanes=["gpu"], detector="large", seconds_ago=31)
    assert not health.is_served(waiting)
    seen("host:5", lanes=["default", "gpu"], detector="large")
    assert health.is_served(waiting)
    assert Client().get(URL).json()["queue"]["unserved"] == 0


def test_without_a_worker_it_is_not_fit_and_says_why() -> None:
    seen("host:1", seconds_ago=31)
    seen("host:1/2", seconds_ago=31, detector="tiny-test", detector_version="1")
    answer = Client().get(URL)
    assert answer.status_code == 503
    body = answer.json()
    assert (body["fit"], body["workers"]["ok"], body["workers"]["alive"]) == (False, False, 0)
    assert body["detector"] == {"loaded": False, "name": "", "version": ""}
    assert body["database"]["ok"] is True


def test_a_process_without_its_guard_is_no_worker() -> None:
    seen("host:1/2", detector="tiny-test", detector_version="1")
    assert Client().get(URL).status_code == 503


def test_a_database_that_fails_is_told_apart() -> None:
    with patch.object(health, "queue_state", side_effect=DatabaseError("secret address")):
        answer = Client().get(URL)
    assert answer.status_code == 503
    assert answer.json()["database"] == {"ok": False, "milliseconds": None}
    assert answer.json()["queue"] is None
    assert "secret" not in answer.content.decode()


def test_a_database_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "DATABASE_SECONDS", 0.1)
    with patch.object(health, "queue_state", side_effect=lambda _abilities: time.sleep(1)):
        begun = time.monotonic()
        answer = Client().get(URL)
        assert time.monotonic() - begun < 0.9
    assert (answer.status_code, answer.json()["database"]["ok"]) == (503, False)


def test_it_is_never_throttled(settings: Any) -> None:
    settings.SENTINEL_API_RATE_ANONYMOUS = "1/hour"
    seen("host:1")
    for path in (URL, "/api/v1/live/"):
        assert [Client().get(path).status_code for _ in range(3)] == [200] * 3


def test_being_alive_needs_no_database() -> None:
    with patch.object(health, "check_health", side_effect=AssertionError):
        answer = Client().get("/api/v1/live/")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


def test_a_worker_says_that_it_lives_what_it_loaded_and_when_it_stops(beat: health.WorkerBeat) -> None:
    beat.alive()
    first = WorkerState.objects.get()
    assert first.name.rpartition(":")[2] == str(os.getpid())
    assert (first.lanes, first.detector, first.draining) == (["default"], "sentinel-lite", False)
    beat.alive()
    again = WorkerState.objects.get()
    assert again.seen_at > first.seen_at
    assert again.started_at == first.started_at
    with patch.object(health, "BEAT_SECONDS", 3600):
        health.announce_detector("tiny-test", "1")
        wait_until(
            lambda: WorkerState.objects.filter(detector="tiny-test").exists(), seconds=10, what="the detector's row"
        )
    assert health.workers_state().detector == "tiny-test"
    assert health.workers_state().alive == 1
    seen("other:1")
    beat.stopped()
    assert [worker.name for worker in WorkerState.objects.all()] == ["other:1"]


def test_outside_of_a_worker_nobody_says_anything() -> None:
    health.announce_detector("tiny-test", "1")
    assert not WorkerState.objects.exists()


def test_old_words_are_swept() -> None:
    seen("old:1", seconds_ago=2 * 3600)
    seen("young:1", seconds_ago=60)
    housekeeping.sweep_expired()
    assert [worker.name for worker in WorkerState.objects.all()] == ["young:1"]


def test_administrators_see_the_workers_and_the_queue(as_admin: Client, owner: User) -> None:
    seen("host:1")
    make_analysis(owner, spent=False)
    page = as_admin.get("/admin/media_analysis/workerstate/").content.decode()
    assert "host:1" in page
    assert "1 waiting, 0 running" in page
    assert as_admin.get("/admin/media_analysis/resumableupload/").status_code == 200


@pytest.fixture
def data_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.mark.django_db(transaction=True)
def test_a_web_process_is_ready_until_it_is_taken_out_of_service(data_folder: Path) -> None:
    answer = Client().get("/api/v1/ready/")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "database": True, "queue": True, "storage": True, "draining": False}
    (data_folder / readiness.DRAIN_FILE).touch()
    answer = Client().get("/api/v1/ready/")
    assert answer.status_code == 503
    assert answer.json()["draining"] is True


@pytest.mark.parametrize(("missing", "ready"), [("database", False), ("storage", False), ("queue", True)])
def test_it_is_not_ready_without_what_requests_need(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str, ready: bool
) -> None:
    def away() -> None:
        raise ConnectionError("gone")

    asks = dict.fromkeys(readiness.ASKS, lambda: None) | {missing: away}
    monkeypatch.setattr(readiness, "ASKS", asks)
    state = readiness.check_readiness()
    assert getattr(state, missing) is False
    assert state.ready is ready


def test_what_hangs_is_not_waited_for(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(readiness, "SECONDS", 0.1)
    monkeypatch.setattr(readiness, "ASKS", dict.fromkeys(readiness.ASKS, lambda: None) | {"storage": go_on.wait})
    begun = time.monotonic()
    states = [readiness.check_readiness() for _ in range(3)]
    assert time.monotonic() - begun < 2
    assert [state.ready for state in states] == [False] * 3
    assert all(state.database for state in states)
    # It was asked once, not once for each time that somebody wanted to know.
    go_on.set()
    monkeypatch.setattr(readiness, "SECONDS", 10)
    assert readiness.check_readiness().ready

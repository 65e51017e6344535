"""What a worker tells its supervisor."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from media_analysis import signs_of_life


@pytest.fixture(autouse=True)
def data_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def test_a_worker_is_healthy_as_long_as_its_loop_turns(data_folder: Path) -> None:
    with pytest.raises(SystemExit, match="1"):
        call_command("worker_health")
    signs_of_life.show()
    call_command("worker_health")
    long_ago = time.time() - signs_of_life.STALE_SECONDS - 10
    os.utime(data_folder / signs_of_life.FILE, (long_ago, long_ago))
    with pytest.raises(SystemExit, match="1"):
        call_command("worker_health")
    signs_of_life.show()
    signs_of_life.gone()
    with pytest.raises(SystemExit, match="1"):
        call_command("worker_health")


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    address = f"@sentinel-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + address[1:] if abstract else address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        signs_of_life.show("READY=1")
        signs_of_life.show()
        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


def test_a_systemd_that_is_away_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    signs_of_life.show()
    assert signs_of_life.silent_for() is not None

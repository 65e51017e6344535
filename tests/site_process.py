"""A whole site in processes of its own: web server, worker, database, folders. For tests that kill or overload it."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
BOUNDARY = "----------a7c3f1e5b9d24680"
PASSWORD = "a long and unlikely one"


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as free:
        free.bind((address, 0))
        port: int = free.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Place:
    """Where a site runs: what its web server listens at, and what command lines on that host begin with."""

    address: str
    port: int
    within: Sequence[str] = ()


class SiteProcess:
    """The site under test. ``data`` is its data folder; the processes write their output to files there.

    Without a ``place`` it is on a free port of this machine.
    """

    def __init__(self, data: Path, place: Place | None = None, /, **environment: str) -> None:
        self.data = data
        self.place = place or Place("127.0.0.1", free_port())
        self.port = self.place.port
        self.url = f"http://{self.place.address}:{self.port}"
        self.environment = {
            **os.environ,
            "SENTINEL_DATA_DIR": str(data),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "sentinel_site.settings",
            # All come from one address here; tests of the rates ask for their own.
            "SENTINEL_API_RATE_USER": "",
            "SENTINEL_API_RATE_ANONYMOUS": "",
            "SENTINEL_API_RATE_SIGN_UP": "",
            **environment,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def manage(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [*self.place.within, sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True, **options
        )

    def prepare(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.manage("collectstatic", "--no-input", "--verbosity", "0")

    def start_web(self) -> None:
        self.launch_web()
        self.wait_for_web()

    def launch_web(self) -> None:
        """Start it and don't wait."""
        self._start(
            "web",
            "uvicorn",
            "sentinel_site.asgi:application",
            *("--host", self.place.address, "--port", str(self.port), "--lifespan", "off", "--log-level", "warning"),
            *("--ws-max-size", "65536", "--ws-per-message-deflate", "false", "--timeout-graceful-shutdown", "5"),
            *("--http", "sentinel_site.http_server:BoundedHttp", "--no-server-header"),
        )

    def wait_for_web(self) -> None:
        wait_until(self._answers, seconds=30, what="the web server to answer")

    def start_worker(self) -> None:
        self._start("worker", "django", "run_worker")

    def _start(self, name: str, module: str, *arguments: str) -> None:
        command = [*self.place.within, sys.executable, "-m", module, *arguments]
        with (self.data / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def _answers(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    def log(self, name: str) -> str:
        return (self.data / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """SIGKILL to the one process that was started; what becomes of its children is its own business."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for name, process in self.processes.items():
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{name} did not stop:\n{self.log(name)}") from None
            finally:
                for child in self.family(process.pid):
                    child.kill()
        self.processes = {}

    def family(self, pid: int) -> list[psutil.Process]:
        try:
            parent = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return []
        return [parent, *parent.children(recursive=True)]

    def member(self, name: str) -> Member:
        """A new signed-up user with a session of their own."""
        return Member(self, name)


class MultipartBody:
    """A form with one file, read as it is sent: requests itself would first hold it all in memory."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        tail = f"\r\n--{BOUNDARY}--\r\n"
        self._parts: list[BinaryIO] = [io.BytesIO(head.encode()), file, io.BytesIO(tail.encode())]
        self._length = len(head.encode()) + os.fstat(file.fileno()).st_size + len(tail)

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        while self._parts:
            if piece := self._parts[0].read(size):
                return piece
            self._parts.pop(0)
        return b""


class Member:
    """A user's browser, without the browser."""

    def __init__(self, site: SiteProcess, name: str) -> None:
        self.site = site
        self.session = requests.Session()
        form = self.session.get(f"{site.url}/accounts/signup/", timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        assert token is not None
        answer = self.session.post(
            f"{site.url}/accounts/signup/",
            {
                "csrfmiddlewaretoken": token[1],
                "username": name,
                "email": f"{name}@example.org",
                "password1": PASSWORD,
                "password2": PASSWORD,
            },
            timeout=30,
        )
        assert answer.url.endswith("/analyses/new/"), answer.text

    def upload(self, path: Path, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Send a file as a browser does, a piece at a time."""
        with path.open("rb") as file:
            body = MultipartBody(file, path.name)
            token = str(self.session.cookies["csrftoken"])
            return self.session.post(
                f"{self.site.url}/api/v1/analyses/",
                data=body,
                headers={
                    "X-CSRFToken": token,
                    "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                    **(headers or {}),
                },
                timeout=600,
            )

    def analysis(self, public_id: str) -> dict[str, Any]:
        answer = self.session.get(f"{self.site.url}/api/v1/analyses/{public_id}/", timeout=30)
        answer.raise_for_status()
        return dict(answer.json())

    def wait_for(self, public_id: str, *, seconds: float = 120) -> dict[str, Any]:
        """The analysis once it is done or failed."""
        found: dict[str, Any] = {}

        def finished() -> bool:
            found.update(self.analysis(public_id))
            return found["status"] in {"done", "failed"}

        wait_until(finished, seconds=seconds, what=lambda: f"analysis {public_id} to finish: {found}")
        return found


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str | Callable[[], str]) -> None:
    """Poll until the condition holds; fails with ``what`` was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what if isinstance(what, str) else what()}")
        time.sleep(0.1)


def prepare_data(data: Path) -> None:
    """An empty site's database and static files, to be copied: making them takes seconds."""
    SiteProcess(data).prepare()


@contextmanager
def running_site(prepared: Path, data: Path, **environment: str) -> Iterator[SiteProcess]:
    """A site on a copy of the ``prepared`` folder with its web server started; the worker is left to the test."""
    shutil.copytree(prepared, data)
    site = SiteProcess(data, **environment)
    site.start_web()
    try:
        yield site
    finally:
        site.stop()

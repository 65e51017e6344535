"""What people do on a site, for Locust: started by `benchmarks.load`, which describes it.

Each user does one thing a second, whatever the answers take, so that a slow site gets no fewer requests. The weights
are of an evening when many wait for a result: pages ask how far it is most of the time.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from pathlib import Path
from typing import Any, ClassVar

import websocket
from locust import FastHttpUser, constant_throughput, task

from tests.api.raw import BOUNDARY, File, multipart

FORM = f"multipart/form-data; boundary={BOUNDARY}"
MEMBERS: list[dict[str, str]] = json.loads(Path(os.environ["CROWD_MEMBERS"]).read_text())
FILES = [File(path.name, path.read_bytes()) for path in sorted(Path(os.environ["CROWD_FILES"]).iterdir())]
BAD_FILES = [
    File("not-a-video.mp4", b"<html>" * 200),
    File("cut.mp4", next(file for file in FILES if file.name.endswith(".mp4")).content[:900]),
    File("empty.jpg", b""),
]
# As a watcher who looks on and goes away.
WATCH_SECONDS = 5.0
# By this name benchmarks.load knows them.
STATUS = "status"


class Visitor(FastHttpUser):
    wait_time = constant_throughput(1)
    connection_timeout = 30.0
    network_timeout = 30.0
    number: ClassVar[int] = 0

    def on_start(self) -> None:
        self.member = MEMBERS[Visitor.number % len(MEMBERS)]
        Visitor.number += 1
        self.cookie = f"sessionid={self.member['session']}; csrftoken={self.member['csrf']}"
        self.waiting: list[str] = []
        self.done: list[str] = []
        self.pictures: list[str] = []
        self.tags: dict[str, str] = {}
        self.upload()

    def ask(self, path: str, name: str, **more: Any) -> Any:
        """A GET as a browser sends it; returns the answer."""
        headers = {"Cookie": self.cookie, "Accept-Encoding": "gzip", **more.pop("headers", {})}
        return self.client.get(path, name=name, headers=headers, **more)

    @task(50)
    def status(self) -> None:
        """Of what is being examined, or of what was examined last."""
        public_id = (self.waiting or self.done[-1:] or [""])[0]
        if not public_id:
            return
        path = f"/api/v1/analyses/{public_id}/progress/"
        headers = {"If-None-Match": self.tags[path]} if path in self.tags else {}
        with self.ask(path, STATUS, headers=headers, catch_response=True) as answer:
            if answer.status_code == 304:
                answer.success()
                return
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}")
                return
            self.tags[path] = answer.headers.get("ETag", "")
            if answer.json()["finished"] and public_id in self.waiting:
                self.waiting.remove(public_id)
                self.done = [*self.done, public_id][-20:]

    @task(10)
    def bell(self) -> None:
        self.ask("/api/v1/notifications/state/", "bell")

    @task(8)
    def result_page(self) -> None:
        if not self.done:
            return
        public_id = random.choice(self.done)
        self.ask(f"/analyses/{public_id}/", "result page")
        answer = self.ask(f"/api/v1/analyses/{public_id}/pictures/", "pictures, list")
        if answer.status_code == 200:
            self.pictures = [picture["url"] for picture in answer.json()]

    @task(8)
    def picture(self) -> None:
        if self.pictures:
            self.ask(random.choice(self.pictures), "picture")

    @task(6)
    def history_page(self) -> None:
        self.ask("/analyses/", "history page")

    @task(3)
    def history_api(self) -> None:
        self.ask("/api/v1/analyses/", "history, API")

    @task(2)
    def home(self) -> None:
        self.client.get("/", name="home, stranger")

    @task(2)
    def upload(self) -> None:
        file = random.choice(FILES)
        with self._send(file, "upload") as answer:
            if answer.status_code == 201:
                self.waiting.append(answer.json()["id"])

    @task(1)
    def bad_file(self) -> None:
        with self._send(random.choice(BAD_FILES), "bad file") as answer:
            # Refused with a reason is what is wanted.
            if 400 <= answer.status_code < 500:
                answer.success()
            else:
                answer.failure(f"taken with {answer.status_code}")

    def _send(self, file: File, name: str) -> Any:
        headers = {
            "Cookie": self.cookie,
            "X-CSRFToken": self.member["csrf"],
            "Content-Type": FORM,
            "Idempotency-Key": str(uuid.uuid4()),
        }
        body = multipart({"file": file})
        path = "/api/v1/analyses/"
        return self.client.post(path, body, name=name, headers=headers, catch_response=True)  # type: ignore[arg-type]

    @task(1)
    def watch(self) -> None:
        """The live view, for some seconds or until it is finished."""
        if not self.waiting:
            return
        host = self.host or ""
        began, received, error = time.perf_counter(), 0, None
        try:
            url = f"{host.replace('http', 'ws')}/ws/analyses/{self.waiting[0]}/"
            socket = websocket.create_connection(url, cookie=self.cookie, origin=host, timeout=WATCH_SECONDS)
            first = 0.0
            try:
                while time.perf_counter() - began < WATCH_SECONDS:
                    message = socket.recv()
                    first = first or time.perf_counter() - began
                    received += len(message)
                    if not message or b'"finished"' in (message if isinstance(message, bytes) else message.encode()):
                        break
            except websocket.WebSocketTimeoutException:
                # Nothing new to see.
                pass
            finally:
                socket.close()
        except (websocket.WebSocketException, OSError) as found:
            error, first = found, time.perf_counter() - began
        self.environment.events.request.fire(
            request_type="WS",
            name="live view, first message",
            response_time=1000 * first,
            response_length=received,
            exception=error,
        )

    @task(1)
    def log_in(self) -> None:
        if random.random() < 0.3:
            account = {"username": self.member["name"], "password": self.member["password"]}
            self.client.post("/api/v1/tokens/", json=account, name="log-in")

    @task(1)
    def report(self) -> None:
        if self.done and random.random() < 0.1:
            self.ask(f"/analyses/{random.choice(self.done)}/report.pdf", "report, PDF")

    @task(1)
    def sign_up(self) -> None:
        if random.random() < 0.1:
            name = f"new-{uuid.uuid4().hex[:16]}"
            account = {"username": name, "email": f"{name}@example.org", "password": self.member["password"]}
            self.client.post("/api/v1/account/", json=account, name="sign-up")

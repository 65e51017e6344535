"""/api/v1/ on a real site: many at once, cut connections, killed servers, and somebody else's tus client."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from tusclient import client as tus_client

from tests.media_analysis.test_crashes import query
from tests.media_factory import make_face_video, make_video
from tests.site_process import SiteProcess, running_site, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow

MEGABYTE = 1024 * 1024
PART = "application/offset+octet-stream"


@pytest.fixture
def site(prepared: Path, tmp_path: Path) -> Iterator[SiteProcess]:
    write_tiny_detector(tmp_path / "detectors")
    environment = {"SENTINEL_DETECTOR": NAME, "SENTINEL_DETECTORS_DIR": str(tmp_path / "detectors")}
    with running_site(prepared, tmp_path / "data", **environment) as running:
        yield running


class App:
    """A phone app with a token."""

    def __init__(self, site: SiteProcess, name: str = "asha") -> None:
        site.member(name)
        code = (
            "from accounts import tokens; from accounts.models import User; "
            f"print('TOKEN', tokens.log_in(User.objects.get(username={name!r})).access)"
        )
        found = re.search(r"TOKEN (\S+)", site.manage("shell", "-c", code).stdout)
        assert found is not None
        self.site = site
        self.token = {"Authorization": f"Bearer {found[1]}"}
        self.tus = {**self.token, "Tus-Resumable": "1.0.0"}

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {**self.token, **options.pop("headers", {})}
        url = path if path.startswith("http") else self.site.url + path
        return requests.request(method, url, headers=headers, timeout=60, **options)

    def submit(self, path: Path, **headers: str) -> requests.Response:
        return self.ask("POST", "/api/v1/analyses/", files={"file": (path.name, path.read_bytes())}, headers=headers)

    def begin(self, size: int) -> str:
        answer = self.ask("POST", "/api/v1/uploads/", headers={**self.tus, "Upload-Length": str(size)})
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def offset(self, path: str) -> int:
        answer = self.ask("HEAD", path, headers=self.tus)
        assert answer.status_code == 200
        return int(answer.headers["Upload-Offset"])

    def add(self, path: str, offset: int, content: bytes) -> requests.Response:
        headers = {**self.tus, "Upload-Offset": str(offset), "Content-Type": PART}
        return self.ask("PATCH", path, data=content, headers=headers)

    def send_half(self, path: str, content: bytes, whole: int) -> socket.socket:
        """Announce a part of `whole` bytes, send only `content` of it; returns the connection, still open."""
        lines = [
            f"PATCH {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.site.port}",
            f"Content-Length: {whole}",
            f"Content-Type: {PART}",
            "Upload-Offset: 0",
            *(f"{name}: {value}" for name, value in self.tus.items()),
        ]
        connection = socket.create_connection(("127.0.0.1", self.site.port), timeout=30)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        return connection


@pytest.mark.parametrize(
    ("path", "field", "accepted"), [("/api/v1/analyses/", "file", 201), ("/classify", "video", 200)]
)
def test_ten_at_once_with_three_left_are_three(
    site: SiteProcess, tmp_path: Path, path: str, field: str, accepted: int
) -> None:
    clip = make_video(tmp_path / "clip.mp4", seconds=1).read_bytes()
    app = App(site)
    site.manage("shell", "-c", "from accounts.models import User; User.objects.update(daily_limit=3)")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: app.ask("POST", path, files={field: ("clip.mp4", clip)}), range(10)))
    assert sorted(answer.status_code for answer in answers) == [accepted] * 3 + [429] * 7
    assert query(site, "SELECT COUNT(*) FROM accounts_usageentry") == [(3,)]
    assert query(site, "SELECT COUNT(*) FROM media_analysis_analysis") == [(3,)]
    assert len(list((site.data / "media").rglob("original"))) == 3


def test_ten_at_once_under_one_key_are_one_analysis(site: SiteProcess, tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", seconds=1)
    app = App(site)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: app.submit(clip, **{"Idempotency-Key": "phone-1"}), range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert query(site, "SELECT COUNT(*) FROM media_analysis_analysis") == [(1,)]
    assert query(site, "SELECT COUNT(*) FROM accounts_usageentry") == [(1,)]
    assert len(list((site.data / "media").rglob("original"))) == 1


def test_ten_at_once_of_one_upload_are_one_analysis_and_of_ten_uploads_five_begin(
    site: SiteProcess, tmp_path: Path
) -> None:
    content = make_video(tmp_path / "clip.mp4", seconds=1).read_bytes()
    app = App(site)
    path = app.begin(len(content))
    assert app.add(path, 0, content).status_code == 204
    body = {"upload_id": path.split("/")[-2]}
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: app.ask("POST", "/api/v1/analyses/", json=body), range(10)))
        assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert query(site, "SELECT COUNT(*) FROM accounts_usageentry") == [(1,)]
        headers = {**app.tus, "Upload-Length": "5"}
        begun = list(pool.map(lambda _: app.ask("POST", "/api/v1/uploads/", headers=headers), range(10)))
    assert sorted(answer.status_code for answer in begun) == [201] * 5 + [409] * 5


def test_somebody_elses_client_uploads_in_checked_parts_and_the_file_is_examined(
    site: SiteProcess, tmp_path: Path
) -> None:
    clip = make_face_video(tmp_path / "face.mp4", seconds=2, size=(640, 480))
    app = App(site)
    tus = tus_client.TusClient(f"{site.url}/api/v1/uploads/", headers=app.token)
    size = clip.stat().st_size
    options: dict[str, Any] = {
        "chunk_size": size // 5 + 1,
        "metadata": {"filename": "face.mp4"},
        "upload_checksum": True,
    }
    uploader = tus.uploader(str(clip), **options)
    uploader.upload_chunk()  # type: ignore[no-untyped-call]
    assert uploader.url is not None
    # As after a new start of the phone: only the address is still known.
    resumed = tus.uploader(str(clip), url=uploader.url, **options)
    assert resumed.offset == size // 5 + 1
    resumed.upload()
    answer = app.ask("POST", "/api/v1/analyses/", json={"upload_id": uploader.url.split("/")[-2]})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["media"]["original_name"], answer.json()["media"]["size"]) == ("face.mp4", size)
    assert app.ask("GET", "/api/v1/health/").status_code == 503
    site.start_worker()
    url = answer.headers["Location"]
    seen: list[requests.Response] = []

    def finished() -> bool:
        headers = {"If-None-Match": seen[-1].headers["ETag"]} if seen else {}
        polled = app.ask("GET", f"{url}progress/", headers=headers)
        if polled.status_code != 304:
            seen.append(polled)
        return bool(seen[-1].json()["finished"])

    wait_until(finished, seconds=120, what="the analysis")
    found = app.ask("GET", url).json()
    assert (found["status"], found["detector"]) == ("done", NAME)
    assert found["result"]["tracks"]
    for picture in found["pictures"]:
        jpeg = app.ask("GET", picture["url"], headers={"Accept": "image/jpeg"})
        assert jpeg.headers["Content-Type"] == "image/jpeg"
        assert jpeg.content.startswith(b"\xff\xd8")
    health = app.ask("GET", "/api/v1/health/")
    assert health.status_code == 200, health.text
    assert health.json()["detector"]["name"] == NAME
    assert health.json()["workers"]["alive"] == 1
    receipt = app.ask("DELETE", url).json()
    assert app.ask("GET", "/api/v1/receipts/").json()["results"] == [receipt]


def test_a_worker_says_when_it_is_ready_and_when_it_is_stopped(site: SiteProcess) -> None:
    site.start_worker()
    count = "SELECT COUNT(*) FROM media_analysis_workerstate"
    wait_until(lambda: query(site, count) == [(1,)], seconds=60, what=lambda: site.log("worker"))
    assert requests.get(f"{site.url}/api/v1/health/", timeout=10).status_code == 200
    worker = site.processes.pop("worker")
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=30)
    assert query(site, count) == [(0,)]
    assert requests.get(f"{site.url}/api/v1/health/", timeout=10).status_code == 503


def test_of_a_part_that_breaks_off_what_came_counts(site: SiteProcess) -> None:
    app = App(site)
    path = app.begin(8 * MEGABYTE)
    content = bytes(range(256)) * (2 * MEGABYTE // 256)
    connection = app.send_half(path, content, 8 * MEGABYTE)
    time.sleep(1)
    connection.close()
    wait_until(lambda: app.offset(path) > MEGABYTE, seconds=20, what="the cut part to be kept")
    offset = app.offset(path)
    assert offset <= len(content)
    [part] = (site.data / "incoming/resumable").iterdir()
    assert part.read_bytes() == content[:offset]
    assert app.add(path, offset, content[offset:]).status_code == 204
    assert app.offset(path) == len(content)


def test_a_server_killed_in_the_middle_loses_at_most_the_part_it_had_not_answered(
    site: SiteProcess, tmp_path: Path
) -> None:
    content = make_video(tmp_path / "clip.mp4", seconds=5, size=(1280, 720)).read_bytes()
    app = App(site)
    path = app.begin(len(content))
    third = len(content) // 3
    assert app.add(path, 0, content[:third]).status_code == 204
    kept = third
    for pause in (0.0, 0.01, 0.03, 0.1):
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(app.add, path, kept, content[kept:-1])
            time.sleep(pause)
            site.kill("web")
            answered = sent.exception() is None and sent.result().status_code == 204
        site.start_web()
        offset = app.offset(path)
        assert offset == len(content) - 1 if answered else offset >= kept
        [part] = (site.data / "incoming/resumable").iterdir()
        assert part.read_bytes() == content[:offset]
        kept = offset
    assert app.add(path, kept, content[kept:]).status_code == 204
    made = app.ask("POST", "/api/v1/analyses/", json={"upload_id": path.split("/")[-2]})
    assert made.status_code == 201, made.text
    [original] = (site.data / "media").rglob("original")
    assert original.read_bytes() == content


def test_a_large_part_is_not_held_in_memory(site: SiteProcess, tmp_path: Path) -> None:
    app = App(site)
    first = app.begin(MEGABYTE)
    app.add(first, 0, bytes(MEGABYTE))  # Loads what the first part loads.
    path = app.begin(90 * MEGABYTE)
    web = psutil.Process(site.processes["web"].pid)
    Path(f"/proc/{web.pid}/clear_refs").write_text("5")
    before = web.memory_info().rss
    assert app.add(path, 0, bytes(90 * MEGABYTE)).status_code == 204
    peak = int(Path(f"/proc/{web.pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    assert peak - before < 30 * MEGABYTE
    assert app.offset(path) == 90 * MEGABYTE

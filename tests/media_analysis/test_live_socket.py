"""Watching an examination through a WebSocket: a real web server, a real worker, with and without Redis."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.media_analysis.test_crashes import running_worker
from tests.media_factory import make_face_video
from tests.redis_process import running_redis
from tests.site_process import Member, SiteProcess, running_site
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow

PATIENCE = 120.0
IMPATIENT = {"SENTINEL_HEARTBEAT_SECONDS": "0.5", "SENTINEL_STALLED_AFTER_SECONDS": "4"}


@dataclass
class Seen:
    """What came through one socket."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    close_code: int | None = None

    @property
    def events(self) -> list[dict[str, Any]]:
        """Those of the stream that began last."""
        found: list[dict[str, Any]] = []
        for message in self.messages:
            if message["type"] == "begin" and message["number"] == 0:
                found = []
            found += message.get("events", [])
        return found

    @property
    def streams(self) -> list[str]:
        return [message["stream"] for message in self.messages if message["type"] == "begin"]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    def take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            assert data[4:6] == b"\xff\xd8"
            self.pictures.append(int.from_bytes(data[:4], "big"))
        else:
            self.messages.append(json.loads(data))


def open_socket(
    site: SiteProcess, member: Member | None, public_id: str, query: str = "", **options: Any
) -> ClientConnection:
    cookies = member.session.cookies.items() if member else []
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies)}
    url = f"{site.url.replace('http', 'ws')}/ws/analyses/{public_id}/{query}"
    options = {"origin": site.url, "additional_headers": headers, "compression": None, "legacy": True, **options}
    opened: ClientConnection = connect(url, **options)
    return opened


def watch(opened: ClientConnection, until: Callable[[Seen], bool] = lambda _: False) -> Seen:
    """Everything until the server closes, or until the condition holds and we do."""
    seen = Seen()
    try:
        with opened:
            while not until(seen):
                seen.take(opened.recv(timeout=PATIENCE))
    except ConnectionClosed:
        seen.close_code = opened.close_code
    return seen


def check_complete(seen: Seen, result: dict[str, Any]) -> None:
    """No gap, nothing twice, and the numbers of the result."""
    assert [event["number"] for event in seen.events] == list(range(len(seen.events)))
    assert seen.events[-1]["kind"] == "concluded"
    told = {
        (face["frame"], *face["box"]): face["fake_probability"]
        for event in seen.events
        if event["kind"] == "person"
        for face in event["payload"]["faces"]
    }
    assert told
    assert told == {
        (face["frame"], *face["box"]): face["fake_probability"]
        for track in result["result"]["tracks"]
        for face in track["faces"]
    }
    assert seen.messages[-1] == {"type": "finished", "status": "done", "url": f"/analyses/{result['id']}/"}
    assert seen.close_code == 1000


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that examining it takes seconds."""
    return make_face_video(tmp_path_factory.mktemp("clips") / "long.mp4", seconds=8, size=(1280, 720))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("detectors")
    write_tiny_detector(folder)
    return {"SENTINEL_DETECTOR": NAME, "SENTINEL_DETECTORS_DIR": str(folder), **IMPATIENT}


@pytest.fixture(scope="module", params=["embedded", "redis"])
def site(
    request: pytest.FixtureRequest,
    prepared: Path,
    detectors: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SiteProcess]:
    environment = dict(detectors)
    if request.param == "redis":
        environment["CHANNEL_REDIS_URL"] = request.getfixturevalue("redis")
    with running_site(prepared, tmp_path_factory.mktemp("site") / "data", **environment) as running:
        running.start_worker()
        yield running


def upload(member: Member, clip: Path) -> str:
    answer = member.upload(clip)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_watchers_see_the_same_whenever_they_come_and_whatever_they_miss(site: SiteProcess, long_clip: Path) -> None:
    member = site.member("asha")
    public_id = upload(member, long_clip)
    with ThreadPoolExecutor() as others:
        first = others.submit(watch, open_socket(site, member, public_id))
        # One who loses the connection in the middle and comes back with what there is.
        interrupted = watch(open_socket(site, member, public_id), until=lambda seen: len(seen.events) >= 10)
        had = interrupted.events
        back = watch(open_socket(site, member, public_id, f"?stream={interrupted.streams[-1]}&next={len(had)}"))
        late = others.submit(watch, open_socket(site, member, public_id))
        result = member.wait_for(public_id)
        check_complete(first.result(timeout=PATIENCE), result)
    assert back.messages[0]["number"] == len(had)
    assert [event["number"] for event in had + back.messages[0]["events"]] == list(
        range(len(had) + len(back.messages[0]["events"]))
    )
    everything = first.result().events
    rest = [event for message in back.messages for event in message.get("events", [])]
    assert had + rest == everything
    assert len(first.result().pictures) == len(set(first.result().pictures))
    # Who comes after the end is sent to the result.
    assert late.result().messages[-1]["type"] == "finished"
    assert late.result().close_code == 1000


def test_one_who_comes_late_gets_what_was_and_then_the_rest(site: SiteProcess, long_clip: Path) -> None:
    member = site.member("lata")
    public_id = upload(member, long_clip)
    running_worker(site, percent=30)
    late = watch(open_socket(site, member, public_id))
    begin = late.messages[0]
    assert begin["type"] == "begin"
    assert begin["status"] == "running"
    assert begin["events"][0]["kind"] == "media"
    check_complete(late, member.wait_for(public_id))
    shown = next(event for event in begin["events"] if "url" in event)
    picture = member.session.get(site.url + shown["url"], timeout=30)
    assert picture.headers["Content-Type"] == "image/jpeg"


def test_only_the_owner_watches_and_only_while_logged_in(site: SiteProcess, long_clip: Path) -> None:
    owner, stranger = site.member("owner"), site.member("stranger")
    public_id = upload(owner, long_clip)
    refused = watch(open_socket(site, stranger, public_id))
    unknown = watch(open_socket(site, stranger, "0" * 24))
    assert (refused.messages, refused.close_code) == (unknown.messages, unknown.close_code) == ([], 4404)
    anonymous = watch(open_socket(site, None, public_id))
    assert (anonymous.messages, anonymous.close_code) == ([], 4401)
    with pytest.raises(InvalidStatus) as elsewhere:
        open_socket(site, owner, public_id, origin="https://elsewhere.example")
    assert elsewhere.value.response.status_code == 403
    with pytest.raises(InvalidStatus):
        open_socket(site, owner, "not-an-id")
    owner.wait_for(public_id)


def test_logging_out_and_deleting_end_the_watching(prepared: Path, detectors: dict[str, str], tmp_path: Path) -> None:
    clip = make_face_video(tmp_path / "clip.mp4", seconds=1)
    # No worker: what waits, waits.
    with running_site(prepared, tmp_path / "data", **detectors) as site:
        member = site.member("asha")
        first, second = upload(member, clip), upload(member, clip)
        with ThreadPoolExecutor() as others:
            watching = others.submit(watch, open_socket(site, member, first))
            waiting = others.submit(
                watch,
                open_socket(site, member, second),
                lambda seen: bool(seen.messages) and seen.messages[-1]["position"] == 0,
            )
            token = str(member.session.cookies["csrftoken"])
            gone = member.session.delete(
                f"{site.url}/api/v1/analyses/{first}/", headers={"X-CSRFToken": token}, timeout=30
            )
            assert gone.ok, gone.text
            assert watching.result(timeout=PATIENCE).close_code == 4404
            # The other one moves up.
            assert waiting.result(timeout=PATIENCE).messages[0]["status"] == "queued"
            ending = others.submit(watch, open_socket(site, member, second))
            page = member.session.post(f"{site.url}/accounts/logout/", data={"csrfmiddlewaretoken": token}, timeout=30)
            assert page.ok
            assert ending.result(timeout=PATIENCE).close_code == 4401
        assert "Traceback" not in site.log("web")


@pytest.mark.long
def test_after_a_killed_worker_a_new_stream_begins(site: SiteProcess, long_clip: Path) -> None:
    member = site.member("kala")
    public_id = upload(member, long_clip)
    with ThreadPoolExecutor() as others:
        watching = others.submit(watch, open_socket(site, member, public_id))
        psutil.Process(running_worker(site, percent=20)).send_signal(signal.SIGKILL)
        result = member.wait_for(public_id)
        seen = watching.result(timeout=PATIENCE)
    assert result["attempts"] == 2
    tries = [stream for stream in seen.streams if stream]
    assert len(tries) == len(set(tries)) == 2
    check_complete(seen, result)


def test_a_slow_reader_holds_up_nobody_and_misses_no_score(site: SiteProcess, long_clip: Path) -> None:
    member = site.member("mira")
    public_id = upload(member, long_clip)
    finished: dict[str, float] = {}

    def dawdle(seen: Seen) -> bool:
        time.sleep(0.1)
        finished["slow"] = time.monotonic()
        return False

    with ThreadPoolExecutor() as others:
        slow = others.submit(watch, open_socket(site, member, public_id, max_queue=1), dawdle)
        quick = watch(open_socket(site, member, public_id))
        finished["quick"] = time.monotonic()
        result = member.wait_for(public_id)
        check_complete(quick, result)
        check_complete(slow.result(timeout=PATIENCE), result)
    assert finished["quick"] < finished["slow"]


def test_there_is_no_traceback_in_the_logs(site: SiteProcess) -> None:
    assert "Traceback" not in site.log("web")

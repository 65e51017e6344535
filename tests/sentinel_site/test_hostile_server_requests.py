"""Requests that never reach Django as such: raw bytes to a real web server, slow ones, and ones of two readings."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.site_process import SiteProcess, running_site

pytestmark = pytest.mark.slow

SLOW = 200


@pytest.fixture(scope="module")
def site(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    with running_site(prepared, tmp_path_factory.mktemp("site") / "data") as running:
        yield running


def connect(site: SiteProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=10)


def send(site: SiteProcess, request: bytes) -> bytes:
    """Everything that comes back within a moment, until the server hangs up."""
    with connect(site) as line:
        line.settimeout(3)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            line.sendall(request)
            while piece := line.recv(65536):
                answer += piece
        return answer


HOST = b"Host: localhost\r\n"
SMUGGLED = b"GET /admin/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        b"Content-Length: 0\r\nContent-Length: 44\r\n",
        b"Content-Length: +1\r\n",
        b"Content-Length: 1,1\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b" folded: value\r\n",
        b"X-Zero: a\0b\r\n",
        b"X-Line: a\rb\r\n",
    ],
)
def test_requests_that_two_servers_would_read_differently_are_refused(site: SiteProcess, head: bytes) -> None:
    """One answer at most, and none to what is hidden in the body."""
    answer = send(site, b"POST /accounts/login/ HTTP/1.1\r\n" + HOST + head + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1 or b"HTTP/1.1 400" in answer
    assert b"/accounts/login/?next=/admin/" not in answer


@pytest.mark.parametrize(
    "flood",
    [
        b"".join(b"X-%d: a\r\n" % number for number in range(5000)),
        b"X-Long: " + b"a" * 1_000_000,
        b"".join(b"Cookie: a%d=b\r\n" % number for number in range(5000)),
    ],
)
def test_a_flood_of_headers_is_hung_up_on(site: SiteProcess, flood: bytes) -> None:
    server = psutil.Process(site.processes["web"].pid)
    before = server.memory_info().rss
    for _ in range(5):
        answer = send(site, b"GET / HTTP/1.1\r\n" + HOST + flood + b"\r\n\r\n")
        assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), answer[:100]
    assert server.memory_info().rss - before < 50 * 1024 * 1024
    assert requests.get(f"{site.url}/api/v1/live/", timeout=10).ok


def test_no_answer_tells_what_serves_it(site: SiteProcess) -> None:
    answers = [requests.get(f"{site.url}{path}", timeout=10) for path in ("/", "/static/img/logo.svg", "/nothing/")]
    for answer in answers:
        assert "server" not in answer.headers
        assert answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in answers[1].headers
    assert "public" in answers[1].headers["Cache-Control"]
    assert "Set-Cookie" not in answers[1].headers


def times(site: SiteProcess, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        begun = time.monotonic()
        assert requests.get(f"{site.url}/accounts/login/", timeout=10).status_code == 200
        taken.append(time.monotonic() - begun)
    return taken


def test_hundreds_of_slow_senders_hold_up_nobody(site: SiteProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of them never end their headers, half never their body."""
    times(site, 3)
    alone = times(site, 10)
    slow = [connect(site) for _ in range(SLOW)]
    try:
        for number, line in enumerate(slow):
            line.sendall(b"POST /api/v1/analyses/ HTTP/1.1\r\n" + HOST)
            if number % 2:
                kind = b"Content-Type: multipart/form-data; boundary=x\r\n"
                line.sendall(kind + b"Content-Length: 90000000\r\n\r\n--x\r\nContent-Disp")
        beside = []
        for _ in range(10):
            for line in slow:
                line.sendall(b"a")
            beside += times(site, 1)
        middle, before = statistics.median(beside), statistics.median(alone)
        with capsys.disabled():
            print(f"\nlog-in page: {before * 1000:.0f} ms alone, {middle * 1000:.0f} ms beside {SLOW} slow senders")  # noqa: T201
        assert middle < before * 3 + 0.2
        # Those of the first half are hung up on after 20 seconds: no wait for that here.
        assert len(psutil.Process(site.processes["web"].pid).net_connections()) > SLOW
    finally:
        for line in slow:
            line.close()
    assert requests.get(f"{site.url}/api/v1/live/", timeout=10).ok


def test_heads_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol by itself, with less patience."""
    import asyncio

    import uvicorn

    from sentinel_site import http_server

    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)

    async def application(scope: object, receive: object, send: object) -> None:
        raise AssertionError("no head was ever complete")

    async def run() -> list[bytes]:
        config = uvicorn.Config(application, port=0, http=http_server.BoundedHttp, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        answers = []
        for drip in (b"", b"GET / HTTP/1.1\r\nX-Slow: ", b"\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(drip)
            answers.append(await asyncio.wait_for(reader.read(), 5))
            writer.close()
        server.should_exit = True
        await serving
        return answers

    assert all(answer.startswith(b"HTTP/1.1 408") for answer in asyncio.run(run()))

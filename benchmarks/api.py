"""How fast a live site answers apps, and how that grows with the table of analyses. SQLite, one web process.

    python -m benchmarks.api [--rows 100 10000 100000] [--clients 1 8 32] [--seconds 4]

Each figure comes with its ratio to a peer measured in the same minute with as many clients: `/api/v1/live/`, which does
nothing. A tenth of the analyses are the asking user's, as many as 1,000; the rest are other people's.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.api.raw import BOUNDARY, File, Server, multipart
from tests.media_factory import make_video
from tests.site_process import PASSWORD, ROOT, SiteProcess, prepare_data, running_site

MOST_OWN = 1000
ENVIRONMENT = {"SENTINEL_DAILY_LIMIT": "30000", "LOG_LEVEL": "ERROR"}

# Run inside the site: users and analyses, as many as there are to be in all.
FILL = """
import sys
from accounts.ids import new_public_id
from accounts.models import User
from media_analysis.models import Analysis, Media

wanted, most_own = int(sys.argv[1]), int(sys.argv[2])
asking = User.objects.get(username="asking")
other, _ = User.objects.get_or_create(username="other", email="other@example.org")
facts = dict(kind="video", original_name="clip.mp4", file="media/none/original", size=5, sha256="a" * 64, md5="b" * 32,
             container="mp4", codec="h264", width=320, height=240, duration=2.0, frame_rate=25.0, frame_count=50)
found = dict(status="done", progress=100, outcome="FAKE", fake_probability=0.91, pooled_probability=0.91,
             confidence=91.0, real_frames=4, fake_frames=28, detector="tiny", detector_version="1", seconds=1.5,
             result={"tracks": [], "timestamps": [[0.2, 0.6]]})
have = Media.objects.count()
own = min(wanted // 10, most_own) - Media.objects.filter(owner=asking).count()
for start in range(0, wanted - have, 2000):
    count = min(2000, wanted - have - start)
    media = Media.objects.bulk_create(
        Media(public_id=new_public_id(), owner=asking if start + n < own else other, **facts) for n in range(count))
    Analysis.objects.bulk_create(Analysis(public_id=new_public_id(), media=one, **found) for one in media)
print(Media.objects.count(), Media.objects.filter(owner=asking).count(),
      Analysis.objects.filter(media__owner=asking).latest("id").public_id)
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, made again and again."""

    name: str
    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/json"
    expected: int = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests a second, and percentiles of the time for one in milliseconds."""

    rate: float
    p50: float
    p95: float


def run_client(url: str, call: Call, token: str, until: float) -> list[float]:
    """Seconds of each request of one client, which keeps its connection as apps do."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": call.content_type}
    times: list[float] = []
    while not times or time.perf_counter() < until:
        started = time.perf_counter()
        connection.request(call.method, call.path, call.body or None, headers)
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - started)
        if answer.status != call.expected:
            raise RuntimeError(f"{call.name}: {answer.status}")
    connection.close()
    return times


def measure(url: str, call: Call, token: str, clients: int, seconds: float) -> Figures:
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(lambda _: run_client(url, call, token, started + seconds), range(clients)))
    times = sorted(one for times in each for one in times)
    elapsed = time.perf_counter() - started
    p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return Figures(len(times) / elapsed, 1000 * statistics.median(times), 1000 * p95)


def fill(site: SiteProcess, rows: int) -> tuple[int, int, str]:
    """Bring the table to so many analyses; returns how many there are, how many are ours, and one of ours."""
    command = [sys.executable, "-c", f"import django; django.setup()\n{FILL}", str(rows), str(MOST_OWN)]
    done = subprocess.run(command, cwd=ROOT, env=site.environment, check=True, capture_output=True, text=True)
    total, own, public_id = done.stdout.split()
    return int(total), int(own), public_id


def calls_for(public_id: str, clip: Path) -> list[Call]:
    upload = multipart({"file": File(clip.name, clip.read_bytes())})
    form = f"multipart/form-data; boundary={BOUNDARY}"
    return [
        Call("history, /fetch-history", "POST", "/fetch-history"),
        Call("history, /api/v1/analyses/", "GET", "/api/v1/analyses/"),
        Call("status, …/progress/", "GET", f"/api/v1/analyses/{public_id}/progress/"),
        Call("accept an upload", "POST", "/api/v1/analyses/", upload, form, 201),
    ]


def new_user(site: SiteProcess, name: str) -> str:
    """A token."""
    server = Server(site.url)
    account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = server.post("/api/v1/account/", account)
    return str(answer.json()["access"])


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def report(call: Call, clients: int, found: Figures, peer: Figures) -> None:
    rates = f"{found.rate:8.1f} requests/s = {found.rate / peer.rate:.2f} × peer"
    p50 = f"p50 {found.p50:7.1f} ms ({found.p50 / peer.p50:5.1f} ×)"
    p95 = f"p95 {found.p95:7.1f} ms ({found.p95 / peer.p95:5.1f} ×)"
    write(f"  {call.name:28} {clients:3} clients {rates}, {p50}, {p95}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=4.0, help="for each figure")
    options = parser.parse_args()
    peer = Call("peer", "GET", "/api/v1/live/")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "prepared").mkdir()
        prepare_data(scratch / "prepared")
        clip = make_video(scratch / "small.mp4", seconds=1, size=(160, 120))
        with running_site(scratch / "prepared", scratch / "data", **ENVIRONMENT) as site:
            asking, uploading = new_user(site, "asking"), new_user(site, "uploading")
            write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
            for rows in options.rows:
                total, own, public_id = fill(site, rows)
                write(f"{total} analyses, {own} of them ours")
                for clients in options.clients:
                    beside = measure(site.url, peer, asking, clients, options.seconds)
                    write(f"  {'peer, /api/v1/live/':28} {clients:3} clients {beside.rate:8.1f} requests/s, "
                          f"p50 {beside.p50:7.1f} ms, p95 {beside.p95:7.1f} ms")  # fmt: skip
                    for call in calls_for(public_id, clip):
                        token = uploading if call.expected == 201 else asking
                        report(call, clients, measure(site.url, call, token, clients, options.seconds), beside)


if __name__ == "__main__":
    main()

"""Three hosts under fire: is every analysis done exactly once, and what do two workers give over one?

    python -m benchmarks.hosts [--analyses 1000] [--kill-every 20] [--compare 100] [--namespaces | --relays]

One host has the web server, the others a worker each. All have a folder, an address and, in network namespaces, a name
of their own, and share PostgreSQL, Redis and S3 storage, which are started for this and thrown away. Tiny photos and
clips go through the real pipeline with the default detector. Most are put into the queue by a process beside the web
server; the others are uploaded by HTTP while those are under way, each tried under its idempotency key until answered.

Meanwhile, every few seconds, one of the workers is killed with SIGKILL, by turns all of it, its main process, and any
one of its processes; later only where it still loads what it needs, or nothing was finished since the last time. Redis
is killed once, the web server once; and for 30 seconds the network of one worker is cut. Whatever dies is started anew
after a second, as systemd does. At the end `benchmarks.inside.reckon` counts, and the exit status is 1 if anything is
not exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import requests

from benchmarks.clips import make_clips
from benchmarks.network import Network, network_of
from tests.postgresql_process import PostgresqlProcess, running_postgresql
from tests.s3_server import S3Server, running_s3
from tests.site_process import ROOT, Member, Place, SiteProcess, free_port, wait_until

WEB = 1
RESTART_SECONDS = 1.0
REDIS_DOWN_SECONDS = 3.0
# How many different files there are.
KINDS = 60
# Shares of the work after which something happens once.
REDIS_DIES, CABLE_IS_CUT, WEB_DIES = 0.2, 0.4, 0.7
UPLOADERS = 2
UPLOAD_TRIES_SECONDS = 120.0
SITE = {
    # The whole of one day's work is one user's.
    "SENTINEL_DAILY_LIMIT": "30000",
    # What watchers are shown goes soon, so that what is left at the end should not be there.
    "SENTINEL_LIVE_KEEP_SECONDS": "5",
    "LOG_LEVEL": "INFO",
}


@dataclass(slots=True)
class Host:
    """One machine with one process that is started again when it dies."""

    number: int
    role: str
    site: SiteProcess
    died_at: float | None = None
    starts: int = 0
    # Where in the log the present start begins.
    log_from: int = 0

    def start(self) -> None:
        self.starts += 1
        self.log_from = len(self.log())
        if self.role == "web":
            self.site.launch_web()
        else:
            self.site.start_worker()

    def look_after(self) -> bool:
        """Start it again if it died a while ago; returns whether it was found dead just now."""
        process = self.site.processes.get(self.role)
        if process is not None and process.poll() is None:
            return False
        if self.died_at is None:
            self.died_at = time.monotonic()
            return True
        if time.monotonic() - self.died_at >= RESTART_SECONDS:
            self.died_at = None
            self.start()
        return False

    def log(self) -> str:
        return self.site.log(self.role) if (self.site.data / f"{self.role}.log").exists() else ""

    def is_ready(self) -> bool:
        """Whether, as a worker, it has loaded everything since it was started."""
        return "Warmed up" in self.log()[self.log_from :]

    def family(self) -> list[psutil.Process]:
        process = self.site.processes.get(self.role)
        return self.site.family(process.pid) if process is not None and process.poll() is None else []

    def __str__(self) -> str:
        return f"host {self.number} ({self.role})"


class Redis:
    """A server that forgets everything when it dies."""

    def __init__(self, address: str) -> None:
        self.address, self.port = address, free_port(address)
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: int) -> str:
        return f"redis://{self.address}:{self.port}/{database}"

    def start(self) -> None:
        options = ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--loglevel", "warning"]
        command = ["redis-server", "--bind", self.address, "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(slots=True)
class Cluster:
    """Everything that runs, and what happened when."""

    network: Network
    postgresql: PostgresqlProcess
    redis: Redis
    s3: S3Server
    hosts: list[Host]
    began: float = field(default_factory=time.monotonic)
    happened: list[tuple[float, str]] = field(default_factory=list)

    @property
    def web(self) -> Host:
        return self.hosts[0]

    @property
    def workers(self) -> list[Host]:
        return self.hosts[1:]

    def note(self, what: str) -> None:
        self.happened.append((time.monotonic() - self.began, what))
        write(f"  {self.happened[-1][0]:6.1f} s  {what}")

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgresql.url(), autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def finished(self) -> int:
        counted = self.ask("SELECT count(*) FROM media_analysis_analysis WHERE status IN ('done', 'failed')")
        return int(counted[0][0])

    def accepted(self) -> int:
        return int(self.ask("SELECT count(*) FROM media_analysis_analysis")[0][0])

    def inside(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Something of `benchmarks.inside` on the web's host."""
        site = self.web.site
        command = [*site.place.within, sys.executable, "-m", f"benchmarks.inside.{module}", *arguments]
        with (site.data / f"{module}.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=site.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )


def answer_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The JSON that it prints at its end."""
    out, _nothing = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


class Chaos:
    """What is killed and cut, and when. Deterministic but for what the machine does in between."""

    def __init__(self, cluster: Cluster, count: int, *, kill_every: float, cut_seconds: float) -> None:
        self.cluster, self.count = cluster, count
        self.already = cluster.finished()
        self.kill_every, self.cut_seconds = kill_every, cut_seconds
        self.random = random.Random(9)
        # From when the first is finished: before, there is nothing to be lost.
        self.next_kill: float | None = None
        self.finished_at_kill = 0
        self.kills = 0
        self.once: list[tuple[float, Callable[[], None]]] = [
            (REDIS_DIES, self.kill_redis),
            (CABLE_IS_CUT, self.cut_cable),
            (WEB_DIES, self.kill_web),
        ]
        self.later: list[tuple[float, Callable[[], None]]] = []

    def go_on(self, finished: int) -> None:
        """Called again and again."""
        now = time.monotonic()
        while self.once and finished - self.already >= self.once[0][0] * self.count:
            self.once.pop(0)[1]()
        for due, action in [each for each in self.later if each[0] <= now]:
            self.later.remove((due, action))
            action()
        if self.next_kill is None and finished > self.already:
            self.next_kill = now + self.kill_every
        if self.kill_every and self.next_kill and now >= self.next_kill and finished - self.already < self.count:
            # On a slow machine only after something got done in between, or nothing ever would.
            killed = finished > self.finished_at_kill and self.kill_worker()
            self.next_kill = now + (self.kill_every if killed else 0.5)
            self.finished_at_kill = finished if killed else self.finished_at_kill

    def is_over(self) -> bool:
        return not self.once and not self.later

    def kill_worker(self) -> bool:
        """False if the one whose turn it is is dead or still loading."""
        host = self.cluster.workers[self.kills % len(self.cluster.workers)]
        family = host.family()
        if not family or not host.is_ready():
            return False
        match self.kills // len(self.cluster.workers) % 3:
            case 0:
                for process in family:
                    kill(process)
                what = "everything of it"
            case 1:
                kill(family[0])
                what = "its main process"
            case _:
                kill(self.random.choice(family[1:] or family))
                what = "one of its processes"
        self.kills += 1
        self.cluster.note(f"killed {host}: {what}")
        return True

    def kill_redis(self) -> None:
        self.cluster.redis.kill()
        self.cluster.note("killed Redis")

        def start() -> None:
            self.cluster.redis.start()
            self.cluster.note("Redis is back, empty")

        self.later.append((time.monotonic() + REDIS_DOWN_SECONDS, start))

    def kill_web(self) -> None:
        for process in self.cluster.web.family():
            kill(process)
        self.cluster.note(f"killed {self.cluster.web}")

    def cut_cable(self) -> None:
        host = self.cluster.workers[-1]
        self.cluster.network.cut(host.number)
        self.cluster.note(f"cut the network of {host}")

        def mend() -> None:
            self.cluster.network.mend(host.number)
            self.cluster.note(f"mended the network of {host}")

        self.later.append((time.monotonic() + self.cut_seconds, mend))


def kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


class Uploads:
    """Files that come by HTTP while everything else happens, spread over it, by clients who try until answered."""

    def __init__(self, cluster: Cluster, files: list[Path], count: int, fed: int) -> None:
        self.cluster, self.files, self.count, self.fed = cluster, files, count, fed
        self.finished = 0
        self.seconds: list[float] = []
        self.answers: Counter[str] = Counter()
        self.members = [cluster.web.site.member(f"uploader-{number}") for number in range(UPLOADERS)] if count else []
        self.threads = [threading.Thread(target=self._upload_some, args=(n,), daemon=True) for n in range(UPLOADERS)]
        self.error: Exception | None = None

    def start(self) -> None:
        for thread in self.threads if self.count else ():
            thread.start()

    def are_over(self) -> bool:
        if self.error:
            raise self.error
        return not any(thread.is_alive() for thread in self.threads)

    def _upload_some(self, uploader: int) -> None:
        try:
            for number in range(uploader, self.count, UPLOADERS):
                # One after so many others are done: all through the run, however quick it is.
                while self.finished < 0.8 * self.fed * number / self.count:
                    time.sleep(0.2)
                self._upload(self.members[uploader], number)
        except Exception as error:  # noqa: BLE001 -- raised where the run is looked after
            self.error = error

    def _upload(self, member: Member, number: int) -> None:
        path = self.files[number * 7 % len(self.files)]
        began = time.monotonic()
        while time.monotonic() - began < UPLOAD_TRIES_SECONDS:
            try:
                answer = member.upload(path, {"Idempotency-Key": f"upload-{number}"})
            except (requests.ConnectionError, requests.Timeout):
                self.answers["no answer"] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 201:
                    self.seconds.append(time.monotonic() - began)
                    return
                if answer.status_code < 500:
                    raise RuntimeError(f"an upload was refused: {answer.status_code} {answer.text[:200]}")
            time.sleep(0.5)
        raise RuntimeError(f"upload {number} was not taken within {UPLOAD_TRIES_SECONDS:.0f} s")


@contextmanager
def running_cluster(folder: Path, network: Network, workers: int) -> Iterator[Cluster]:
    """The services, and the hosts with nothing started on them yet."""
    with ExitStack() as stack:
        postgresql = stack.enter_context(
            running_postgresql(folder / "postgresql", max_connections=200, address=network.services)
        )
        redis = Redis(network.services)
        stack.callback(redis.kill)
        redis.start()
        s3 = stack.enter_context(running_s3(address=network.services))
        shared = {**SITE, **_make_keys(folder / "keys"), "EMAIL_URL": f"filemail:///{folder / 'mail'}"}
        (folder / "mail").mkdir()
        cluster = Cluster(network, postgresql, redis, s3, [])
        cluster.hosts = [_make_host(cluster, number, folder, shared) for number in range(1, workers + 2)]
        cluster.web.site.prepare()
        try:
            yield cluster
        finally:
            for host in cluster.hosts:
                network.mend(host.number)
                for process in host.family():
                    kill(process)


def _make_keys(folder: Path) -> dict[str, str]:
    """Variables that name the keys which every host must have: those that a site makes at its first start."""
    folder.mkdir()
    SiteProcess(folder).manage("check")
    names = {
        "SECRET_KEY": "secret_key",
        "VAPID_PRIVATE_KEY": "vapid_private_key",
        "SENTINEL_SIGNING_KEY": "signing_key.pem",
    }
    return {f"{variable}_FILE": str(folder / name) for variable, name in names.items()}


def _make_host(cluster: Cluster, number: int, folder: Path, shared: dict[str, str]) -> Host:
    network = cluster.network
    data = folder / f"host{number}"
    data.mkdir()
    s3_port = int(cluster.s3.endpoint.rpartition(":")[2])
    ports = (cluster.postgresql.port, cluster.redis.port, s3_port)
    database, queue, storage = (network.reach(number, port) for port in ports)
    environment = {
        **shared,
        **replace(cluster.s3, endpoint=f"http://{storage[0]}:{storage[1]}").environment(),
        "DATABASE_URL": f"postgres://sentinel@{database[0]}:{database[1]}/postgres",
        "QUEUE_REDIS_URL": f"redis://{queue[0]}:{queue[1]}/0",
        "CHANNEL_REDIS_URL": f"redis://{queue[0]}:{queue[1]}/1",
        "ALLOWED_HOSTS": f"{network.address(number)},localhost",
    }
    place = Place(network.address(number), 8000, network.within(number))
    site = SiteProcess(data, place, **environment)
    return Host(number, "web" if number == WEB else "worker", site)


def run_until(cluster: Cluster, total: Callable[[], int], chaos: Chaos | None, uploads: Uploads, limit: float) -> None:
    """Look after the hosts until everything is finished, for `limit` seconds at most."""
    end = time.monotonic() + limit
    told = 0.0
    while True:
        for host in cluster.hosts:
            if host.starts and host.look_after() and chaos is None:
                raise AssertionError(f"{host} died by itself:\n{host.site.log(host.role)[-3000:]}")
        finished, expected = cluster.finished(), total()
        uploads.finished = finished
        if chaos is not None:
            chaos.go_on(finished)
        if finished >= expected and uploads.are_over() and (chaos is None or chaos.is_over()):
            return
        if time.monotonic() > end:
            write(f"only {finished} of {expected} finished within {limit:.0f} s")
            return
        if time.monotonic() - told > 15:
            told = time.monotonic()
            write(f"  {told - cluster.began:6.1f} s  {finished} of {expected}")
        time.sleep(0.3)


@dataclass(frozen=True, slots=True)
class Phase:
    """`rate` is analyses a minute from the first that was finished to the last."""

    name: str
    count: int
    seconds: float
    rate: float


def feed(cluster: Cluster, clips: Path, name: str, count: int, users: int) -> subprocess.Popen[str]:
    return cluster.inside("feed", str(clips), "--count", str(count), "--users", str(users), "--name", name)


def figures(cluster: Cluster, name: str, count: int, pattern: str) -> Phase:
    statement = f"""SELECT count(*), extract(epoch FROM max(finished_at) - min(finished_at))
        FROM media_analysis_analysis analysis JOIN media_analysis_media media ON media.id = analysis.media_id
        JOIN accounts_user account ON account.id = media.owner_id
        WHERE account.username LIKE '{pattern}' AND finished_at IS NOT NULL"""  # noqa: S608 -- our own
    counted, seconds = cluster.ask(statement)[0]
    return Phase(name, count, float(seconds), 60 * (int(counted) - 1) / max(float(seconds), 0.001))


def calm_phase(cluster: Cluster, clips: Path, name: str, count: int, workers: list[Host]) -> Phase:
    """All are there before the first is taken, by workers that have loaded everything."""
    for host in workers:
        if not host.starts:
            host.start()
            wait_until(host.is_ready, seconds=180, what=f"{host} to be ready")
    for host in workers:
        for process in host.family():
            process.suspend()
    fed = answer_of(feed(cluster, clips, name, count, users=4))
    for host in workers:
        for process in host.family():
            process.resume()
    already = cluster.accepted() - int(fed["accepted"])
    run_until(cluster, lambda: already + count, None, Uploads(cluster, [], 0, 0), limit=60 + 10 * count)
    return figures(cluster, f"{len(workers)} workers, calm", count, f"{name}-%")


def measure(cluster: Cluster, clips: Path, options: argparse.Namespace) -> tuple[list[Phase], dict[str, Any]]:
    phases = []
    cluster.web.start()
    cluster.web.site.wait_for_web()
    if options.compare:
        phases.append(calm_phase(cluster, clips, "one", options.compare, cluster.workers[:1]))
        phases.append(calm_phase(cluster, clips, "all", options.compare, cluster.workers))
    by_http = round(options.analyses * options.by_http)
    fed = options.analyses - by_http
    already = cluster.finished()
    uploads = Uploads(cluster, sorted(clips.iterdir()), by_http, already + fed)
    cluster.began = time.monotonic()
    feeding = feed(cluster, clips, "fed", fed, users=10)
    for host in cluster.workers:
        if not host.starts:
            host.start()
    chaos = Chaos(cluster, options.analyses, kill_every=options.kill_every, cut_seconds=options.cut)
    uploads.start()
    total = already + options.analyses
    run_until(cluster, lambda: total, chaos, uploads, limit=options.limit)
    told = answer_of(feeding)
    seconds = time.monotonic() - cluster.began
    phases.append(
        Phase(f"{options.workers} workers, killed and cut", options.analyses, seconds, 60 * options.analyses / seconds)
    )
    what = {
        "fed": told,
        "kills": chaos.kills,
        "starts": {str(host): host.starts for host in cluster.hosts},
        "uploads": dict(uploads.answers),
        "slowest upload": max(uploads.seconds, default=0.0),
    }
    return phases, what


def reckon(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """What the database and the storage say; and what lies on the hosts' own disks, and in the mailboxes."""
    # Longer than what is live is kept, and housekeeping takes.
    time.sleep(float(SITE["SENTINEL_LIVE_KEEP_SECONDS"]) + 15)
    found = answer_of(cluster.inside("reckon"))
    scratch = [str(path.relative_to(folder)) for host in cluster.workers for path in left_on_disk(host)]
    if scratch:
        found["faults"]["left on a worker's disk"] = [len(scratch), *scratch[:5]]
    mails = Counter(
        line for path in (folder / "mail").iterdir() for line in path.read_text().splitlines() if "Message-ID:" in line
    )
    found["e-mails"] = len(mails)
    if twice := [line for line, times in mails.items() if times > 1]:
        found["faults"]["sent twice"] = [len(twice), *twice[:5]]
    return found


def left_on_disk(host: Host) -> Iterator[Path]:
    """Files of a host that are no settings, logs or loaded networks."""
    for path in host.site.data.iterdir():
        if path.name in {"incoming", "scratch"}:
            # The lock is no copy of anything.
            yield from (each for each in path.rglob("*") if each.is_file() and each.name != "lock")


def report(phases: list[Phase], what: dict[str, Any], found: dict[str, Any]) -> None:
    peer = phases[0]
    for phase in phases:
        write(
            f"{phase.name}: {phase.count} in {phase.seconds:.0f} s, {phase.rate:.0f} a minute"
            f" = {phase.rate / peer.rate:.2f} × {peer.name}"
        )
    for name, value in {**what, **{name: value for name, value in found.items() if name != "faults"}}.items():
        write(f"{name}: {json.dumps(value)}")
    for name, faults in found["faults"].items():
        write(f"FAULT {name}: {json.dumps(faults)}")
    write("everything exactly once" if not found["faults"] else "not everything exactly once")


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--analyses", type=int, default=1000, help="under fire")
    parser.add_argument("--workers", type=int, default=2, help="hosts beside that of the web server")
    parser.add_argument("--kill-every", type=float, default=20.0, help="seconds; 0 for never")
    parser.add_argument("--cut", type=float, default=30.0, help="seconds that one worker's network is away")
    parser.add_argument("--by-http", type=float, default=0.2, help="the share that is uploaded")
    parser.add_argument("--compare", type=int, default=100, help="in each of two calm runs before; 0 for none")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds that it may take under fire")
    parser.add_argument("--keep", type=Path, help="a folder to leave everything in, logs above all")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--namespaces", dest="namespaces", action="store_true", default=None)
    kind.add_argument("--relays", dest="namespaces", action="store_false")
    options = parser.parse_args()
    # Asked to end, it takes down what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        clips = folder / "clips"
        make_clips(clips, KINDS)
        network = stack.enter_context(network_of(options.workers + 1, namespaces=options.namespaces))
        cluster = stack.enter_context(running_cluster(folder, network, options.workers))
        write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {type(network).__name__.lower()}")
        phases, what = measure(cluster, clips, options)
        found = reckon(cluster, folder)
        report(phases, what, found)
    sys.exit(bool(found["faults"]))


if __name__ == "__main__":
    main()

"""An evening of a busy site: how much it can take, and whether it stays as quick and small for an hour at 80 % of that.

    python -m benchmarks.load [--minutes 60] [--users N] [--postgresql] [--samples FILE]

A site of its own, web server and worker with the default detector, is used by Locust as `benchmarks.crowd` says: status
calls most, result pages, pictures, histories, uploads, files that are refused, live views, reports, log-ins, sign-ups.

Capacity is the largest number of users, each doing one thing a second, at which the p95 of status calls stays under
200 ms, no call fails, and what is uploaded is examined without the oldest waiting longer than 15 seconds; `--users`
skips the search. Then 80 % of them stay for the minutes asked for, while the memory of web server and worker is
sampled every 10 seconds. Growth is from the first minutes after the warm-up to the last. The exit status is 1 if a call
failed, the p95 was over 200 ms or memory grew by more than a tenth.

Clients, web server, worker and database share this machine: on one for each, capacity is another.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.clips import make_clips
from tests.postgresql_process import running_postgresql
from tests.site_process import ROOT, SiteProcess, wait_until

SITE = {
    "SENTINEL_DAILY_LIMIT": "30000",
    "LOGIN_FAILURE_LIMIT": "1000000",
    "LOG_LEVEL": "WARNING",
}
MEMBERS = 300
FILES = 20
# As benchmarks.crowd calls it, which is not imported: Locust changes whatever imports it.
STATUS = "status"
STATUS_P95_MS = 200.0
LONGEST_WAIT_SECONDS = 15.0
SAMPLE_SECONDS = 10.0
GROWTH = 0.10
WARM_UP_MINUTES = 10.0
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of call took, in milliseconds."""

    name: str
    count: int
    failures: int
    times: Counter[int]

    def percentile(self, share: float) -> float:
        """The time that `share` of the calls took at most; Locust keeps them in steps of 1, 10 or 100 ms."""
        wanted, seen = share * sum(self.times.values()), 0
        for ms, number in sorted(self.times.items()):
            seen += number
            if seen >= wanted:
                return float(ms)
        return 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """A run of Locust. `waited` is how long the oldest analysis had been waiting at its end, in seconds."""

    users: int
    seconds: float
    kinds: list[Kind]
    waited: float

    @property
    def rate(self) -> float:
        return sum(kind.count for kind in self.kinds) / self.seconds

    @property
    def failures(self) -> int:
        return sum(kind.failures for kind in self.kinds)

    @property
    def status_p95(self) -> float:
        return next((kind.percentile(0.95) for kind in self.kinds if kind.name == STATUS), float("inf"))

    @property
    def is_sustained(self) -> bool:
        return self.status_p95 < STATUS_P95_MS and not self.failures and self.waited < LONGEST_WAIT_SECONDS


@dataclass(slots=True)
class Memory:
    """Samples of resident memory in bytes: seconds since the beginning, web server, worker with its processes."""

    site: SiteProcess
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        began = time.monotonic()
        while not self.stopped.wait(SAMPLE_SECONDS):
            web, worker = (
                sum(map(resident, self.site.family(self.site.processes[name].pid))) for name in ("web", "worker")
            )
            self.samples.append((time.monotonic() - began, web, worker))

    def growth(self, column: int) -> tuple[float, float]:
        """Megabytes after the warm-up and at the end, each the median of a tenth of the time."""
        length = self.samples[-1][0]
        start, span = min(60 * WARM_UP_MINUTES, length / 3), max(length / 10, 3 * SAMPLE_SECONDS)
        first = [sample[column] for sample in self.samples if start <= sample[0] < start + span]
        last = [sample[column] for sample in self.samples if sample[0] >= length - span]
        return statistics.median(first) / MEGABYTE, statistics.median(last) / MEGABYTE


def resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def run_locust(site: SiteProcess, scratch: Path, users: int, seconds: float) -> Load:
    figures = scratch / f"locust-{users}-{seconds:.0f}"
    environment = {
        **os.environ,
        "CROWD_MEMBERS": str(scratch / "members.json"),
        "CROWD_FILES": str(scratch / "files"),
    }
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "crowd.py"), "--headless"]
    command += ["--host", site.url, "--users", str(users), "--spawn-rate", str(max(users / 10, 1))]
    command += ["--run-time", f"{seconds:.0f}s", "--reset-stats", "--json-file", str(figures), "--loglevel", "WARNING"]
    with (scratch / "locust.log").open("ab") as log:
        # It exits with 1 if a call failed: that is counted here.
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
    found: list[dict[str, Any]] = json.loads(figures.with_suffix(".json").read_text())
    kinds = [
        Kind(
            each["name"],
            each["num_requests"],
            each["num_failures"],
            Counter({int(float(ms)): number for ms, number in each["response_times"].items()}),
        )
        for each in found
    ]
    state = requests.get(f"{site.url}/api/v1/health/", timeout=30).json()
    waited = float(state["queue"]["oldest_waiting_seconds"] or 0)
    return Load(users, seconds, kinds, waited)


def find_capacity(site: SiteProcess, scratch: Path, step_seconds: float, most: int) -> int:
    """The largest number of users that was sustained; 0 if not even the smallest was."""
    sustained, broken, users = 0, most + 1, 8
    while users < broken and (broken - sustained) > max(sustained // 8, 1):
        load = run_locust(site, scratch, users, step_seconds)
        write(
            f"  {users:4} users, {load.rate:6.1f} calls/s: status p95 {load.status_p95:.0f} ms, {load.failures} failed,"
            f" oldest waited {load.waited:.0f} s{'' if load.is_sustained else ': too many'}"
        )
        if load.is_sustained:
            sustained = users
        else:
            broken = users
            wait_until(lambda: is_idle(site), seconds=600, what="the queue to be empty")
        users = min(2 * sustained, most) if broken > most else (sustained + broken) // 2
    return sustained


def is_idle(site: SiteProcess) -> bool:
    queue = requests.get(f"{site.url}/api/v1/health/", timeout=30).json()["queue"]
    return not queue["waiting"] and not queue["running"]


def report(load: Load, memory: Memory) -> bool:
    """Whether everything was as it should be."""
    write(f"{load.users} users for {load.seconds / 60:.0f} minutes: {load.rate:.1f} calls/s, {load.failures} failed")
    peer = next(kind for kind in load.kinds if kind.name == "home, stranger").percentile(0.5) or 1.0
    for kind in sorted(load.kinds, key=lambda each: -each.count):
        p50, p95, p99 = (kind.percentile(share) for share in (0.5, 0.95, 0.99))
        write(
            f"  {kind.name:26} {kind.count:7} calls, {kind.failures} failed, p50 {p50:5.0f} ms"
            f" ({p50 / peer:4.1f} × home page), p95 {p95:5.0f} ms, p99 {p99:5.0f} ms"
        )
    fit = load.is_sustained
    for name, column in (("web", 1), ("worker", 2)):
        before, after = memory.growth(column)
        fit &= after <= before * (1 + GROWTH)
        write(
            f"memory of {name}: {before:.0f} MB after the warm-up, {after:.0f} MB at the end = {after / before:.3f} ×"
        )
    return fit


def save_samples(memory: Memory, path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["seconds", "web", "worker"])
        rows.writerows(memory.samples)


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="at 80 %% of the capacity")
    parser.add_argument("--users", type=int, help="the capacity, if it is known")
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity")
    parser.add_argument("--step-seconds", type=float, default=40.0, help="of each step of the search")
    parser.add_argument("--most", type=int, default=256, help="users to try at most")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--samples", type=Path, help="where to write the samples of memory, as CSV")
    parser.add_argument("--keep", type=Path, help="a folder to leave everything in")
    options = parser.parse_args()
    # Asked to end, it takes down what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        scratch = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (scratch / "data").mkdir(parents=True)
        make_clips(scratch / "files", FILES)
        environment = dict(SITE)
        if options.postgresql:
            environment["DATABASE_URL"] = stack.enter_context(running_postgresql(scratch / "postgresql")).url()
        site = SiteProcess(scratch / "data", **environment)
        stack.callback(site.stop)
        site.prepare()
        command = [sys.executable, "-m", "benchmarks.inside.crowd", str(MEMBERS)]
        members = subprocess.run(command, cwd=ROOT, env=site.environment, check=True, stdout=subprocess.PIPE)
        (scratch / "members.json").write_bytes(members.stdout)
        site.start_web()
        site.start_worker()
        wait_until(lambda: requests.get(f"{site.url}/api/v1/health/", timeout=30).ok, seconds=120, what="the worker")
        write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        # The first of everything is slow.
        run_locust(site, scratch, 4, 20)
        capacity = options.users or find_capacity(site, scratch, options.step_seconds, options.most)
        users = max(round(options.share * capacity), 1)
        write(f"capacity {capacity} users; {users} of them for {options.minutes:g} minutes")
        memory = Memory(site)
        sampler = threading.Thread(target=memory.run, name="memory", daemon=True)
        sampler.start()
        load = run_locust(site, scratch, users, 60 * options.minutes)
        memory.stopped.set()
        sampler.join()
        if options.samples:
            save_samples(memory, options.samples)
        fit = report(load, memory)
    sys.exit(not fit)


if __name__ == "__main__":
    main()

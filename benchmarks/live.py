"""How much watching slows examining, and how soon watchers see what was found.

    python -m benchmarks.live CLIP [--watchers 50] [--rounds 5] [--redis redis://…]

A site of its own with the default detector examines the clip again and again, in turn with no watcher and with many,
who take everything, events and pictures. The watchers run in a process of their own at the lowest priority, since
they stand for other machines. Delivery is the time from an event's row being written to a watcher having it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from websockets.asyncio.client import connect

from tests.site_process import Member, SiteProcess


async def watch(url: str, cookie: str, origin: str, seen: list[tuple[int, float]], pictures: list[int]) -> None:
    """Take everything; `seen` gets each event's number with the time it came, `pictures` the bytes of each."""
    async with connect(url, additional_headers={"Cookie": cookie}, origin=origin, compression=None) as socket:  # type: ignore[arg-type]
        async for message in socket:
            now = time.time()
            if isinstance(message, bytes):
                pictures.append(len(message))
            else:
                seen += [(event["number"], now) for event in json.loads(message).get("events", [])]


def watch_many(number: int, address: tuple[str, str, str], results: Any, ready: Any) -> None:
    """`address` is the socket's URL, the cookie and the origin."""
    os.nice(19)

    async def all_of_them() -> None:
        seen: list[list[tuple[int, float]]] = [[] for _ in range(number)]
        pictures: list[list[int]] = [[] for _ in range(number)]
        watchers = [watch(*address, seen[i], pictures[i]) for i in range(number)]
        ready.set()
        await asyncio.gather(*watchers)
        results.put((seen, [len(each) for each in pictures]))

    asyncio.run(all_of_them())


def written_at(site: SiteProcess, public_id: str) -> dict[int, float]:
    """When each event's row was written, in seconds since 1970."""
    statement = """SELECT number, live.created_at FROM media_analysis_liveevent live
        JOIN media_analysis_analysis analysis ON analysis.id = live.analysis_id WHERE public_id = ?"""
    with sqlite3.connect(site.data / "sentinel.sqlite3", timeout=20) as database:
        rows = database.execute(statement, [public_id]).fetchall()
    return {number: datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for number, text in rows}


def processor_seconds(site: SiteProcess, name: str) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in site.family(site.processes[name].pid))


def one_round(site: SiteProcess, member: Member, clip: Path, watchers: int) -> dict[str, Any]:
    # The watchers have to be there before the worker begins: it is stopped until they are.
    worker = site.family(site.processes["worker"].pid)
    for process in worker:
        process.suspend()
    public_id = member.upload(clip).json()["id"]
    results: Any = multiprocessing.Queue()
    ready = multiprocessing.Event()
    cookie = "; ".join(f"{name}={value}" for name, value in member.session.cookies.items())
    url = f"{site.url.replace('http', 'ws')}/ws/analyses/{public_id}/"
    crowd = multiprocessing.Process(target=watch_many, args=(watchers, (url, cookie, site.url), results, ready))
    if watchers:
        crowd.start()
        ready.wait()
        time.sleep(3)
    before = processor_seconds(site, "web")
    for process in worker:
        process.resume()
    found: dict[str, Any] = {"delays": [], "pictures": []}
    if watchers:
        seen, found["pictures"] = results.get(timeout=300)
        written = written_at(site, public_id)
        for each in seen:
            assert [number for number, _ in each] == list(range(len(written))), "a watcher missed something"
        found["delays"] = [at - written[number] for each in seen for number, at in each]
        crowd.join()
    else:
        # Asked seldom, so that asking costs nothing.
        while not (state := member.analysis(public_id))["finished_at"]:
            time.sleep(1)
        assert state["status"] == "done", state
    found["web"] = processor_seconds(site, "web") - before
    found["seconds"] = float(member.wait_for(public_id)["seconds"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--redis", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = SiteProcess(
            Path(folder),
            CHANNEL_REDIS_URL=options.redis,
            SENTINEL_DAILY_LIMIT="1000",
            SENTINEL_STALLED_AFTER_SECONDS="300",
        )
        site.prepare()
        site.start_web()
        site.start_worker()
        try:
            measure(site, options)
        finally:
            site.stop()


def measure(site: SiteProcess, options: argparse.Namespace) -> None:
    member = site.member("watcher")
    member.wait_for(member.upload(options.clip).json()["id"], seconds=300)
    alone: list[float] = []
    watched: list[float] = []
    delays: list[float] = []
    web: list[float] = []
    pictures: list[int] = []
    for number in range(options.rounds):
        quiet = one_round(site, member, options.clip, 0)
        crowded = one_round(site, member, options.clip, options.watchers)
        alone.append(quiet["seconds"])
        watched.append(crowded["seconds"])
        delays += crowded["delays"]
        pictures += crowded["pictures"]
        web.append(crowded["web"] - quiet["web"])
        print(f"round {number + 1}: {alone[-1]:.2f} s alone, {watched[-1]:.2f} s with {options.watchers} watchers")
    slower = statistics.median(b / a for a, b in zip(alone, watched, strict=True)) - 1
    cuts = statistics.quantiles(delays, n=100)
    print(f"alone {statistics.median(alone):.2f} s, watched {statistics.median(watched):.2f} s: {100 * slower:+.1f} %")
    print(f"delivery p50 {1000 * cuts[49]:.0f} ms, p95 {1000 * cuts[94]:.0f} ms, of {len(delays)} events")
    print(f"pictures for each watcher: {statistics.mean(pictures):.1f}")
    print(f"processor time of the web process: {statistics.median(web):+.2f} s")
    print(f"load at the end: {psutil.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

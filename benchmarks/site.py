"""Figures of a whole running site: taking in large uploads, and working through a queue.

    python -m benchmarks.site [--uploads] [--queue] [--clips N…] [--clip FILE]

Each figure comes with a ratio to a peer measured in the same run: for uploads, copying and hashing the same bytes
with coreutils; for the queue, `manage.py classify` on the same clips.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.media_factory import make_face_video, make_video
from tests.site_process import ROOT, Member, SiteProcess, prepare_data, running_site

MEGABYTE = 1024 * 1024
UNLIMITED = {"SENTINEL_DAILY_LIMIT": "100000"}


def make_large_clip(path: Path, size: int) -> Path:
    """A valid clip of exactly `size` bytes: a short one and a box of padding, as editors leave them."""
    make_video(path, seconds=5)
    padding = size - path.stat().st_size
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", padding, b"free"))
        file.truncate(size)
    return path


def coreutils_seconds(path: Path, scratch: Path) -> float:
    """What copying and hashing the file costs without any web server."""
    started = time.perf_counter()
    subprocess.run(["cp", path, scratch / "copy"], check=True)
    subprocess.run(["sha256sum", path], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["md5sum", path], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def peak_memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def forget_peak(pid: int) -> int:
    """Restart the peak from now; returns the memory in use."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return psutil.Process(pid).memory_info().rss


def timed_upload(member: Member, path: Path) -> float:
    started = time.perf_counter()
    answer = member.upload(path)
    answer.raise_for_status()
    return time.perf_counter() - started


def measure_uploads(prepared: Path, scratch: Path) -> None:
    clip = make_large_clip(scratch / "large.mp4", 100 * MEGABYTE)
    with running_site(prepared, scratch / "uploads", **UNLIMITED) as site:
        web = site.processes["web"].pid
        member = site.member("uploader")
        timed_upload(member, make_video(scratch / "first.mp4", seconds=1))
        peer = coreutils_seconds(clip, scratch)
        before = forget_peak(web)
        alone = timed_upload(member, clip)
        report("one upload of 100 MB", alone, peer, "cp + sha256sum + md5sum")
        report_memory(before, peak_memory(web))
        before = forget_peak(web)
        started = time.perf_counter()
        with ThreadPoolExecutor(20) as pool:
            each = list(pool.map(lambda _: timed_upload(member, clip), range(20)))
        together = time.perf_counter() - started
        report("20 uploads of 100 MB at once, all", together, 20 * peer, "20 × cp + sha256sum + md5sum")
        write(f"  slowest answer {max(each):.2f} s, fastest {min(each):.2f} s")
        report_memory(before, peak_memory(web))


def measure_queue(prepared: Path, scratch: Path, clip: Path, counts: list[int]) -> None:
    for count in counts:
        peer = classify_seconds(clip, count)
        with running_site(prepared, scratch / f"queue-{count}", **UNLIMITED) as site:
            member = site.member("uploader")
            warm_up(site, member, clip)
            started = time.perf_counter()
            ids = [member.upload(clip).json()["id"] for _ in range(count)]
            accepted = time.perf_counter() - started
            member.wait_for(ids[0], seconds=3600)
            first = time.perf_counter() - started
            done = [member.wait_for(public_id, seconds=3600) for public_id in ids]
            everything = time.perf_counter() - started
        failed = sum(analysis["status"] != "done" for analysis in done)
        report(f"{count} clips queued", everything, peer, "manage.py classify, loading included")
        write(f"  accepted in {accepted:.2f} s, first verdict after {first:.2f} s, last after {everything:.2f} s")
        write(f"  {60 * count / everything:.1f} clips a minute, {failed} failed")


def warm_up(site: SiteProcess, member: Member, clip: Path) -> None:
    site.start_worker()
    member.wait_for(member.upload(clip).json()["id"], seconds=600)


def classify_seconds(clip: Path, count: int) -> float:
    started = time.perf_counter()
    command = [sys.executable, "manage.py", "classify", "--json", *[str(clip)] * count]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def report(what: str, seconds: float, peer: float, peer_name: str) -> None:
    write(f"{what}: {seconds:.2f} s = {seconds / peer:.2f} × {peer_name} ({peer:.2f} s)")


def report_memory(before: int, peak: int) -> None:
    grown = (peak - before) / MEGABYTE
    write(f"  web process {before / MEGABYTE:.0f} MB before, peak {peak / MEGABYTE:.0f} MB (+{grown:.0f})")


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", action="store_true", help="only the uploads")
    parser.add_argument("--queue", action="store_true", help="only the queue")
    parser.add_argument("--clips", type=int, nargs="+", default=[1, 10, 50], help="how many clips to queue")
    parser.add_argument("--clip", type=Path, help="the clip to queue; default: a made one of a face, 5 s")
    options = parser.parse_args()
    both = options.uploads == options.queue
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        prepared = scratch / "prepared"
        prepared.mkdir()
        prepare_data(prepared)
        if both or options.uploads:
            measure_uploads(prepared, scratch)
        if both or options.queue:
            clip = options.clip or make_face_video(scratch / "face.mp4", seconds=5, size=(640, 480))
            measure_queue(prepared, scratch, clip, options.clips)


if __name__ == "__main__":
    main()

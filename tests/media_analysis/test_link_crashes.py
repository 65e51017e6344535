"""A worker killed while it fetches: the link is fetched anew, examined once, and spent once."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.media_factory import make_face_video
from tests.site_process import SiteProcess, running_site, wait_until
from tests.tiny_detector import NAME, write_tiny_detector
from tests.video_site import VideoSite, video_site

pytestmark = [pytest.mark.slow, pytest.mark.long]


def fetching_programs() -> list[psutil.Process]:
    """Every yt-dlp that our launcher started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "limited_run.py" in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


def kill_worker(site: SiteProcess) -> None:
    """Its main process alone, at once."""
    site.kill("worker")


@pytest.mark.parametrize("moment", ["looking it up", "loading it"])
def test_a_killed_worker_loses_no_link(prepared: Path, tmp_path: Path, moment: str) -> None:
    detectors = write_tiny_detector(tmp_path / "detectors", bias=20.0).parent
    with video_site() as videos:
        content = make_face_video(tmp_path / "clip.mp4", seconds=2).read_bytes()
        videos.files["/clip.mp4"] = content
        videos.pause = 6 / (len(content) / 16384)
        environment = {
            "SENTINEL_DETECTOR": NAME,
            "SENTINEL_DETECTORS_DIR": str(detectors),
            "SENTINEL_LINK_SITES": "127.0.0.1",
            "SENTINEL_LINK_ALLOW_PRIVATE": f"127.0.0.1:{videos.port}",
            "SENTINEL_STALLED_AFTER_SECONDS": "4",
            "SENTINEL_HEARTBEAT_SECONDS": "1",
        }
        with running_site(prepared, tmp_path / "data", **environment) as site:
            check(site, videos, moment)


def check(site: SiteProcess, videos: VideoSite, moment: str) -> None:
    member = site.member("asha")
    link = videos.add_page("abc", f"{videos.url}/slow.mp4", duration="PT2S")
    token = str(member.session.cookies["csrftoken"])
    accepted = member.session.post(
        f"{site.url}/api/v1/analyses/", json={"url": link}, headers={"X-CSRFToken": token}, timeout=60
    )
    assert accepted.status_code == 201, accepted.text
    public_id = accepted.json()["id"]

    site.start_worker()
    if moment == "looking it up":
        wait_until(lambda: bool(fetching_programs()), seconds=120, what="yt-dlp to begin")
    else:
        wait_until(lambda: member.analysis(public_id)["progress"] >= 10, seconds=120, what="the file to begin to come")
    kill_worker(site)
    # What the worker had started ends with it.
    wait_until(lambda: not fetching_programs(), seconds=10, what="yt-dlp to end")
    assert member.analysis(public_id)["status"] == "queued"

    videos.pause = 0
    site.start_worker()
    found = member.wait_for(public_id, seconds=180)
    assert (found["status"], found["outcome"], found["attempts"]) == ("done", "FAKE", 1)
    listed = member.session.get(f"{site.url}/api/v1/analyses/", timeout=30).json()
    assert listed["count"] == 1
    assert member.session.get(f"{site.url}/api/v1/account/", timeout=30).json()["limits"]["remaining"] == 9
    stored = [path for path in (site.data / "media" / "media").rglob("*") if path.is_file()]
    assert len(stored) == 1

"""Files of links, without account and database: none of these tests may touch one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from accounts.errors import Code, SentinelError
from media_analysis.downloads import Wanted, Watch, fetch_file
from media_analysis.link_addresses import Cut
from media_analysis.models import LinkSource
from media_analysis.video_sites import SiteError
from ml.contracts import MediaKind
from tests.media_factory import make_video
from tests.video_site import VideoSite

Problem = LinkSource.Problem


def ignore(*, name: str = "", **origin: Any) -> None:
    """Nobody wants to know."""


def test_a_file_comes_with_its_digest_its_facts_and_its_origin(site: VideoSite, tmp_path: Path, clip: Path) -> None:
    noted: dict[str, Any] = {}
    shares: list[float] = []

    def note(*, name: str = "", **origin: Any) -> None:
        noted.update(origin, name=name)

    fetched = fetch_file(Wanted(f"{site.file_url}/clip.mp4"), tmp_path, Watch(shares.append), note)
    content = clip.read_bytes()
    assert fetched.staged.path.parent == tmp_path
    assert fetched.staged.path.read_bytes() == content
    assert (fetched.staged.name, fetched.staged.size) == ("clip.mp4", len(content))
    assert fetched.staged.sha256 == hashlib.sha256(content).hexdigest()
    assert (fetched.info.kind, fetched.info.codec) == (MediaKind.VIDEO, "h264")
    assert shares[-1] == 1.0
    assert fetched.origin.pop("fetched_at").tzinfo is not None
    assert noted.pop("name") == "clip.mp4"
    # What is known early is what is known in the end.
    assert noted == fetched.origin
    # The columns know all of it, and hold it.
    LinkSource(**fetched.origin).clean_fields(exclude=["media", "url", "key"])
    assert (noted["site"], noted["server_address"]) == ("127.0.0.2", "127.0.0.2")
    assert noted["headers"]["etag"] == '"a1b2"'


def test_a_part_says_where_it_begins_and_what_the_whole_was(site: VideoSite, tmp_path: Path) -> None:
    content = make_video(tmp_path / "long.mp4", seconds=8, fps=10, size=(64, 48), options={"g": "20"}).read_bytes()
    site.files["/long.mp4"] = content
    folder = tmp_path / "folder"
    folder.mkdir()
    fetched = fetch_file(Wanted(f"{site.file_url}/long.mp4", Cut(3, 5)), folder, Watch(), ignore)
    assert fetched.origin["cut_from"] == pytest.approx(2.0)
    assert fetched.origin["whole_sha256"] == hashlib.sha256(content).hexdigest() != fetched.staged.sha256
    assert fetched.info.duration == pytest.approx(3, abs=0.5)
    with pytest.raises(SiteError) as outside:
        fetch_file(Wanted(f"{site.file_url}/long.mp4", Cut(30, 40)), folder, Watch(), ignore)
    assert outside.value.problem is Problem.OUTSIDE_CUT


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/missing.mp4", Problem.NOT_FOUND), ("/article", Problem.NO_MEDIA), ("/bomb.mp4", Problem.UNREACHABLE)],
)
def test_there_being_no_file_is_a_problem(site: VideoSite, tmp_path: Path, path: str, problem: Problem) -> None:
    with pytest.raises(SiteError) as refused:
        fetch_file(Wanted(f"{site.file_url}{path}"), tmp_path, Watch(), ignore)
    assert (refused.value.problem, refused.value.detail) == (problem, "")


def test_a_link_inside_is_like_one_to_nowhere_except_in_the_log(site: VideoSite, tmp_path: Path) -> None:
    with pytest.raises(SiteError) as refused:
        fetch_file(Wanted(f"{site.file_url}/to?url=http://169.254.169.254/"), tmp_path, Watch(), ignore)
    assert str(refused.value) == Problem.UNREACHABLE
    assert "address" in refused.value.detail


def test_files_that_may_not_come_in_are_refused_as_uploads_are(
    site: VideoSite, tmp_path: Path, photo: Path, settings: Any
) -> None:
    site.files["/face.jpg"] = photo.read_bytes()
    with pytest.raises(SentinelError) as refused:
        fetch_file(Wanted(f"{site.file_url}/face.jpg", kind=MediaKind.VIDEO), tmp_path, Watch(), ignore)
    assert refused.value.code is Code.NO_VIDEO_STREAM
    settings.SENTINEL_MAX_FRAME_RATE = 5
    with pytest.raises(SentinelError) as refused:
        fetch_file(Wanted(f"{site.file_url}/clip.mp4"), tmp_path, Watch(), ignore)
    assert refused.value.code is Code.FPS_TOO_HIGH


def test_it_ends_when_its_time_is_over_or_nobody_wants_it_any_more(
    site: VideoSite, tmp_path: Path, settings: Any
) -> None:
    class Enough(Exception):
        pass

    def enough(share: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        fetch_file(Wanted(f"{site.file_url}/clip.mp4"), tmp_path, Watch(enough), ignore)
    settings.SENTINEL_LINK_TIMEOUT_SECONDS = 0.2
    with pytest.raises(SiteError) as late:
        fetch_file(Wanted(f"{site.file_url}/endless.mp4"), tmp_path, Watch(), ignore)
    assert late.value.problem is Problem.TOO_SLOW


def test_a_full_disk_is_no_fault_of_the_site(site: VideoSite, tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        fetch_file(Wanted(f"{site.file_url}/clip.mp4"), tmp_path, Watch(), ignore)

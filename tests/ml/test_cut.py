"""A part of a video is cut out by a process that is shut in, since the video comes from a stranger."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ml.media import cut
from ml.media.confinement import can_filter
from ml.media.probe import probe
from tests.media_factory import make_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cut") / "clip.mp4"
    return make_video(path, seconds=6, fps=10, size=(64, 48), options={"g": "10"}, audio=True)


def run(source: Path, target: Path, *, most: int = 1 << 20) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", cut.__name__, str(source), str(target), "2.5", "4", "60", str(most)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_part_begins_at_a_key_frame_and_keeps_its_sound(clip: Path, tmp_path: Path) -> None:
    done = run(clip, tmp_path / "part.mkv")
    assert done.returncode == 0, done.stderr
    start, end = (float(each) for each in done.stdout.split())
    # Pictures that are shown later may be needed before.
    assert start == pytest.approx(2.0)
    assert end == pytest.approx(4.3, abs=0.31)
    part = probe(tmp_path / "part.mkv")
    assert (part.container, part.codec, part.has_audio) == ("matroska", "h264", True)
    assert part.duration == pytest.approx(end - start, abs=0.11)


def test_a_part_that_grows_too_large_ends_by_a_signal_of_its_own(clip: Path, tmp_path: Path) -> None:
    assert run(clip, tmp_path / "part.mkv", most=1000).returncode == -signal.SIGXFSZ


def test_a_playlist_is_no_video(clip: Path, tmp_path: Path) -> None:
    """It would have another file of this machine cut."""
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{clip}\n#EXT-X-ENDLIST\n")
    assert run(playlist, tmp_path / "part.mkv").returncode == cut.EXIT_UNREADABLE


@pytest.mark.skipif(not can_filter(), reason="no system call filter for this machine")
def test_whoever_takes_it_over_gets_nowhere(clip: Path, tmp_path: Path) -> None:
    code = """
import os, socket, sys
from ml.media import cut

def taken_over(*_):
    for attempt in (lambda: open("/etc/passwd"), socket.socket, os.fork):
        try:
            attempt()
        except OSError as error:
            print(error.errno)
    raise ValueError

cut.cut = taken_over
sys.exit(cut.main())
"""
    arguments = [str(clip), str(tmp_path / "part.mkv"), "0", "1", "60", "1000"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (cut.EXIT_UNREADABLE, [str(errno.ENOSYS)] * 3), done.stderr

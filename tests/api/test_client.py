"""The client generated from the committed schema, as a phone team would use it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site_process import ROOT, SiteProcess

pytestmark = pytest.mark.slow

CLIENT = ROOT / "clients" / "python"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, str(CLIENT / "generate.py"), str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PATH": programs})
    return folder


def test_the_example_goes_all_the_way(live: SiteProcess, generated: Path, face_clip: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(CLIENT / "example.py"), live.url, str(face_clip)],
        env={**os.environ, "PYTHONPATH": str(generated), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{live.log('worker')}"
    lines = done.stdout.splitlines()
    assert lines[0].startswith("accepted ")
    assert lines[-2].startswith("done FAKE ")
    assert lines[-1] == f"deleted {hashlib.sha256(face_clip.read_bytes()).hexdigest()}"


def test_a_refusal_reaches_the_caller_in_the_sites_words(live: SiteProcess, generated: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video")
    done = subprocess.run(
        [sys.executable, str(CLIENT / "example.py"), live.url, str(notes)],
        env={**os.environ, "PYTHONPATH": str(generated), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("unreadable_media: ")

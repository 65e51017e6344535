from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_analysis import tasks
from tests.tiny_detector import NAME, write_tiny_detector
from tests.video_site import VideoSite, video_site


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """The folder of a tiny detector, which the settings name."""
    folder = write_tiny_detector(tmp_path / "detectors")
    monkeypatch.setenv("SENTINEL_DETECTORS_DIR", str(folder.parent))
    settings.SENTINEL_DETECTOR = NAME
    tasks.chosen_detector.cache_clear()
    tasks.face_detector.cache_clear()
    return folder


@pytest.fixture
def site(settings: Any, clip: Path) -> Iterator[VideoSite]:
    """A video site with a clip, which links may lead to."""
    with video_site() as site:
        settings.SENTINEL_LINK_ALLOW_PRIVATE = [f"127.0.0.1:{site.port}", f"127.0.0.2:{site.port}"]
        settings.SENTINEL_LINK_SITES = ["127.0.0.1"]
        site.files["/clip.mp4"] = clip.read_bytes()
        # Its thread sees nothing of what a test writes in a transaction, and would call a slow fetch lost.
        settings.SENTINEL_HEARTBEAT_SECONDS = 60.0
        yield site

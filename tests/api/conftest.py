"""A running site with a worker, which all tests that only need some site share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media_factory import make_face_image, make_face_video
from tests.site_process import SiteProcess, running_site
from tests.tiny_detector import NAME, write_tiny_detector


@pytest.fixture(scope="session")
def live(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    """Its detector calls every face fake, and its users may submit as much as they like."""
    folder = tmp_path_factory.mktemp("live")
    detectors = write_tiny_detector(folder / "detectors", bias=20.0).parent
    environment = {
        "SENTINEL_DETECTOR": NAME,
        "SENTINEL_DETECTORS_DIR": str(detectors),
        "SENTINEL_DAILY_LIMIT": "30000",
        "LOGIN_FAILURE_LIMIT": "1000000",
    }
    with running_site(prepared, folder / "data", **environment) as site:
        site.start_worker()
        yield site


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_video(tmp_path_factory.mktemp("faces") / "clip.mp4", seconds=1)


@pytest.fixture(scope="session")
def face_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_image(tmp_path_factory.mktemp("faces") / "portrait.jpg")

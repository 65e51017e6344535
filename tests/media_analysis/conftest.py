from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from media_analysis import tasks
from tests.tiny_detector import NAME, write_tiny_detector


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """The folder of a tiny detector, which the settings name."""
    folder = write_tiny_detector(tmp_path / "detectors")
    monkeypatch.setenv("SENTINEL_DETECTORS_DIR", str(folder.parent))
    settings.SENTINEL_DETECTOR = NAME
    tasks.chosen_detector.cache_clear()
    tasks.face_detector.cache_clear()
    return folder

"""Fixtures of the pipeline's tests: clips and detectors made once for each test process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ml.detectors.registry import Detector, load_detector
from ml.faces.detection import FaceDetector
from tests.media_factory import make_face_video, make_video
from tests.tiny_detector import NAME, write_tiny_detector

if "PYTEST_XDIST_WORKER" in os.environ:
    # The test processes share the cores already.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def drawn_clip(folder: Path) -> Path:
    """Fifty numbered frames without a face, H.264 with B-frames."""
    return make_video(folder / "drawn.mp4", count=50)


@pytest.fixture(scope="session")
def face_clip(folder: Path) -> Path:
    """One swaying face, forty frames, 1.6 s."""
    return make_face_video(folder / "face.mp4", count=40, zoom=0.8, size=(240, 200))


@pytest.fixture(scope="session")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of detectors to search: `tiny-test` with mixed scores, `always-fake` and `always-real`."""
    directory = tmp_path_factory.mktemp("detectors")
    write_tiny_detector(directory)
    write_tiny_detector(directory, name="always-fake", bias=20.0)
    write_tiny_detector(directory, name="always-real", bias=-20.0)
    return directory


@pytest.fixture(scope="session")
def tiny(detectors: Path) -> Detector:
    return load_detector(NAME, search=[detectors], device="cpu")


@pytest.fixture(scope="session")
def always_fake(detectors: Path) -> Detector:
    return load_detector("always-fake", search=[detectors], device="cpu")


@pytest.fixture(scope="session")
def always_real(detectors: Path) -> Detector:
    return load_detector("always-real", search=[detectors], device="cpu")


@pytest.fixture(scope="session")
def finder() -> FaceDetector:
    return FaceDetector()

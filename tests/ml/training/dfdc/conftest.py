from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ml.training.dfdc.boxes import detect_original_faces
from ml.training.dfdc.crops import extract_crops
from ml.training.dfdc.diffs import generate_diffs
from ml.training.dfdc.folds import generate_folds
from ml.training.dfdc.landmarks import generate_landmarks
from ml.training.dfdc.layout import Layout
from tests.dfdc_factory import make_dfdc


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection of :func:`tests.dfdc_factory.make_dfdc`. Only to be read."""
    return make_dfdc(tmp_path_factory.mktemp("dfdc"))


@pytest.fixture(scope="session")
def made_once(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """What all steps make of it. Only to be read."""
    layout = Layout(videos, tmp_path_factory.mktemp("made"))
    for step in (detect_original_faces, extract_crops, generate_landmarks, generate_diffs, generate_folds):
        step(layout)
    return layout


@pytest.fixture
def made(made_once: Layout, tmp_path: Path) -> Layout:
    """A copy for a test to spoil."""
    return Layout(made_once.data, Path(shutil.copytree(made_once.out, tmp_path / "made")))

"""What a worker that starts again need not try again, and when it must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.detectors import loaded
from ml.detectors.catalog import DEFAULT_DETECTOR
from tests.tiny_detector import NAME, write_tiny_detector


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of converted networks; one is there."""
    monkeypatch.setenv("SENTINEL_ENGINE_CACHE_DIR", str(tmp_path / "engines"))
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "network.xml").write_text("converted")
    return tmp_path / "engines"


def test_nothing_is_known_before_it_was_tried(folder: Path) -> None:
    assert not loaded.was_loaded(DEFAULT_DETECTOR)


def test_what_was_loaded_is_known_until_a_network_goes(folder: Path) -> None:
    loaded.remember(DEFAULT_DETECTOR)
    assert loaded.was_loaded(DEFAULT_DETECTOR)
    assert not loaded.was_loaded("reference-b7")
    (folder / "network.xml").write_text("cut off")
    assert not loaded.was_loaded(DEFAULT_DETECTOR)
    (folder / "network.xml").unlink()
    assert not loaded.was_loaded(DEFAULT_DETECTOR)


def test_other_versions_are_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded.remember(DEFAULT_DETECTOR)
    monkeypatch.setattr(loaded, "version", lambda library: "0" if library == "torch" else "1")
    assert not loaded.was_loaded(DEFAULT_DETECTOR)


def test_other_settings_are_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded.remember(DEFAULT_DETECTOR)
    monkeypatch.setenv("SENTINEL_ENGINE", "torch")
    assert not loaded.was_loaded(DEFAULT_DETECTOR)


def test_other_weights_are_tried(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_DETECTORS_DIR", str(tmp_path / "detectors"))
    tiny = write_tiny_detector(tmp_path / "detectors")
    loaded.remember(NAME)
    assert loaded.was_loaded(NAME)
    (weights,) = tiny.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    # Their SHA-256 is not the one in detector.json: whoever tries says so.
    assert not loaded.was_loaded(NAME)


@pytest.mark.parametrize("content", ["", "[]", '{"files": 1}', '{"files": {"network.xml": null}}'])
def test_a_broken_note_says_nothing(folder: Path, content: str) -> None:
    loaded.remember(DEFAULT_DETECTOR)
    (note,) = folder.glob("loaded-*.json")
    assert json.loads(note.read_text()) == {"detector": DEFAULT_DETECTOR, "files": {"network.xml": 9}}
    note.write_text(content)
    assert not loaded.was_loaded(DEFAULT_DETECTOR)


def test_without_a_folder_it_is_tried_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENTINEL_ENGINE_CACHE_DIR", raising=False)
    loaded.remember(DEFAULT_DETECTOR)
    assert not loaded.was_loaded(DEFAULT_DETECTOR)


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SENTINEL_ENGINE_CACHE_DIR", str(tmp_path / "file" / "engines"))
    loaded.remember(DEFAULT_DETECTOR)
    assert not loaded.was_loaded(DEFAULT_DETECTOR)

"""The check before a worker starts says whether the detector loads, and converts its networks for the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from media_analysis.management.commands import run_worker
from ml.detectors import check
from ml.detectors.catalog import DEFAULT_DETECTOR, find_detector
from ml.detectors.loaded import was_loaded


@pytest.mark.slow
def test_the_networks_are_converted_for_the_first_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_ENGINE_CACHE_DIR", str(tmp_path))

    assert check.main([DEFAULT_DETECTOR]) == 0

    digest = find_detector(DEFAULT_DETECTOR).spec.weights_sha256
    assert [path.suffix for path in sorted(tmp_path.glob(f"{digest}-*"))] == [".bin", ".xml"]
    assert was_loaded(DEFAULT_DETECTOR)


def test_a_detector_that_does_not_load_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["nobody"]) == 1
    assert "nobody cannot be loaded" in capsys.readouterr().err


def test_a_worker_tries_only_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    asked: list[tuple[str, list[Path]]] = []

    def known(name: str, weights: list[Path]) -> bool:
        asked.append((name, weights))
        return name == "known"

    monkeypatch.setattr(run_worker, "was_loaded", known)
    settings.SENTINEL_DETECTOR_WEIGHTS = ["one.bin"]
    settings.SENTINEL_DETECTOR = "known"
    assert run_worker.detector_loads()
    settings.SENTINEL_DETECTOR = "nobody"
    assert not run_worker.detector_loads()
    assert asked == [("known", [Path("one.bin")]), ("nobody", [Path("one.bin")])]

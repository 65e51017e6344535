"""The check before a worker starts says whether the detector loads, and converts its networks for the worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.detectors import check
from ml.detectors.catalog import DEFAULT_DETECTOR, find_detector


@pytest.mark.slow
def test_the_networks_are_converted_for_the_first_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_ENGINE_CACHE_DIR", str(tmp_path))

    assert check.main([DEFAULT_DETECTOR]) == 0

    digest = find_detector(DEFAULT_DETECTOR).spec.weights_sha256
    assert [path.suffix for path in sorted(tmp_path.glob(f"{digest}-*"))] == [".bin", ".xml"]


def test_a_detector_that_does_not_load_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["nobody"]) == 1
    assert "nobody cannot be loaded" in capsys.readouterr().err

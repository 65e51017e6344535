"""Examining again: the same scores on other threads and in other processes, and a typed refusal where that can't be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.contracts import AnalysisResult
from ml.detectors.catalog import DETECTORS_VARIABLE
from ml.detectors.registry import Detector
from ml.faces.detection import FaceDetector
from ml.inference import analyze
from ml.reproduction import TOLERANCE, Comparison, NotReproducible, Refusal, compare, reproduce
from tests.media_factory import make_two_faces_video
from tests.tiny_detector import write_tiny_detector

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def result(face_clip: Path, tiny: Detector, finder: FaceDetector) -> AnalysisResult:
    return analyze(face_clip, tiny, face_detector=finder, frames=6)


@pytest.fixture
def recorded(result: AnalysisResult) -> dict[str, Any]:
    """As a package has it: written as JSON and read again."""
    found: dict[str, Any] = json.loads(json.dumps(result.to_dict()))
    return found


@pytest.fixture(autouse=True)
def _detectors(detectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DETECTORS_VARIABLE, str(detectors))


def refusal(path: Path, recorded: dict[str, Any], **options: Any) -> Refusal:
    with pytest.raises(NotReproducible) as refused:
        reproduce(path, recorded, **options)
    return refused.value.refusal


def test_the_same_detector_gives_the_same(face_clip: Path, recorded: dict[str, Any]) -> None:
    again = reproduce(face_clip, recorded)
    assert again.same
    assert again.faces == 6
    assert again.largest <= 1e-6
    assert again.other_software == ()
    named = {difference.what for difference in again.differences}
    assert {"the file", "all faces together", "person 1", "person 1, frame 0"} <= named


def test_each_changed_number_is_found(result: AnalysisResult, recorded: dict[str, Any]) -> None:
    def compared(change: Callable[[dict[str, Any]], object]) -> Comparison:
        changed = deepcopy(recorded)
        change(changed)
        return compare(changed, result)

    def face(found: dict[str, Any]) -> dict[str, Any]:
        return found["tracks"][0]["faces"][2]  # type: ignore[no-any-return]

    assert compared(lambda found: None).same
    within = compared(lambda found: face(found).update(fake_probability=face(found)["fake_probability"] + 0.0009))
    assert within.same
    assert within.differences[0].what == f"person 1, frame {face(recorded)['frame']}"
    for change in (
        lambda found: face(found).update(fake_probability=face(found)["fake_probability"] + 0.0011),
        lambda found: face(found).update(frame=1),
        lambda found: face(found).update(box=[0, 0, 20, 20]),
        lambda found: found["tracks"][0]["faces"].pop(),
        lambda found: found["tracks"].pop(),
        lambda found: found.update(fake_probability=0.5 + 2 * TOLERANCE, outcome=found["outcome"]),
        lambda found: found.update(outcome="NOT_ASSESSABLE"),
        lambda found: found.update(reason="no_face"),
        lambda found: found.update(fake_probability=None),
    ):
        assert not compared(change).same
    moved = compared(lambda found: face(found).update(box=[side + 1 for side in face(found)["box"]]))
    assert moved.same, "a box may move by a pixel where a coordinate was rounded"


def test_other_libraries_are_named(result: AnalysisResult, recorded: dict[str, Any]) -> None:
    recorded["settings"]["versions"]["torch"] = "1.0"
    again = compare(recorded, result, software_version="0.0.9")
    assert again.same
    assert [(name, then) for name, then, _now in again.other_software] == [("sentinel", "0.0.9"), ("torch", "1.0")]


def test_another_detector_is_refused(face_clip: Path, recorded: dict[str, Any], tmp_path: Path) -> None:
    assert refusal(face_clip, {**recorded, "detector": "no-such"}) is Refusal.DETECTOR_MISSING
    assert refusal(face_clip, {**recorded, "detector_version": "9"}) is Refusal.OTHER_VERSION
    assert refusal(face_clip, {**recorded, "weights_sha256": ["0" * 64]}) is Refusal.OTHER_WEIGHTS
    other = write_tiny_detector(tmp_path, seed=8) / "model.safetensors"
    assert refusal(face_clip, recorded, weights=[other]) is Refusal.OTHER_WEIGHTS
    assert refusal(face_clip, recorded, weights=[tmp_path / "gone"]) is Refusal.DETECTOR_MISSING
    assert refusal(face_clip, {**recorded, "settings": {}}) is Refusal.NOT_RECORDED
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    assert refusal(broken, recorded) is Refusal.UNREADABLE_MEDIA


def test_other_settings_are_refused(result: AnalysisResult, recorded: dict[str, Any]) -> None:
    recorded["settings"]["thresholds"]["fake"] = 0.9
    with pytest.raises(NotReproducible) as refused:
        compare(recorded, result)
    assert refused.value.refusal is Refusal.OTHER_SETTINGS
    with pytest.raises(NotReproducible):
        compare(result.to_dict(), replace(result, settings={**result.settings, "precision": "bfloat16"}))


def test_nothing_found_is_the_same_as_nothing_found(drawn_clip: Path, tiny: Detector, finder: FaceDetector) -> None:
    nothing = analyze(drawn_clip, tiny, face_detector=finder, frames=4)
    again = reproduce(drawn_clip, nothing.to_dict())
    assert again.same
    assert (again.faces, again.differences) == (0, ())


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "engine"), [pytest.param("1", "torch", marks=pytest.mark.long), ("3", "auto")])
def test_another_process_with_other_threads_gives_the_same(
    *, detectors: Path, tiny: Detector, finder: FaceDetector, tmp_path: Path, threads: str, engine: str
) -> None:
    clip = make_two_faces_video(tmp_path / "two.mp4", count=60)
    (tmp_path / "result.json").write_text(json.dumps(analyze(clip, tiny, face_detector=finder).to_dict()))
    code = (
        "import json, sys, torch\n"
        "from pathlib import Path\n"
        "from ml.reproduction import reproduce\n"
        "torch.set_num_threads(int(sys.argv[3]))\n"
        "again = reproduce(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))\n"
        "print(json.dumps([again.same, again.faces, again.largest]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip), str(tmp_path / "result.json"), threads],
        cwd=ROOT,
        env={**os.environ, DETECTORS_VARIABLE: str(detectors), "OMP_NUM_THREADS": threads, "SENTINEL_ENGINE": engine},
        capture_output=True,
        text=True,
        check=True,
    )
    same, faces, largest = json.loads(done.stdout)
    assert same
    assert faces > 30
    assert largest <= TOLERANCE

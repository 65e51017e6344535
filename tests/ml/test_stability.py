"""A verdict that turns when faces are compressed once more is not given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.contracts import Copy, CopyScore, Outcome, Reason, Stability
from ml.detectors.registry import Detector
from ml.detectors.spec import Thresholds
from ml.faces.detection import FaceDetector
from ml.faces.geometry import fit_face
from ml.inference import analyze
from ml.stability import FACES, check_stability, make_copies
from ml.verdict import Verdict, weigh_copies
from tests.media_factory import face_frame, make_face_image
from tests.tiny_detector import tiny_network

CROP = face_frame(0, (120, 140), zoom=1.0)
LIMITS = Thresholds(fake=0.6, real=0.4)


@pytest.mark.parametrize("kind", list(Copy))
def test_copies_show_the_same_face_less_well(kind: Copy) -> None:
    crops = [CROP, CROP[:, ::-1]]

    copies = make_copies(crops, kind, 96)

    assert len(copies) == 2
    for crop, copy in zip(crops, copies, strict=True):
        assert copy.dtype == np.uint8
        if kind in {Copy.JPEG_90, Copy.JPEG_60}:
            assert copy.shape == crop.shape
            assert 0 < np.abs(copy.astype(int) - crop).mean() < 12
        if kind is Copy.HALF_SIZE:
            assert copy.shape == (70, 60, 3)
        assert np.corrcoef(np.array([c.mean(axis=(0, 1)) for c in (copy, crop)]))[0, 1] > 0.9


def test_stronger_compression_loses_more() -> None:
    def loss(kind: Copy) -> float:
        size = 140
        original = make_copies([CROP], Copy.H264_MEDIUM, size)[0].shape
        (copy,) = make_copies([CROP], kind, size)
        assert copy.shape == original
        return float(np.abs(np.diff(copy.astype(int), axis=0)).mean())

    assert loss(Copy.H264_STRONG) < loss(Copy.H264_MEDIUM)


class Counting(Detector):
    """Half fake, whatever it sees; counts what it is shown."""

    shown = 0

    def score(self, crops: Any, *, photo: bool = False) -> Any:
        self.shown += len(crops)
        return np.full((1, len(crops)), 0.5, dtype=np.float32)


@pytest.mark.parametrize(("faces", "chosen"), [(1, 1), (3, 3), (32, FACES)])
def test_the_cost_does_not_grow_with_the_clip(tiny: Detector, faces: int, chosen: int) -> None:
    detector = Counting(tiny.spec, [tiny_network()], ["x"])

    stability = check_stability(detector, [CROP] * faces, np.full((1, faces), 0.9, dtype=np.float32), 0.9)

    assert (stability.faces, detector.shown) == (chosen, chosen * len(Copy))
    assert stability.original == pytest.approx(0.9)
    assert [copy.copy for copy in stability.copies] == list(Copy)


def test_the_faces_are_those_that_stand_for_the_score(tiny: Detector) -> None:
    scores = np.array([[0.9] * 13 + [0.1] * 19], dtype=np.float32)

    stability = check_stability(tiny, [CROP] * 32, scores, 0.9)

    assert stability.original == pytest.approx(0.9)


def stability(original: float, *copies: float) -> Stability:
    return Stability(4, original, tuple(CopyScore(Copy.JPEG_90, copy) for copy in copies), 0.1)


@pytest.mark.parametrize(
    ("outcome", "found", "expected"),
    [
        (Outcome.FAKE, stability(0.9, 0.9, 0.5, 0.61), Outcome.FAKE),
        (Outcome.FAKE, stability(0.9, 0.9, 0.4), Outcome.INCONCLUSIVE),
        (Outcome.REAL, stability(0.1, 0.1, 0.5), Outcome.REAL),
        (Outcome.REAL, stability(0.1, 0.6, 0.1), Outcome.INCONCLUSIVE),
        (Outcome.FAKE, stability(0.2, 0.2, 0.2), Outcome.FAKE),
        (Outcome.INCONCLUSIVE, stability(0.5, 0.9, 0.1), Outcome.INCONCLUSIVE),
    ],
)
def test_only_the_opposite_takes_a_verdict_away(outcome: Outcome, found: Stability, expected: Outcome) -> None:
    reason = Reason.WEAK_EVIDENCE if outcome is Outcome.INCONCLUSIVE else None
    verdict = weigh_copies(Verdict(outcome, reason, 90.0), found, LIMITS)

    assert verdict.outcome is expected
    if expected is not outcome:
        assert (verdict.reason, verdict.confidence) == (Reason.UNSTABLE_COPIES, None)


class FearsBlur(Detector):
    """Calls a face fake by its sharpness, as a detector does that learned compression instead of faces."""

    def score(self, crops: Any, *, photo: bool = False) -> Any:
        sharpness = [np.abs(np.diff(fit_face(crop, 96).astype(int), axis=1)).mean() for crop in crops]
        limit = self.__dict__.setdefault("limit", 0.9 * sharpness[0])
        return np.array([[0.95 if each > limit else 0.05 for each in sharpness]], dtype=np.float32)


def test_a_verdict_that_hangs_on_sharpness_is_not_given(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    photo = make_face_image(tmp_path / "a.png")

    result = analyze(photo, FearsBlur(tiny.spec, [tiny_network()], ["x"]), face_detector=finder)

    assert (result.outcome, result.reason, result.confidence) == (Outcome.INCONCLUSIVE, Reason.UNSTABLE_COPIES, None)
    assert result.fake_probability == pytest.approx(0.95)
    assert result.stability is not None
    assert min(copy.fake_probability for copy in result.stability.copies) < 0.4
    stored = result.to_dict()["stability"]
    assert stored["faces"] == 1
    assert {copy["copy"] for copy in stored["copies"]} == {str(kind) for kind in Copy}


def test_the_check_can_be_turned_off(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    photo = make_face_image(tmp_path / "a.png")

    result = analyze(photo, FearsBlur(tiny.spec, [tiny_network()], ["x"]), face_detector=finder, stability=False)

    assert (result.outcome, result.stability) == (Outcome.FAKE, None)


def test_a_steady_verdict_stays(face_clip: Path, always_real: Detector, finder: FaceDetector) -> None:
    result = analyze(face_clip, always_real, face_detector=finder, frames=6)

    assert result.outcome is Outcome.REAL
    assert result.stability is not None
    assert result.stability.faces == FACES

"""Results become plain JSON, and what the web imports brings no torch along."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ml.contracts import (
    AnalysisResult,
    Box,
    FaceScore,
    MediaInfo,
    MediaKind,
    Outcome,
    Reason,
    SampledFrame,
    TrackResult,
)


def result() -> AnalysisResult:
    face = FaceScore(3, 0.1234567, Box(1, 2, 30, 40), 0.99, 0.87654321)
    return AnalysisResult(
        outcome=Outcome.FAKE,
        reason=None,
        fake_probability=0.87654321,
        pooled_probability=0.5,
        confidence=87.654321,
        tracks=(TrackResult(0, 0.87654321, (face,), ((0.0, 1.0),), 3),),
        timestamps=((0.0, 1.0),),
        frames=(SampledFrame(3, 0.1234567),),
        real_frames=2,
        fake_frames=4,
        media=MediaInfo(MediaKind.VIDEO, "mp4", "h264", 320, 240, duration=1.5),
        detector="tiny",
        detector_version="1",
        weights_sha256=("ab",),
        seconds=1.0,
        settings={"rule": Reason.NO_FACE, "halves": (0.1, float("nan")), "nested": {"a": (1, 2)}},
    )


def test_a_result_becomes_json_and_back() -> None:
    data = json.loads(json.dumps(result().to_dict(), allow_nan=False))

    assert data["schema"] == 1
    assert (data["outcome"], data["reason"], data["fake_probability"]) == ("FAKE", None, 0.876543)
    assert data["real_to_fake_ratio"] == 0.5
    assert data["timestamps"] == [[0.0, 1.0]]
    assert data["frames"] == [{"index": 3, "time": 0.123457}]
    assert data["tracks"][0]["faces"] == [
        {
            "frame": 3,
            "time": 0.123457,
            "box": [1, 2, 30, 40],
            "detection_probability": 0.99,
            "fake_probability": 0.876543,
        }
    ]
    assert data["media"]["kind"] == "video"
    assert data["settings"] == {"rule": "no_face", "halves": [0.1, None], "nested": {"a": [1, 2]}}
    assert data["weights_sha256"] == ["ab"]


def test_overlap_of_boxes() -> None:
    assert Box(0, 0, 10, 10).iou(Box(0, 0, 10, 10)) == 1
    assert Box(0, 0, 10, 10).iou(Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert Box(0, 0, 10, 10).iou(Box(10, 0, 20, 10)) == 0


@pytest.mark.parametrize(
    "module",
    [
        "ml.contracts",
        "ml.media.probe",
        "ml.media.frames",
        "ml.detectors.spec",
        "ml.detectors.catalog",
        "ml.evidence",
        "ml.detectors.fetch",
    ],
)
def test_what_the_web_imports_brings_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'django' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

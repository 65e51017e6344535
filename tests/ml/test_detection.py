"""MTCNN finds the portrait's face where it is, at every scale, and never raises on odd pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ml.contracts import Box
from ml.faces.detection import FaceDetector, ScaleRule, shrink
from tests.media_factory import FACE_CENTRE, face_frame, portrait, two_faces_frame


def test_finds_the_face_of_the_portrait(finder: FaceDetector) -> None:
    (faces,) = finder.detect([portrait()])

    best = faces[0]
    assert best.probability > 0.99
    assert best.box.x1 < FACE_CENTRE[0] < best.box.x2
    assert best.box.y1 < FACE_CENTRE[1] < best.box.y2
    assert len(best.landmarks) == 5
    left_eye, right_eye, *_ = best.landmarks
    assert left_eye[0] < right_eye[0]


@pytest.mark.parametrize(
    ("size", "zoom"), [((200, 160), 0.7), ((640, 480), 2.0), ((1200, 800), 3.0), ((2000, 1200), 6.0)]
)
def test_boxes_are_in_pixels_of_the_frame_at_every_scale(
    finder: FaceDetector, size: tuple[int, int], zoom: float
) -> None:
    (faces,) = finder.detect([face_frame(0, size, zoom=zoom)])

    box = faces[0].box
    assert box.iou(Box(*_expected(size, zoom))) > 0.5


def _expected(size: tuple[int, int], zoom: float) -> tuple[int, int, int, int]:
    x, y = size[0] / 2, size[1] / 2 + 3
    return int(x - 42 * zoom), int(y - 57 * zoom), int(x + 42 * zoom), int(y + 57 * zoom)


def test_half_size_is_the_parity_rule() -> None:
    detector = FaceDetector(scale_rule=ScaleRule.HALF)

    assert detector.scale_for(1920, 1080) == 0.5
    assert detector.scale_for(200, 100) == 0.5
    assert detector.detect([portrait()])[0][0].probability > 0.99


def test_finds_two_faces_and_handles_frames_without_any(finder: FaceDetector) -> None:
    frame = two_faces_frame(0)

    found = finder.detect([frame, np.zeros_like(frame), frame])

    assert [len([face for face in faces if face.probability > 0.95]) for faces in found] == [2, 0, 2]


@pytest.mark.parametrize("shape", [(1, 1), (9, 9), (10, 10), (12, 400), (400, 12), (21, 21), (30, 3000)])
@pytest.mark.parametrize("value", [0, 255])
def test_odd_pictures_hold_no_face(finder: FaceDetector, shape: tuple[int, int], value: int) -> None:
    assert finder.detect([np.full((*shape, 3), value, dtype=np.uint8)]) == [[]]


def test_nothing_in_nothing_out(finder: FaceDetector) -> None:
    assert finder.detect([]) == []


def test_large_frames_come_in_small_batches(finder: FaceDetector) -> None:
    assert finder.batch_size(320, 240) == 8
    assert 1 <= finder.batch_size(7680, 4320) <= 2
    assert finder.batch_size(100_000, 100_000) == 1


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (32, 40), (640, 1400), (641, 359), (960, 540)])
def test_half_size_is_pillows_to_the_bit(size: tuple[int, int]) -> None:
    width, height = size
    frame = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    half = (width // 2, height // 2)

    assert np.array_equal(shrink(frame, half), np.asarray(Image.fromarray(frame).resize(half)))


def test_frames_searched_side_by_side_hold_what_each_holds_alone(finder: FaceDetector) -> None:
    frames = [face_frame(number, (320, 240), zoom=0.8) for number in range(0, 40, 4)]

    assert finder.detect(frames) == [finder.detect([frame])[0] for frame in frames]

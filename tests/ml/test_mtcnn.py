"""Our MTCNN gives the boxes of facenet-pytorch's, whose networks it uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN

from ml.engines import Engine
from ml.faces.mtcnn import Mtcnn, _cut, _shrink
from tests.media_factory import Frame, face_frame, portrait, two_faces_frame

THRESHOLDS = (0.7, 0.8, 0.8)


@pytest.fixture(scope="module")
def theirs() -> MTCNN:
    return MTCNN(margin=0, thresholds=list(THRESHOLDS), keep_all=True)


@pytest.fixture(scope="module", params=["openvino", "torch"])
def ours(request: pytest.FixtureRequest) -> Mtcnn:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTINEL_ENGINE", request.param)
        detector = Mtcnn(THRESHOLDS)
    assert detector.engine is Engine(request.param)
    return detector


def noise(size: tuple[int, int]) -> Frame:
    return np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


BATCHES: dict[str, list[Frame]] = {
    "one face": [portrait()],
    "three frames": [face_frame(number, (320, 240)) for number in (0, 9, 20)],
    "two faces and none": [two_faces_frame(0), np.zeros_like(two_faces_frame(0)), two_faces_frame(7)],
    "odd sizes": [face_frame(3, (301, 213))],
    "at the edge": [face_frame(0, (240, 200), centre=(0.05, 0.2))],
    "smallest": [face_frame(0, (21, 20), zoom=0.2)],
    "noise": [noise((200, 150)), noise((200, 150))],
}


@pytest.mark.parametrize("name", BATCHES)
def test_boxes_scores_and_landmarks_are_the_same(ours: Mtcnn, theirs: MTCNN, name: str) -> None:
    frames = BATCHES[name]
    try:
        boxes, scores, points = theirs.detect([np.ascontiguousarray(frame) for frame in frames], landmarks=True)
    except RuntimeError:
        # Without any candidate facenet-pytorch raises.
        boxes = scores = points = [None] * len(frames)

    found = ours.detect(np.stack(frames))

    assert len(found) == len(frames)
    for faces, their_boxes, their_scores, their_points in zip(found, boxes, scores, points, strict=True):
        if their_boxes is None:
            assert faces.boxes.shape == (0, 4)
            assert faces.landmarks.shape == (0, 5, 2)
            continue
        order = np.argsort(-their_scores.astype(float), kind="stable")
        assert np.abs(faces.boxes - their_boxes.astype(float)[order]).max() < 0.01
        assert np.abs(faces.probabilities - their_scores.astype(float)[order]).max() < 1e-4
        assert np.abs(faces.landmarks - their_points.astype(float)[order]).max() < 0.01


@pytest.mark.parametrize("size", [(5, 7), (30, 40), (37, 53), (90, 101)])
def test_shrinking_is_the_adaptive_average(size: tuple[int, int]) -> None:
    pictures = np.stack([noise((53, 37)), noise((53, 37))[::-1]])
    planes = torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32))

    shrunk = _shrink(sums(pictures), *size)

    expected = torch.nn.functional.adaptive_avg_pool2d(planes, size).permute(0, 2, 3, 1).numpy()
    assert np.abs(shrunk - expected).max() < 1e-3


def test_windows_are_cut_from_the_sums() -> None:
    pictures = np.stack([noise((53, 37)), noise((53, 37))[::-1]])
    windows = np.array([[0, 0, 53, 37], [10, 5, 20, 36], [52, 36, 53, 37]])
    owner = np.array([0, 1, 1])

    cuts = _cut(sums(pictures), owner, windows, 24)

    for cut, number, (left, top, right, bottom) in zip(cuts, owner, windows, strict=True):
        inside = torch.from_numpy(pictures[number, top:bottom, left:right].transpose(2, 0, 1).astype(np.float32))
        expected = torch.nn.functional.adaptive_avg_pool2d(inside, 24).permute(1, 2, 0).numpy()
        assert np.abs(cut - expected).max() < 1e-3


def sums(pictures: Frame) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    padded = np.pad(pictures.astype(np.int32), ((0, 0), (1, 0), (1, 0), (0, 0)))
    return padded.cumsum(axis=1).cumsum(axis=2).astype(np.int32)

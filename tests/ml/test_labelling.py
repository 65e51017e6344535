"""The labelled picture shows each judged face where it is, and what was found of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from ml import inference
from ml.contracts import Box, Outcome, Reason
from ml.detectors.registry import Detector
from ml.detectors.spec import Thresholds
from ml.evidence import Evidence, Picture, from_jpeg
from ml.faces.detection import FaceDetector
from ml.inference import analyze
from ml.labelling import COLOURS, LABELLED_SIZE, LabelledFace, label_faces
from ml.verdict import Verdict
from tests.media_factory import counter_frame, make_face_image, make_face_video, make_image, portrait, two_faces_frame

PICTURE = np.full((400, 600, 3), 128, dtype=np.uint8)
BOX = Box(200, 150, 300, 280)


def drawn_in(picture: Picture, outcome: Outcome) -> NDArray[np.bool_]:
    """Where (height, width) the pixels have the colour of a verdict."""
    return np.asarray((picture == np.array(ImageColor.getrgb(COLOURS[outcome]))).all(axis=2))


@pytest.mark.parametrize("outcome", [Outcome.FAKE, Outcome.REAL, Outcome.INCONCLUSIVE])
def test_a_box_lies_on_its_face_and_its_text_beside_it(outcome: Outcome) -> None:
    picture = label_faces(PICTURE, [LabelledFace(1, BOX, 0.5, outcome)])
    rows, columns = np.nonzero(drawn_in(picture, outcome)[145:285, 195:305])
    assert (columns.min() + 195, columns.max() + 195) == pytest.approx((BOX.x1, BOX.x2), abs=4)
    assert (rows.min() + 145, rows.max() + 145) == pytest.approx((BOX.y1, BOX.y2), abs=4)
    # The face itself stays free, and something is written outside.
    assert (picture[165:265, 215:285] == 128).all()
    outside = drawn_in(picture, outcome)
    outside[145:285, 195:305] = False
    assert outside.sum() > 100


def test_verdicts_differ_without_colour_too() -> None:
    drawn = {
        outcome: np.asarray(
            Image.fromarray(drawn_in(label_faces(PICTURE, [LabelledFace(1, BOX, 0.5, outcome)]), outcome))
        )
        for outcome in COLOURS
    }
    assert not np.array_equal(drawn[Outcome.FAKE], drawn[Outcome.REAL])
    assert not np.array_equal(drawn[Outcome.REAL], drawn[Outcome.INCONCLUSIVE])
    # Only a fake's line is unbroken.
    line = {outcome: pixels[BOX.y1 : BOX.y1 + 4, BOX.x1 + 4 : BOX.x2 - 4] for outcome, pixels in drawn.items()}
    assert line[Outcome.FAKE].any(axis=0).all()
    assert not line[Outcome.REAL].any(axis=0).all()


@pytest.mark.parametrize("background", [0, 255])
def test_a_rim_parts_line_and_text_from_the_picture(background: int) -> None:
    picture = label_faces(np.full_like(PICTURE, background), [LabelledFace(1, BOX, 0.97, Outcome.FAKE)])
    found = drawn_in(picture, Outcome.FAKE)
    edges = found[1:] & ~found[:-1]
    above = picture[:-1][edges].max(axis=1)
    assert (above < 250).mean() > 0.9


def test_the_score_is_written() -> None:
    low, high = (label_faces(PICTURE, [LabelledFace(1, BOX, score, Outcome.FAKE)]) for score in (0.71, 0.97))
    assert not np.array_equal(low, high)


def test_a_large_photo_is_shrunk_with_its_boxes_and_text_grows_with_the_picture() -> None:
    large = np.full((3000, 6000, 3), 128, dtype=np.uint8)
    picture = label_faces(large, [LabelledFace(1, Box(2000, 1500, 3000, 2800), 0.9, Outcome.FAKE)])
    assert picture.shape == (LABELLED_SIZE // 2, LABELLED_SIZE, 3)
    scale = LABELLED_SIZE / 6000
    found = drawn_in(picture, Outcome.FAKE)
    middle = found[int(2150 * scale)]
    assert np.nonzero(middle)[0].min() == pytest.approx(2000 * scale, abs=20)
    assert (
        found.sum() > 6 * drawn_in(label_faces(PICTURE, [LabelledFace(1, BOX, 0.9, Outcome.FAKE)]), Outcome.FAKE).sum()
    )


def test_faces_at_the_edge_and_close_together_stay_in_the_picture() -> None:
    boxes = [Box(0, 0, 60, 80), Box(65, 0, 125, 80), Box(540, 320, 600, 400), Box(-20, 300, 40, 420), Box(5, 5, 7, 7)]
    faces = [LabelledFace(number, box, 0.9, Outcome.FAKE) for number, box in enumerate(boxes, 1)]
    assert label_faces(PICTURE, faces).shape == PICTURE.shape


def test_without_faces_it_is_the_photo() -> None:
    assert np.array_equal(label_faces(PICTURE, []), PICTURE)
    assert label_faces(np.zeros((1, 1, 3), dtype=np.uint8), []).shape == (1, 1, 3)


def test_a_photo_comes_labelled_and_upright_without_metadata(
    tmp_path: Path, always_fake: Detector, finder: FaceDetector
) -> None:
    lying = np.ascontiguousarray(np.rot90(portrait()))
    evidence = Evidence()
    path = make_image(tmp_path / "lying.jpg", picture=lying, orientation=6, quality=95)
    result = analyze(path, always_fake, face_detector=finder, evidence=evidence)
    assert evidence.labelled is not None
    labelled = from_jpeg(evidence.labelled)
    assert labelled.shape == (result.media.height, result.media.width, 3)
    box = result.tracks[0].faces[0].box
    inside = labelled[box.y1 + 15 : box.y2 - 15, box.x1 + 15 : box.x2 - 15].astype(int)
    same = portrait()[box.y1 + 15 : box.y2 - 15, box.x1 + 15 : box.x2 - 15].astype(int)
    assert np.abs(inside - same).mean() < 6
    assert np.abs(labelled.astype(int) - portrait()).mean() > np.abs(inside - same).mean()
    with Image.open(io.BytesIO(evidence.labelled)) as image:
        assert not image.getexif()
        assert image.format == "JPEG"


def test_a_photo_without_a_face_comes_without_a_box(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    evidence = Evidence()
    picture = counter_frame(5)
    analyze(make_image(tmp_path / "a.png", picture=picture), tiny, face_detector=finder, evidence=evidence)
    assert evidence.labelled is not None
    assert np.abs(from_jpeg(evidence.labelled).astype(int) - picture).mean() < 4


def test_a_video_has_no_labelled_picture(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    evidence = Evidence()
    analyze(make_face_video(tmp_path / "a.mp4", count=2), tiny, face_detector=finder, evidence=evidence)
    assert evidence.labelled is None


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[LabelledFace]:
    """The faces that the pipeline had drawn."""
    faces: list[LabelledFace] = []

    def record(picture: Picture, given: Sequence[LabelledFace], *, scale: float) -> Picture:
        faces.extend(given)
        return label_faces(picture, given, scale=scale)

    monkeypatch.setattr(inference, "label_faces", record)
    return faces


@pytest.fixture
def two_people(tmp_path: Path) -> Path:
    return make_image(tmp_path / "two.png", picture=two_faces_frame(0, (480, 240)))


@pytest.mark.parametrize(
    ("thresholds", "outcome"),
    [
        (Thresholds(0.0, -1.0), Outcome.FAKE),
        (Thresholds(2.0, 1.0), Outcome.REAL),
        (Thresholds(2.0, -1.0), Outcome.INCONCLUSIVE),
    ],
)
def test_a_face_is_called_what_the_verdict_calls_it(
    two_people: Path, drawn: list[LabelledFace], tiny: Detector, thresholds: Thresholds, outcome: Outcome
) -> None:
    detector = Detector(replace(tiny.spec, thresholds=thresholds), tiny.networks, tiny.weights_sha256)
    result = analyze(two_people, detector, evidence=Evidence(), stability=False)
    assert result.outcome is outcome
    assert [face.outcome for face in drawn] == [outcome, outcome]
    assert [face.person for face in drawn] == [1, 2]
    assert [face.fake_probability for face in drawn] == [track.fake_probability for track in result.tracks]


def test_a_verdict_that_was_taken_back_calls_no_face_fake(
    two_people: Path, drawn: list[LabelledFace], always_fake: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_back = Verdict(Outcome.INCONCLUSIVE, Reason.UNSTABLE_COPIES, None)
    monkeypatch.setattr(inference, "weigh_copies", lambda *_: taken_back)
    analyze(two_people, always_fake, evidence=Evidence())
    assert [face.outcome for face in drawn] == [Outcome.INCONCLUSIVE] * 2


def test_nobody_pays_for_a_picture_that_nobody_wants(
    tmp_path: Path, tiny: Detector, finder: FaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(inference, "label_faces", unwanted)
    assert analyze(make_face_image(tmp_path / "a.png"), tiny, face_detector=finder).tracks

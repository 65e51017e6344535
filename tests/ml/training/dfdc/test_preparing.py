from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from ml.contracts import Box
from ml.faces.detection import FaceDetector, ScaleRule
from ml.faces.geometry import crop_face
from ml.media.frames import FrameReader
from ml.training.dfdc.boxes import Every, detect_original_faces, read_boxes
from ml.training.dfdc.crops import extract_crops, read_png
from ml.training.dfdc.diffs import difference, generate_diffs
from ml.training.dfdc.folds import generate_folds
from ml.training.dfdc.landmarks import generate_landmarks, load_landmarks
from ml.training.dfdc.layout import Layout
from ml.training.dfdc.steps import Fate
from tests.dfdc_factory import FAKES, FRAMES, REALS, make_fake, make_real, write_metadata
from tests.media_factory import make_face_video, make_two_faces_video, portrait, truncate

SEEN = [0, 10, 20, 30, 40]


def report(layout: Layout, step: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((layout.reports / f"{step}.json").read_text())
    return content


def reasons(layout: Layout, step: str) -> dict[str, str]:
    return {skip["item"]: skip["reason"] for skip in report(layout, step)["skipped"]}


def small_collection(root: Path, **reals: Path) -> Layout:
    """Real videos only, in part 0."""
    part = root / "dfdc_train_part_0"
    write_metadata(part, {path.name: {"label": "REAL"} for path in reals.values()})
    return Layout(root, root)


def test_boxes_are_those_of_the_strict_detector_at_half_size(made_once: Layout) -> None:
    finder = FaceDetector(scale_rule=ScaleRule.HALF, thresholds=(0.85, 0.95, 0.95))
    path = made_once.data / "dfdc_train_part_3/bbb.mp4"
    boxes = read_boxes(made_once.boxes("bbb"))
    assert sorted(boxes) == SEEN
    for picture in FrameReader(path, set(SEEN)):
        (face,) = finder.detect([picture.pixels])[0]
        stored = boxes[picture.index]
        assert stored is not None
        # Half size, as the reference stores them; doubled and truncated they are the detector's.
        assert Box(*(int(2 * value) for value in stored[0])) == face.box


def test_only_real_videos_get_boxes(made_once: Layout) -> None:
    assert {path.stem for path in (made_once.out / "boxes").iterdir()} == set(REALS) | {"empty"}
    assert read_boxes(made_once.boxes("empty")) == {0: None, 10: None}


def test_the_largest_face_comes_first(tmp_path: Path) -> None:
    part = tmp_path / "dfdc_train_part_0"
    part.mkdir()
    layout = small_collection(tmp_path, two=make_two_faces_video(part / "two.mp4", size=(640, 320), count=1))
    detect_original_faces(layout)
    extract_crops(layout)
    faces = read_boxes(layout.boxes("two"))[0]
    assert faces is not None
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in faces]
    assert len(areas) == 2
    assert areas == sorted(areas, reverse=True)
    assert {path.name for path in layout.crops("two").iterdir()} == {"0_0.png", "0_1.png"}


def test_crops_are_the_padded_boxes_of_the_same_frame(made_once: Layout) -> None:
    for video, original, part in (("ccc", "ccc", 3), ("ccd", "ccc", 3), ("aac", "aaa", 0)):
        boxes = read_boxes(made_once.boxes(original))
        for picture in FrameReader(made_once.data / f"dfdc_train_part_{part}/{video}.mp4", Every(10)):
            found = boxes[picture.index]
            assert found is not None
            expected = crop_face(picture.pixels, Box(*(int(2 * value) for value in found[0])))
            stored = read_png(made_once.crops(video) / f"{picture.index}_0.png")
            np.testing.assert_array_equal(stored[..., ::-1], expected)
        assert len(list(made_once.crops(video).iterdir())) == len(SEEN)


def test_a_crop_has_a_third_of_the_box_on_each_side(tmp_path: Path) -> None:
    # The example of the reference: box (100,80)-(160,160) at half size of a 1080p frame.
    part = tmp_path / "dfdc_train_part_0"
    part.mkdir()
    layout = small_collection(tmp_path, wide=make_face_video(part / "wide.mp4", size=(1920, 1080), count=1))
    layout.boxes("wide").parent.mkdir()
    layout.boxes("wide").write_text('{"0": [[100.0, 80.0, 160.0, 160.0]]}')
    extract_crops(layout)
    assert read_png(layout.crops("wide") / "0_0.png").shape == (266, 200, 3)


def test_landmarks_lie_in_the_crops_of_real_videos(made_once: Layout) -> None:
    assert {path.name for path in (made_once.out / "landmarks").iterdir()} == set(REALS) | {"empty"}
    for video in REALS:
        for frame in SEEN:
            points = load_landmarks(made_once.landmarks(video) / f"{frame}_0.npy")
            assert points is not None
            assert points.dtype == np.int16
            assert points.shape == (5, 2)
            height, width = read_png(made_once.crops(video) / f"{frame}_0.png").shape[:2]
            left_eye, right_eye, nose, left_mouth, right_mouth = points.tolist()
            assert width * 0.2 < left_eye[0] < nose[0] < right_eye[0] < width * 0.8
            assert left_mouth[0] < right_mouth[0]
            assert height * 0.2 < left_eye[1] < nose[1] < left_mouth[1] < height * 0.8


def test_differences_are_bright_where_the_face_was_exchanged(made_once: Layout) -> None:
    assert {path.name for path in (made_once.out / "diffs").iterdir()} == set(FAKES)
    for fake in FAKES:
        for frame in SEEN:
            mask = read_png(made_once.diffs(fake) / f"{frame}_0_diff.png", grey=True)
            height, width = mask.shape
            centre = mask[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5]
            assert centre.mean() > 40
            assert centre.mean() > 2 * mask[: height // 8].mean()


def test_a_difference_is_one_minus_the_similarity() -> None:
    one = portrait()[60:160, 170:270].copy()
    assert difference(one, one).max() == 0
    other = one.copy()
    other[30:60, 30:60] = 255 - other[30:60, 30:60]
    mask = difference(one, other)
    assert mask[:20].max() == 0
    assert mask[40:50, 40:50].mean() > 150
    _, similarity = structural_similarity(one, other, channel_axis=2, full=True)  # type: ignore[no-untyped-call]
    raw = 255 * (1 - similarity)
    # Opposites have a negative similarity; a byte that wrapped round would make them look alike.
    assert raw.max() > 256
    expected = cv2.cvtColor(np.clip(raw, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(mask, expected)


def test_each_report_says_what_was_skipped_and_why(made_once: Layout) -> None:
    useless = {
        "dfdc_train_part_4/gone.mp4": "file_missing",
        "dfdc_train_part_4/odd.mp4": "bad_label",
        "dfdc_train_part_4/orphan.mp4": "original_missing",
    }
    assert reasons(made_once, "detect_original_faces") == {**useless, "cut": "unreadable_media", "empty": "no_face"}
    assert reasons(made_once, "extract_crops") == {**useless, "cut": "no_boxes", "empty": "no_face"}
    assert reasons(made_once, "generate_landmarks") == {**useless, "cut": "no_crops"}
    assert reasons(made_once, "generate_diffs") == useless
    assert reasons(made_once, "generate_folds") == {**useless, "cut": "no_crops", "empty": "no_crops"}


def test_a_second_run_does_nothing_and_leaves_every_byte(made: Layout) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.out.rglob("*.*") if "reports" not in path.parts}
    for step in (detect_original_faces, extract_crops, generate_landmarks, generate_diffs, generate_folds):
        first = report(made, step.__name__)
        second = step(made)
        assert second.counts[Fate.MADE] == 0
        assert second.counts[Fate.ALREADY] == first["counts"]["made"]
        assert second.to_dict()["skipped"] == first["skipped"]
    after = {path: path.stat().st_mtime_ns for path in made.out.rglob("*.*") if "reports" not in path.parts}
    assert after == before


def test_what_is_torn_or_missing_is_made_again(made: Layout) -> None:
    expected = {path: path.read_bytes() for path in made.out.rglob("*.*") if "reports" not in path.parts}
    box, crop = made.boxes("aaa"), made.crops("bbc") / "20_0.png"
    points, mask = made.landmarks("ccc") / "30_0.npy", made.diffs("dde") / "0_0_diff.png"
    for path in (box, crop, points, mask):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    made.folds.unlink()
    steps = (detect_original_faces, extract_crops, generate_landmarks, generate_diffs, generate_folds)
    counts = {step.__name__: step(made).counts[Fate.MADE] for step in steps}
    assert counts == {
        "detect_original_faces": 1,
        "extract_crops": 1,
        "generate_landmarks": 1,
        "generate_diffs": 1,
        "generate_folds": 45,
    }
    assert {path: path.read_bytes() for path in made.out.rglob("*.*") if "reports" not in path.parts} == expected


def test_frames_that_a_fake_lacks_are_named(tmp_path: Path) -> None:
    part = tmp_path / "dfdc_train_part_0"
    write_metadata(part, {"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"}})
    make_real(part / "a.mp4", 0, count=31)
    make_fake(part / "b.mp4", 0, 0, count=15)
    layout = Layout(tmp_path, tmp_path / "out")
    detect_original_faces(layout)
    extract_crops(layout)
    assert reasons(layout, "extract_crops") == {"b/20": "frame_missing", "b/30": "frame_missing"}
    generate_diffs(layout)
    assert {path.name for path in layout.diffs("b").iterdir()} == {"0_0_diff.png", "10_0_diff.png"}


def test_of_a_damaged_clip_the_readable_part_is_used(tmp_path: Path) -> None:
    part = tmp_path / "dfdc_train_part_0"
    part.mkdir()
    whole = make_face_video(tmp_path / "whole.mp4", count=FRAMES, size=(240, 200), faststart=True)
    layout = small_collection(tmp_path, cut=truncate(whole, part / "cut.mp4", 0.7))
    detect_original_faces(layout)
    kept = sorted(read_boxes(layout.boxes("cut")))
    assert kept
    assert kept == SEEN[: len(kept)]
    assert len(kept) < len(SEEN)
    assert reasons(layout, "detect_original_faces") == {"cut": "damaged"}


def test_a_fake_of_another_size_gets_no_difference(made: Layout) -> None:
    path = made.crops("bbc") / "10_0.png"
    cv2.imwrite(str(path), read_png(path)[:-3])
    (made.crops("bbc") / "20_0.png").write_bytes(b"no picture")
    for file in made.diffs("bbc").iterdir():
        file.unlink()
    made.diffs("bbc").rmdir()
    generate_diffs(made)
    found = reasons(made, "generate_diffs")
    assert found["bbc/10_0"] == "sizes_unfit"
    assert found["bbc/20_0"] == "unreadable_crop"
    assert {path.name for path in made.diffs("bbc").iterdir()} == {f"{frame}_0_diff.png" for frame in (0, 30, 40)}


def test_landmarks_of_another_shape_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="float32"):
        load_landmarks(tmp_path / "a.npy")
    assert load_landmarks(tmp_path / "absent.npy") is None

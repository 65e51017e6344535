"""A file goes in, a verdict with its evidence or a reason comes out; never a made-up number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.contracts import AnalysisError, AnalysisResult, ErrorCode, Outcome, Reason, Stage
from ml.detectors.registry import Detector
from ml.evidence import Evidence, from_jpeg
from ml.faces.detection import FaceDetector
from ml.inference import analyze, analyze_image, analyze_video
from ml.media.probe import probe
from tests.media_factory import (
    counter_frame,
    damage,
    face_frame,
    make_face_image,
    make_face_video,
    make_image,
    make_two_faces_video,
    make_video,
    three_faces_frame,
    two_faces_frame,
)
from tests.tiny_detector import tiny_network


@pytest.fixture(scope="module")
def judged(face_clip: Path, tiny: Detector, finder: FaceDetector) -> tuple[AnalysisResult, Evidence, list[Any]]:
    """The face clip judged once, with all that was reported on the way."""
    steps: list[Any] = []
    evidence = Evidence()
    result = analyze(
        face_clip,
        tiny,
        face_detector=finder,
        on_progress=lambda stage, share: steps.append((stage, share)),
        evidence=evidence,
    )
    return result, evidence, steps


def test_one_person_is_one_track(judged: Any) -> None:
    result, _, _ = judged

    assert len(result.tracks) == 1
    assert len(result.frames) == 32
    assert len(result.tracks[0].faces) == 32
    assert result.fake_probability == result.tracks[0].fake_probability
    assert result.pooled_probability == pytest.approx(result.fake_probability)
    assert result.real_frames + result.fake_frames == 32
    assert [face.frame for face in result.tracks[0].faces] == [frame.index for frame in result.frames]


def test_the_result_says_how_it_came_about(judged: Any, tiny: Detector) -> None:
    result, _, _ = judged

    assert (result.detector, result.detector_version) == ("tiny-test", "0.0.1")
    assert result.weights_sha256 == tiny.weights_sha256
    assert result.seconds > 0
    settings = result.settings
    assert (settings["face_scale_rule"], settings["precision"], settings["device"]) == ("width", "float32", "cpu")
    assert settings["thresholds"] == {"fake": 0.6, "real": 0.4, "frame": 0.5}
    assert (settings["frames_sampled"], settings["decoded_frames"], settings["damaged_packets"]) == (32, 40, 0)
    assert settings["versions"]["torch"]
    json.dumps(result.to_dict(), allow_nan=False)


def test_progress_only_rises_and_passes_all_stages(judged: Any) -> None:
    _, _, steps = judged

    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert list(dict.fromkeys(stage for stage, _ in steps)) == list(Stage)


def test_every_face_gets_a_crop_and_every_frame_a_picture(judged: Any) -> None:
    result, evidence, _ = judged

    assert list(evidence.frames) == [frame.index for frame in result.frames]
    assert set(evidence.crops) == {(0, face.frame) for face in result.tracks[0].faces}
    assert from_jpeg(evidence.frames[0]).shape == (200, 240, 3)
    assert max(from_jpeg(next(iter(evidence.crops.values()))).shape) <= 160
    assert evidence.faces[0][0].face == result.tracks[0].faces[0]


def test_sampled_frames_are_small(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    sink = Evidence()
    clip = make_face_video(tmp_path / "a.mp4", size=(960, 540), zoom=2.0, count=4)
    analyze_video(clip, tiny, face_detector=finder, evidence=sink, frames=4, stability=False)
    assert {from_jpeg(jpeg).shape for jpeg in sink.frames.values()} == {(270, 480, 3)}
    assert {from_jpeg(jpeg).shape for jpeg in sink.key_frames.values()} == {(540, 960, 3)}


def test_key_frames_are_the_most_suspicious(judged: Any) -> None:
    result, evidence, _ = judged

    ranked = sorted(result.tracks[0].faces, key=lambda face: -face.fake_probability)
    assert list(evidence.key_frames) == [face.frame for face in ranked[:6]]
    assert list(evidence.heat_maps) == [(0, face.frame) for face in ranked[:6]]
    assert result.tracks[0].best_frame == ranked[0].frame


def test_timestamps_are_where_frames_are_called_fake(judged: Any) -> None:
    result, _, _ = judged

    for face in result.tracks[0].faces:
        inside = any(start <= face.time <= end for start, end in result.timestamps)
        assert inside == (face.fake_probability > 0.5)
    assert all(0 <= start < end <= result.media.duration for start, end in result.timestamps)


def test_judging_again_gives_the_same(judged: Any, face_clip: Path, tiny: Detector) -> None:
    again = analyze_video(face_clip, tiny)

    assert again.fake_probability == pytest.approx(judged[0].fake_probability, abs=1e-5)
    assert [face.box for face in again.tracks[0].faces] == [face.box for face in judged[0].tracks[0].faces]


def test_a_fake_is_called_fake(face_clip: Path, always_fake: Detector, finder: FaceDetector) -> None:
    result = analyze(face_clip, always_fake, face_detector=finder, frames=9)

    assert (result.outcome, result.reason) == (Outcome.FAKE, None)
    assert result.confidence == pytest.approx(100, abs=0.1)
    assert list(result.timestamps) == [pytest.approx((0.0, result.media.duration))]
    assert (result.real_frames, result.fake_frames, result.real_to_fake_ratio) == (0, 9, 0.0)


def test_a_real_one_is_called_real(face_clip: Path, always_real: Detector, finder: FaceDetector) -> None:
    result = analyze(face_clip, always_real, face_detector=finder, frames=9)

    assert (result.outcome, result.reason) == (Outcome.REAL, None)
    assert result.confidence == pytest.approx(100, abs=0.1)
    assert (result.timestamps, result.real_to_fake_ratio) == ((), None)


class OneFakeAmongTwo(Detector):
    """Calls dark faces fake: the right one of the two-faces clip."""

    def score(self, crops: Any, *, photo: bool = False) -> Any:
        return np.array([[0.99 if crop.mean() < 105 else 0.02 for crop in crops]], dtype=np.float32)


def test_the_worst_person_decides(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    clip = make_two_faces_video(tmp_path / "two.mp4", count=32)
    detector = OneFakeAmongTwo(tiny.spec, [tiny_network()], ["x"])

    result = analyze(clip, detector, face_detector=finder, frames=16)

    assert [round(track.fake_probability, 2) for track in result.tracks] == [0.02, 0.99]
    assert result.outcome is Outcome.FAKE
    assert result.fake_probability == pytest.approx(0.99)
    assert result.pooled_probability is not None
    assert 0.4 < result.pooled_probability < 0.6 or result.pooled_probability == pytest.approx(0.99)
    assert result.fake_frames == 16


class SeesBlueFaces(Detector):
    """Finds the face that :func:`three_faces_frame` blends in by its colour: what a trained one finds by its traces."""

    def score(self, crops: Any, *, photo: bool = False) -> Any:
        middles = [
            crop[crop.shape[0] // 3 : -crop.shape[0] // 3, crop.shape[1] // 3 : -crop.shape[1] // 3] for crop in crops
        ]
        bluer = [float(middle[..., 2].mean()) > 0.9 * float(middle[..., 0].mean()) for middle in middles]
        return np.array([[0.95 if blue else 0.03 for blue in bluer]], dtype=np.float32)


def test_one_blended_face_beside_two_real_ones_is_fake_by_its_track(
    tmp_path: Path, tiny: Detector, finder: FaceDetector
) -> None:
    clip = make_video(tmp_path / "three.mp4", count=32, frames=three_faces_frame, options={"crf": "12"})

    result = analyze(clip, SeesBlueFaces(tiny.spec, [tiny_network()], ["x"]), face_detector=finder)

    assert [round(track.fake_probability, 2) for track in result.tracks] == [0.03, 0.95, 0.03]
    assert result.outcome is Outcome.FAKE
    assert result.fake_frames == len(result.tracks[1].faces)
    # Seen nearly all the time, or the test would be one of how faces are followed.
    assert min(len(track.faces) for track in result.tracks) >= 30
    # All faces in one average, as the reference has it, would have called the clip real.
    assert result.pooled_probability is not None
    assert result.pooled_probability < tiny.spec.thresholds.real
    votes = [track.voting for track in result.tracks if track.voting]
    assert [vote.branches for vote in votes] == [("clearly_real",), ("confident_fakes",), ("clearly_real",)]
    assert [vote.confident for vote in votes] == [0, result.fake_frames, 0]
    assert [vote.clearly_real for vote in votes] == [len(result.tracks[0].faces), 0, len(result.tracks[2].faces)]
    assert result.pooled_voting is not None
    assert (result.pooled_voting.branches, result.pooled_voting.confident) == (("all",), result.fake_frames)


def test_parity_pools_everyone(tmp_path: Path, tiny: Detector) -> None:
    clip = make_two_faces_video(tmp_path / "two.mp4", count=8)
    detector = OneFakeAmongTwo(tiny.spec, [tiny_network()], ["x"])

    result = analyze(clip, detector, parity=True)

    assert len(result.tracks) == 1
    assert len(result.tracks[0].faces) == 16
    assert result.fake_probability == result.pooled_probability == pytest.approx(0.505, abs=0.01)
    assert (result.settings["face_scale_rule"], result.settings["verdict_from"]) == ("half", "pooled")


def test_an_ensemble_is_averaged(face_clip: Path, tiny: Detector, finder: FaceDetector) -> None:
    both = Detector(tiny.spec, [tiny_network(bias=20.0), tiny_network(bias=-20.0)], ["x", "y"])

    result = analyze(face_clip, both, face_detector=finder, frames=4)

    assert result.fake_probability == pytest.approx(0.5, abs=0.01)
    assert (result.outcome, result.reason, result.confidence) == (Outcome.INCONCLUSIVE, Reason.WEAK_EVIDENCE, None)


class Flickering(Detector):
    """Sure of the opposite from one face to the next."""

    judged = 0

    def score(self, crops: Any, *, photo: bool = False) -> Any:
        places = range(self.judged, self.judged + len(crops))
        self.judged += len(crops)
        return np.array([[0.99 if place % 2 else 0.01 for place in places]], dtype=np.float32)


def test_flickering_scores_are_unstable(face_clip: Path, tiny: Detector, finder: FaceDetector) -> None:
    result = analyze(face_clip, Flickering(tiny.spec, [tiny_network()], ["x"]), face_detector=finder)

    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, Reason.UNSTABLE_EVIDENCE)


def assert_not_assessable(result: AnalysisResult, reason: Reason) -> None:
    assert (result.outcome, result.reason) == (Outcome.NOT_ASSESSABLE, reason)
    assert (result.fake_probability, result.pooled_probability, result.confidence) == (None, None, None)
    assert (result.tracks, result.timestamps, result.real_frames, result.fake_frames) == ((), (), 0, 0)
    assert result.frames
    json.dumps(result.to_dict(), allow_nan=False)


def test_nobody_in_the_picture_is_no_face(drawn_clip: Path, always_fake: Detector, finder: FaceDetector) -> None:
    evidence = Evidence()

    result = analyze(drawn_clip, always_fake, face_detector=finder, frames=8, evidence=evidence)

    assert_not_assessable(result, Reason.NO_FACE)
    assert len(evidence.frames) == 8
    assert (evidence.crops, evidence.key_frames, evidence.heat_maps) == ({}, {}, {})


def test_a_small_face_is_too_small(tmp_path: Path, always_fake: Detector, finder: FaceDetector) -> None:
    clip = make_face_video(tmp_path / "far.mp4", count=12, size=(260, 200), zoom=0.24)

    assert_not_assessable(analyze(clip, always_fake, face_detector=finder), Reason.FACES_TOO_SMALL)


def test_a_face_that_passes_by_is_no_face(tmp_path: Path, always_fake: Detector, finder: FaceDetector) -> None:
    empty = np.full((200, 240, 3), 90, dtype=np.uint8)
    clip = make_video(
        tmp_path / "passing.mp4",
        count=32,
        frames=lambda number: face_frame(number, (240, 200), zoom=0.8) if number < 2 else empty,
    )

    result = analyze(clip, always_fake, face_detector=finder)

    assert_not_assessable(result, Reason.NO_FACE)
    assert result.settings["frames_with_fleeting_faces"] == 2


@pytest.mark.parametrize("count", [1, 2, 4])
def test_very_short_clips_are_judged(tmp_path: Path, always_fake: Detector, finder: FaceDetector, count: int) -> None:
    clip = make_face_video(tmp_path / "short.mp4", count=count, zoom=0.8, size=(240, 200))

    result = analyze(clip, always_fake, face_detector=finder)

    assert result.outcome is Outcome.FAKE
    assert len(result.tracks[0].faces) == count


def test_one_frame_without_a_face_is_no_face(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    assert_not_assessable(
        analyze(make_video(tmp_path / "one.mp4", count=1), tiny, face_detector=finder), Reason.NO_FACE
    )


def test_a_clip_of_which_little_decodes_has_too_few_frames(
    face_clip: Path, always_fake: Detector, finder: FaceDetector
) -> None:
    claims_more = replace(probe(face_clip), frame_count=400)

    result = analyze_video(face_clip, always_fake, info=claims_more, face_detector=finder, frames=6)

    assert_not_assessable(result, Reason.TOO_FEW_FRAMES)


def test_damage_in_the_middle_is_survived_and_recorded(
    tmp_path: Path, always_fake: Detector, finder: FaceDetector
) -> None:
    clip = make_face_video(tmp_path / "whole.mp4", count=80, zoom=0.8, size=(240, 200), options={"g": "8"})

    result = analyze(damage(clip, tmp_path / "damaged.mp4"), always_fake, face_detector=finder, frames=12)

    assert result.outcome is Outcome.FAKE
    assert result.settings["damaged_packets"] > 0 or result.settings["decoded_frames"] < 80


def test_a_turned_clip_is_judged_upright(tmp_path: Path, always_fake: Detector, finder: FaceDetector) -> None:
    clip = make_video(
        tmp_path / "turned.mp4",
        count=4,
        rotation=90,
        frames=lambda number: np.ascontiguousarray(np.rot90(face_frame(number, (240, 200), zoom=0.8))),
    )

    result = analyze(clip, always_fake, face_detector=finder)

    assert (result.media.width, result.media.height, result.media.rotation) == (240, 200, 90)
    box = result.tracks[0].faces[0].box
    assert box.x1 < 120 < box.x2
    assert box.y1 < 103 < box.y2


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.heic"])
def test_photos_are_judged(tmp_path: Path, always_fake: Detector, finder: FaceDetector, name: str) -> None:
    evidence = Evidence()

    result = analyze(make_face_image(tmp_path / name), always_fake, face_detector=finder, evidence=evidence, frames=5)

    assert (result.outcome, result.media.codec) == (Outcome.FAKE, name[2:].replace("jpg", "jpeg"))
    assert (len(result.tracks), result.timestamps, result.frames[0].index) == (1, (), 0)
    assert (len(evidence.frames), len(evidence.key_frames), len(evidence.heat_maps)) == (1, 1, 1)


def test_each_face_of_a_photo_is_a_person(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    photo = make_image(tmp_path / "two.png", picture=two_faces_frame(0))
    detector = OneFakeAmongTwo(tiny.spec, [tiny_network()], ["x"])

    result = analyze_image(photo, detector, face_detector=finder)

    assert [round(track.fake_probability, 2) for track in result.tracks] == [0.02, 0.99]
    assert result.outcome is Outcome.FAKE


def test_a_photo_without_a_face_is_not_assessable(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    photo = make_image(tmp_path / "a.png", picture=counter_frame(3))

    assert_not_assessable(analyze(photo, tiny, face_detector=finder), Reason.NO_FACE)


def test_the_wrong_kind_of_file_is_an_error(tmp_path: Path, drawn_clip: Path, tiny: Detector) -> None:
    with pytest.raises(AnalysisError) as caught:
        analyze_image(drawn_clip, tiny)
    assert caught.value.code is ErrorCode.UNSUPPORTED_TYPE

    with pytest.raises(AnalysisError) as caught:
        analyze_video(make_image(tmp_path / "a.png"), tiny)
    assert caught.value.code is ErrorCode.NO_VIDEO_STREAM


def test_the_callback_can_stop_the_analysis(face_clip: Path, tiny: Detector, finder: FaceDetector) -> None:
    def stop(stage: Stage, share: float) -> None:
        if stage is Stage.JUDGING:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze(face_clip, tiny, face_detector=finder, frames=4, on_progress=stop)


def test_more_frames_can_be_asked_for(face_clip: Path, tiny: Detector, finder: FaceDetector) -> None:
    assert len(analyze_video(face_clip, tiny, face_detector=finder, frames=40).frames) == 40

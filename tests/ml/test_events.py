"""A live view hears of each frame, face and person as soon as it is known."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ml.contracts import AnalysisResult, Outcome
from ml.detectors.registry import Detector
from ml.events import Concluded, Event, FaceScored, FrameSearched, MediaRead, PersonFound
from ml.evidence import from_jpeg
from ml.faces.detection import FaceDetector
from ml.inference import analyze
from tests.media_factory import make_face_image, make_face_video


@pytest.fixture(scope="module")
def told(face_clip: Path, tiny: Detector, finder: FaceDetector) -> tuple[AnalysisResult, list[Event]]:
    events: list[Event] = []
    return analyze(face_clip, tiny, face_detector=finder, on_event=events.append), events


def test_events_come_in_order(told: tuple[AnalysisResult, list[Event]]) -> None:
    _, events = told

    kinds = [type(event) for event in events]
    assert (kinds[0], kinds[-2], kinds[-1]) == (MediaRead, PersonFound, Concluded)
    assert kinds.count(FrameSearched) == kinds.count(FaceScored) == 32
    assert kinds[1] is FrameSearched
    # Judging goes on beside the search: no face is told before its frame, and the first before the last frame.
    searched = [event.frame.index for event in events if isinstance(event, FrameSearched)]
    for place, event in enumerate(events):
        if isinstance(event, FaceScored):
            assert event.face.frame in searched[: kinds[:place].count(FrameSearched)]
    assert kinds.index(FaceScored) < len(kinds) - 1 - kinds[::-1].index(FrameSearched)
    assert FrameSearched in kinds[kinds.index(FaceScored) :]


def test_events_tell_what_the_result_says(told: tuple[AnalysisResult, list[Event]]) -> None:
    result, events = told

    frames = [event.frame for event in events if isinstance(event, FrameSearched)]
    scored = [event.face for event in events if isinstance(event, FaceScored)]
    (person,) = [event.track for event in events if isinstance(event, PersonFound)]
    assert tuple(frames) == result.frames
    assert tuple(scored) == result.tracks[0].faces
    assert person == result.tracks[0]
    assert events[-1] == Concluded(result)
    assert events[0] == MediaRead(result.media, 32)


def test_frames_come_with_a_picture_and_their_boxes(told: tuple[AnalysisResult, list[Event]]) -> None:
    result, events = told

    for event, face in zip(
        (event for event in events if isinstance(event, FrameSearched)), result.tracks[0].faces, strict=True
    ):
        assert from_jpeg(event.jpeg).shape == (200, 240, 3)
        assert face.box in {found.box for found in event.faces}


def test_a_photo_has_events_too(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    events: list[Event] = []

    analyze(make_face_image(tmp_path / "a.jpg"), tiny, face_detector=finder, on_event=events.append)

    kinds = [type(event) for event in events]
    assert kinds == [MediaRead, FrameSearched, FaceScored, PersonFound, Concluded]


def test_nobody_found_is_told(drawn_clip: Path, tiny: Detector, finder: FaceDetector) -> None:
    events: list[Event] = []

    analyze(drawn_clip, tiny, face_detector=finder, on_event=events.append, frames=4)

    last = events[-1]
    assert isinstance(last, Concluded)
    assert last.result.outcome is Outcome.NOT_ASSESSABLE
    assert not [event for event in events if isinstance(event, FaceScored)]


def test_a_listener_can_stop_the_analysis(face_clip: Path, tiny: Detector, finder: FaceDetector) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, FaceScored):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        analyze(face_clip, tiny, face_detector=finder, on_event=stop)


def test_the_first_face_comes_long_before_the_last(tmp_path: Path, tiny: Detector, finder: FaceDetector) -> None:
    clip = make_face_video(tmp_path / "a.mp4", count=200, size=(1280, 720), zoom=2.0, options={"preset": "ultrafast"})
    times: dict[type, float] = {}
    started = time.perf_counter()

    def note(event: Event) -> None:
        times.setdefault(type(event), time.perf_counter())

    analyze(clip, tiny, face_detector=finder, on_event=note)

    whole = times[Concluded] - started
    assert times[FrameSearched] - started < whole / 4
    assert times[FaceScored] - started < whole / 4

"""What a worker tells while it works, how it is kept, and how it goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from accounts.errors import Code
from accounts.models import User
from media_analysis import evidence, housekeeping, live, services, tasks
from media_analysis.models import Analysis, LiveEvent
from ml.contracts import Box, FaceDetection, FaceScore, SampledFrame
from ml.events import FaceScored, FrameSearched
from tests.media_analysis.factories import a_result, make_analysis
from tests.media_factory import make_face_video

pytestmark = pytest.mark.django_db(transaction=True)

THRESHOLDS = live.ThresholdsPayload(fake=0.6, real=0.4, frame=0.5)
BOX = Box(10, 20, 30, 40)


def claim(owner: User) -> Analysis:
    analysis = services.claim_analysis(make_analysis(owner).pk)
    assert analysis is not None
    return analysis


def frame(index: int) -> FrameSearched:
    return FrameSearched(SampledFrame(index, index / 10), (FaceDetection(BOX, 0.99),), b"\xff\xd8 jpeg")


def score(index: int) -> FaceScored:
    return FaceScored(FaceScore(index, index / 10, BOX, 0.99, 0.25))


def previews(analysis: Analysis) -> list[str]:
    folder = Path(default_storage.path(f"analyses/{analysis.public_id}"))
    return sorted(path.name for path in folder.rglob("preview-*.jpg"))


def events(analysis: Analysis) -> list[LiveEvent]:
    return list(LiveEvent.objects.filter(analysis=analysis).order_by("number"))


def test_an_examination_tells_everything_in_order_and_agrees_with_its_result(
    detector: Path, as_owner: Client, owner: User, tmp_path: Path
) -> None:
    with make_face_video(tmp_path / "face.mp4", seconds=2).open("rb") as file:
        assert as_owner.post("/api/v1/analyses/", {"file": file}).status_code == 201
    analysis = Analysis.objects.get()
    tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    told = events(analysis)
    assert [event.number for event in told] == list(range(len(told)))
    assert told[0].kind == "media"
    assert told[-1].kind == "concluded"
    frames = [event.payload for event in told if event.kind == "frame"]
    assert [each["frame"] for each in frames] == [each["index"] for each in (analysis.result or {})["frames"]]
    [person] = [event.payload for event in told if event.kind == "person"]
    of_result = {
        (face["frame"], *face["box"]): face["fake_probability"] for track in analysis.tracks for face in track["faces"]
    }
    assert {(face["frame"], *face["box"]): face["fake_probability"] for face in person["faces"]} == of_result
    scored = [event.payload for event in told if event.kind == "face"]
    told_before = {(face["frame"], *face["box"]): face["fake_probability"] for face in scored}
    assert of_result.items() <= told_before.items()
    kept = {f"preview-{each['frame']}.jpg" for each in frames if each["picture"]}
    assert kept
    assert set(previews(analysis)) == kept


def test_a_slow_storage_costs_pictures_but_no_score_and_no_time(owner: User) -> None:
    analysis = claim(owner)
    real = evidence.store_preview

    def slowly(*arguments: Any) -> None:
        time.sleep(0.3)
        real(*arguments)

    with (
        patch("media_analysis.evidence.store_preview", side_effect=slowly),
        live.LiveStream(analysis, THRESHOLDS) as tell,
    ):
        started = time.monotonic()
        for index in range(100):
            tell(frame(index))
            tell(score(index))
        assert time.monotonic() - started < 0.2
    told = events(analysis)
    assert [event.number for event in told] == list(range(200))
    assert [event.payload["frame"] for event in told if event.kind == "face"] == list(range(100))
    with_picture = [event.payload["frame"] for event in told if event.kind == "frame" and event.payload["picture"]]
    assert 0 < len(with_picture) < 20
    # Among those that had to wait, the newest were kept.
    assert max(with_picture) > 80


def test_a_database_that_fails_for_a_moment_loses_nothing(owner: User) -> None:
    analysis = claim(owner)
    real = LiveEvent.objects.bulk_create
    calls: list[int] = []

    def fail_at_first(rows: list[LiveEvent]) -> Any:
        calls.append(len(rows))
        if len(calls) == 1:
            real(rows[:1])
            raise OperationalError("database is locked")
        return real(rows)

    failing = patch.object(LiveEvent.objects, "bulk_create", side_effect=fail_at_first)
    with failing, live.LiveStream(analysis, THRESHOLDS) as tell:
        for index in range(5):
            tell(score(index))
    assert len(calls) >= 2
    assert [event.number for event in events(analysis)] == list(range(5))


def test_a_database_that_stays_away_does_not_hold_up_the_end(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.3)
    analysis = claim(owner)
    with patch.object(LiveEvent.objects, "bulk_create", side_effect=OperationalError("gone")):
        started = time.monotonic()
        with live.LiveStream(analysis, THRESHOLDS) as tell:
            tell(score(0))
        assert time.monotonic() - started < 1.5
        wait_for_thread_to_end()


def wait_for_thread_to_end() -> None:
    for thread in threading.enumerate():
        if thread.name == "live":
            thread.join(5)
            assert not thread.is_alive()


def test_a_new_try_takes_the_old_ones_stream_away(owner: User) -> None:
    first = claim(owner)
    with live.LiveStream(first, THRESHOLDS) as tell:
        tell(frame(1))
    services.release_analysis(first, Code.INTERNAL_ERROR)
    second = services.claim_analysis(first.pk)
    assert second is not None
    with live.LiveStream(second, THRESHOLDS) as tell:
        tell(frame(2))
    assert [(event.stream, event.number) for event in events(second)] == [(second.claim_token, 0)]
    assert previews(second) == ["preview-2.jpg"]


def test_deleting_the_file_takes_events_and_frames_along(owner: User) -> None:
    analysis = claim(owner)
    with live.LiveStream(analysis, THRESHOLDS) as tell:
        tell(frame(1))
        wait_for(lambda: bool(events(analysis)))
        services.delete_media(analysis.media)
        tell(frame(2))
    # As run_analysis does once it notices.
    evidence.discard_try(analysis)
    assert not LiveEvent.objects.exists()
    assert previews(analysis) == []


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_some_time_after_the_end_events_and_frames_go_and_the_evidence_stays(owner: User) -> None:
    analysis = claim(owner)
    with live.LiveStream(analysis, THRESHOLDS) as tell:
        tell(frame(1))
    services.finish_analysis(analysis, a_result(), {"frame-9.jpg": b"frame"})
    assert live.discard_finished() == 0
    assert previews(analysis) == ["preview-1.jpg"]
    before = timezone.now() - timedelta(seconds=settings.SENTINEL_LIVE_KEEP_SECONDS + 1)
    Analysis.objects.update(finished_at=before)
    assert live.discard_finished() == 1
    assert not LiveEvent.objects.exists()
    assert previews(analysis) == []
    analysis.refresh_from_db()
    assert all(default_storage.exists(name) for name in analysis.evidence)
    assert live.discard_finished() == 0


def test_a_sampled_frame_is_its_owners_alone(owner: User, as_owner: Client, as_stranger: Client) -> None:
    analysis = claim(owner)
    with live.LiveStream(analysis, THRESHOLDS) as tell:
        tell(frame(1))
    url = f"/analyses/{analysis.public_id}/live/{analysis.claim_token}/1.jpg"
    answer = as_owner.get(url)
    assert (answer.status_code, answer["Content-Type"], answer.content) == (200, "image/jpeg", b"\xff\xd8 jpeg")
    assert answer["Cache-Control"] == "private, no-store"
    assert as_owner.get(url.replace("1.jpg", "2.jpg")).status_code == 404
    assert as_stranger.get(url).status_code == 404
    assert Client().get(url).status_code == 302


def test_what_a_killed_worker_left_of_a_deleted_analysis_is_swept_away(owner: User) -> None:
    analysis, gone = claim(owner), claim(owner)
    for each in (analysis, gone):
        evidence.store_preview(each, 1, b"\xff\xd8 jpeg")
    Analysis.objects.filter(pk=gone.pk).delete()
    assert housekeeping.sweep_abandoned_files() == 1
    assert (previews(analysis), previews(gone)) == (["preview-1.jpg"], [])

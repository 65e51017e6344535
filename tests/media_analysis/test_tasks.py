"""The job, run in the test's own process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.utils.module_loading import import_string

from accounts import limits
from accounts.models import User
from media_analysis import tasks
from media_analysis.management.commands import run_worker
from media_analysis.models import Analysis
from ml import inference
from ml.detectors.registry import Detector
from ml.faces.detection import FaceDetector
from tests.media_analysis.test_commands import classify
from tests.media_analysis.test_submit import upload
from tests.media_factory import make_face_video, make_video

pytestmark = pytest.mark.django_db(transaction=True)


def examine(client: Client, path: Path) -> Analysis:
    assert upload(client, path).status_code == 201
    analysis = Analysis.objects.latest("id")
    tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    return analysis


def test_a_clip_ends_with_a_verdict_and_its_evidence(detector: Path, as_owner: Client, tmp_path: Path) -> None:
    analysis = examine(as_owner, make_face_video(tmp_path / "face.mp4", seconds=2))
    assert analysis.status == Analysis.Status.DONE
    assert analysis.outcome in {"FAKE", "REAL", "INCONCLUSIVE"}
    assert len(analysis.tracks) == 1
    assert len(analysis.tracks[0]["faces"]) == 32
    kinds = {name.rpartition("/")[2].split("-")[0] for name in analysis.evidence}
    assert kinds == {"crop", "frame", "heat", "sample"}
    assert analysis.result is not None
    assert [f"sample-{frame['index']}.jpg" for frame in analysis.result["frames"]] == [
        name for stored in analysis.evidence if (name := stored.rpartition("/")[2]).startswith("sample")
    ]
    assert all(default_storage.open(name).read(2) == b"\xff\xd8" for name in analysis.evidence)
    assert len(analysis.weights_sha256[0]) == 64


def test_the_website_and_the_command_line_say_the_same(detector: Path, as_owner: Client, tmp_path: Path) -> None:
    path = make_face_video(tmp_path / "face.mp4", seconds=1)
    analysis = examine(as_owner, path)
    [printed] = json.loads(classify("--json", str(path))[0])
    assert analysis.result is not None
    for key in ("outcome", "fake_probability", "pooled_probability", "tracks", "timestamps", "weights_sha256"):
        assert printed[key] == analysis.result[key], key


def test_nobody_in_the_picture_is_an_outcome_not_a_failure_and_no_score(
    detector: Path,
    as_owner: Client,
    clip: Path,
) -> None:
    analysis = examine(as_owner, clip)
    assert (analysis.status, analysis.outcome, analysis.reason) == ("done", "NOT_ASSESSABLE", "no_face")
    assert analysis.fake_probability is None
    assert analysis.confidence is None


def test_a_video_of_one_frame_is_no_error(detector: Path, as_owner: Client, tmp_path: Path) -> None:
    analysis = examine(as_owner, make_video(tmp_path / "one.mp4", count=1))
    assert analysis.status == Analysis.Status.DONE


def test_a_job_delivered_twice_is_done_once(detector: Path, as_owner: Client, clip: Path) -> None:
    analysis = examine(as_owner, clip)
    tasks.run_analysis(analysis.pk)
    finished = analysis.finished_at
    analysis.refresh_from_db()
    assert (analysis.finished_at, analysis.attempts) == (finished, 1)


def test_missing_weights_fail_with_a_reason_and_cost_nothing(
    detector: Path,
    as_owner: Client,
    owner: User,
    clip: Path,
) -> None:
    (detector / "model.safetensors").unlink()
    analysis = examine(as_owner, clip)
    assert (analysis.status, analysis.error_code) == ("failed", "model_unavailable")
    assert analysis.fake_probability is None
    assert limits.remaining(owner) == 10


def test_weights_that_were_changed_are_not_used(detector: Path, as_owner: Client, clip: Path) -> None:
    weights = detector / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\0")
    assert examine(as_owner, clip).error_code == "model_unavailable"


def test_a_bug_is_tried_again_and_then_told_without_its_message(
    detector: Path,
    as_owner: Client,
    owner: User,
    clip: Path,
) -> None:
    with patch("media_analysis.tasks.analyze", side_effect=RuntimeError("a secret path")) as broken:
        analysis = examine(as_owner, clip)
        assert analysis.status == Analysis.Status.QUEUED
        for _ in range(2):
            tasks.run_analysis(analysis.pk)
    analysis.refresh_from_db()
    assert broken.call_count == 3
    assert (analysis.status, analysis.error_code) == ("failed", "internal_error")
    page = as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()
    assert "a secret path" not in page
    assert limits.remaining(owner) == 10


def test_deleting_in_the_middle_stops_the_job(detector: Path, as_owner: Client, tmp_path: Path) -> None:
    upload(as_owner, make_face_video(tmp_path / "face.mp4", seconds=1))
    analysis = Analysis.objects.get()
    real = inference.analyze

    def delete_then_go_on(*arguments: Any, **options: Any) -> Any:
        as_owner.delete(f"/api/v1/analyses/{analysis.public_id}/")
        return real(*arguments, **options)

    with patch("media_analysis.tasks.analyze", side_effect=delete_then_go_on):
        tasks.run_analysis(analysis.pk)
    assert not Analysis.objects.exists()
    assert not [path for path in Path(default_storage.path("")).rglob("*") if path.is_file()]


def test_a_worker_has_everything_loaded_and_used_once_before_its_first_file(detector: Path) -> None:
    assert import_string(run_worker.WARM_UP) is tasks.warm_up
    tasks.chosen_detector.cache_clear()
    tasks.face_detector.cache_clear()
    with (
        patch.object(Detector, "score", autospec=True, side_effect=Detector.score) as score,
        patch.object(FaceDetector, "detect", autospec=True, side_effect=FaceDetector.detect) as detect,
    ):
        run_worker.warm_up(sender="django_q", proc_name="Process-1")
    assert (score.call_count, detect.call_count) == (1, 1)
    assert score.call_args.args[0] is tasks.chosen_detector()
    assert detect.call_args.args[0] is tasks.face_detector()


def test_a_detector_that_cannot_be_loaded_is_told_by_the_first_file_not_by_the_start(
    detector: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SENTINEL_DETECTOR = "nothing"
    tasks.chosen_detector.cache_clear()
    tasks.warm_up()
    assert "could not be warmed up" in caplog.text

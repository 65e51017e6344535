"""An analysis's way from waiting to done or failed: each step taken by one, and by one only."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from accounts import clock, limits
from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import evidence, health, housekeeping, resumable, services
from media_analysis.management.commands import run_worker
from media_analysis.models import Analysis, DeletionReceipt, Media, WorkerState
from media_analysis.progress import AnalysisTaken, ProgressReporter
from media_analysis.storage import media_storage
from tests.media_analysis.factories import a_result, make_analysis, make_done, make_media

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = timedelta(hours=2)


def claim(analysis: Analysis) -> Analysis:
    claimed = services.claim_analysis(analysis.pk)
    assert claimed is not None
    return claimed


class Stopwatch:
    """Time as this process measures it, by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    watch = Stopwatch()
    monkeypatch.setattr(clock, "stopwatch", watch)
    monkeypatch.setattr(services, "_heartbeats", clock.StandstillWatch[tuple[int, str]]())
    return watch


def wait_in_vain(stopwatch: Stopwatch, seconds: float = 30) -> int:
    """Housekeeping looks now, and again after so many seconds without a heartbeat; how many it rescued."""
    services.requeue_stalled()
    stopwatch.seconds += seconds
    return services.requeue_stalled()


def files_below(folder: str) -> list[Path]:
    return [path for path in Path(default_storage.path(folder)).rglob("*") if path.is_file()]


def test_a_waiting_analysis_is_claimed_once(owner: User) -> None:
    analysis = make_analysis(owner)
    claimed = claim(analysis)
    assert (claimed.status, claimed.attempts) == (Analysis.Status.RUNNING, 1)
    assert claimed.heartbeat_at is not None
    assert services.claim_analysis(analysis.pk) is None


def test_an_analysis_that_is_gone_cannot_be_claimed(owner: User) -> None:
    analysis = make_analysis(owner)
    gone = analysis.pk
    analysis.delete()
    assert services.claim_analysis(gone) is None


def test_finishing_writes_everything_at_once(owner: User) -> None:
    claimed = claim(make_analysis(owner))
    assert services.finish_analysis(claimed, a_result(), {"crop-0-9.jpg": b"jpeg", "frame-9.jpg": b"jpeg"})
    done = Analysis.objects.get()
    assert (done.status, done.outcome, done.fake_probability, done.progress) == ("done", "FAKE", 0.91, 100)
    assert done.finished_at is not None
    assert done.real_to_fake_ratio == 0.0
    assert [name.rpartition("/")[2] for name in done.evidence] == ["crop-0-9.jpg", "frame-9.jpg"]
    assert all(default_storage.exists(name) for name in done.evidence)


def test_a_try_that_lost_its_claim_changes_nothing_and_leaves_no_pictures(owner: User, stopwatch: Stopwatch) -> None:
    analysis = make_analysis(owner)
    late = claim(analysis)
    wait_in_vain(stopwatch)
    current = claim(analysis)
    assert not services.finish_analysis(late, a_result(outcome="REAL"), {"frame-9.jpg": b"late"})
    assert not services.fail_analysis(late, Code.UNREADABLE_MEDIA)
    assert services.finish_analysis(current, a_result(), {"frame-9.jpg": b"current"})
    done = Analysis.objects.get()
    assert done.outcome == "FAKE"
    assert [path.read_bytes() for path in files_below(f"analyses/{done.public_id}")] == [b"current"]


def test_a_result_with_an_unknown_picture_name_is_a_bug_not_a_file(owner: User) -> None:
    with pytest.raises(ValueError, match=r"\.\./x"):
        services.finish_analysis(claim(make_analysis(owner)), a_result(), {"../x": b""})


def test_a_lost_worker_costs_a_try_and_the_third_is_the_last(owner: User, stopwatch: Stopwatch) -> None:
    analysis = make_analysis(owner)
    for attempt in (1, 2):
        assert claim(analysis).attempts == attempt
        assert wait_in_vain(stopwatch) == 1
        analysis.refresh_from_db()
        assert analysis.status == Analysis.Status.QUEUED
    claim(analysis)
    wait_in_vain(stopwatch)
    analysis.refresh_from_db()
    assert (analysis.status, analysis.error_code) == (Analysis.Status.FAILED, Code.INTERNAL_ERROR)
    assert limits.remaining(owner) == 10


def test_a_worker_with_a_heartbeat_keeps_its_analysis(owner: User, stopwatch: Stopwatch) -> None:
    claimed = claim(make_analysis(owner))
    for _ in range(10):
        assert wait_in_vain(stopwatch, 5) == 0
        ProgressReporter(claimed)._write()
    assert services.finish_analysis(claimed, a_result(), {})


@pytest.mark.parametrize("wrong", [timedelta(minutes=-5), timedelta(minutes=5), timedelta(days=-3650)])
def test_a_clock_that_is_wrong_neither_takes_an_analysis_away_nor_keeps_a_dead_one(
    owner: User, stopwatch: Stopwatch, wrong: timedelta
) -> None:
    analysis = make_analysis(owner)
    claimed = claim(analysis)
    for beat in range(10):
        # The worker's clock, or the database's, says something else than ours.
        said = timezone.now() + wrong + timedelta(seconds=5 * beat)
        Analysis.objects.filter(pk=analysis.pk).update(heartbeat_at=said)
        assert wait_in_vain(stopwatch, 5) == 0
    # It jumps while the worker is at it.
    Analysis.objects.filter(pk=analysis.pk).update(heartbeat_at=timezone.now() - wrong)
    assert wait_in_vain(stopwatch, 29) == 0
    analysis.refresh_from_db()
    assert analysis.claim_token == claimed.claim_token
    # Now it is dead: as soon as it has said nothing for long enough, it is known, whatever was said last.
    assert wait_in_vain(stopwatch, 1) == 1


def test_whoever_just_began_to_look_takes_nothing_away(owner: User, stopwatch: Stopwatch) -> None:
    claim(make_analysis(owner))
    Analysis.objects.update(heartbeat_at=timezone.now() - LONG_AGO)
    assert wait_in_vain(stopwatch, 29) == 0


def test_what_a_worker_has_to_give_back_waits_at_once_and_has_not_been_tried(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = health.WorkerBeat()
    monkeypatch.setattr(health.WorkerBeat, "current", beat)
    ours = claim(make_analysis(owner))
    monkeypatch.setattr(health.WorkerBeat, "current", None)
    theirs = claim(make_analysis(owner))
    assert services.give_back_running(beat.name) == 1
    ours.refresh_from_db()
    theirs.refresh_from_db()
    assert (ours.status, ours.attempts, ours.claim_token) == ("queued", 0, "")
    assert theirs.status == "running"
    assert claim(ours).attempts == 1


@pytest.mark.parametrize(("code", "left"), [(Code.UNREADABLE_MEDIA, 9), (Code.MODEL_UNAVAILABLE, 10)])
def test_only_our_own_failures_are_given_back(owner: User, code: Code, left: int) -> None:
    services.fail_analysis(claim(make_analysis(owner)), code)
    assert limits.remaining(owner) == left


def test_a_retry_starts_with_all_its_tries_and_costs_what_was_given_back(owner: User) -> None:
    analysis = make_analysis(owner)
    services.fail_analysis(claim(analysis), Code.MODEL_UNAVAILABLE)
    assert services.retry_analysis(analysis)
    assert limits.remaining(owner) == 9
    assert claim(analysis).attempts == 1
    assert not services.retry_analysis(analysis)


def test_a_retry_over_the_limit_is_refused(owner: User) -> None:
    analysis = make_analysis(owner)
    services.fail_analysis(claim(analysis), Code.MODEL_UNAVAILABLE)
    owner.daily_limit = 0
    owner.save()
    analysis = Analysis.objects.get()
    with pytest.raises(SentinelError):
        services.retry_analysis(analysis)
    analysis.refresh_from_db()
    assert analysis.status == Analysis.Status.FAILED


def test_progress_is_written_on_the_row_and_stops_a_try_that_lost_it(owner: User) -> None:
    analysis = make_analysis(owner)
    reporter = ProgressReporter(claim(analysis))
    reporter("judging", 0.5)
    analysis.refresh_from_db()
    assert (analysis.stage, analysis.progress) == ("judging", 50)
    reporter("concluding", 1.0)
    analysis.refresh_from_db()
    assert analysis.progress == 99
    analysis.media.delete()
    with pytest.raises(AnalysisTaken):
        reporter("reading", 0.1)


def test_deleting_removes_rows_files_and_pictures_and_keeps_a_receipt(owner: User) -> None:
    claimed = claim(make_analysis(owner))
    services.finish_analysis(claimed, a_result(), {"frame-9.jpg": b"jpeg"})
    media = claimed.media
    services.delete_media(media)
    assert not Media.objects.exists()
    assert not Analysis.objects.exists()
    assert files_below("") == []
    receipt = DeletionReceipt.objects.get()
    assert (receipt.sha256, receipt.owner) == ("a" * 64, owner)
    assert limits.remaining(owner) == 9


def test_deleting_while_it_runs_stops_the_try_and_keeps_no_picture(owner: User) -> None:
    claimed = claim(make_analysis(owner))
    services.delete_media(Media.objects.get())
    assert not services.finish_analysis(claimed, a_result(), {"frame-9.jpg": b"jpeg"})
    assert files_below("") == []


def test_an_interrupted_deletion_is_completed(owner: User) -> None:
    media = make_media(owner, deleted_at=timezone.now() - LONG_AGO)
    assert services.complete_deletions() == 1
    assert not Media.objects.exists()
    assert not default_storage.exists(str(media.file))
    assert DeletionReceipt.objects.count() == 1


def test_a_deletion_that_cannot_be_completed_keeps_no_other_waiting_and_no_worker_from_its_work(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = (make_media(owner, deleted_at=timezone.now() - LONG_AGO) for _ in range(2))
    remove = services.discard_stored

    def refuse(media: Media) -> None:
        if media.pk == stuck.pk:
            raise PermissionError(13, "Permission denied")
        remove(media)

    monkeypatch.setattr(services, "discard_stored", refuse)
    housekeeping.tidy_up()
    assert not Media.objects.filter(pk=other.pk).exists()
    monkeypatch.setattr(services, "discard_stored", remove)
    assert services.complete_deletions() == 1


def test_a_step_of_housekeeping_that_breaks_off_ends_neither_the_others_nor_the_worker(
    owner: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_off() -> int:
        raise ValueError("a row that nobody expected")

    for module, name in (
        *((services, "requeue_stalled"), (resumable, "sweep_uploads")),
        *((housekeeping, "sweep_incoming"), (health, "sweep_workers")),
    ):
        monkeypatch.setattr(module, name, break_off)
    monkeypatch.setattr(housekeeping, "_quiet_until", 0.0)
    make_media(owner, deleted_at=timezone.now() - LONG_AGO)
    orphan = default_storage.save("media/" + "0" * 24 + "/original", a_file())
    age(Path(default_storage.path(orphan)))
    beat, watch = health.WorkerBeat(), housekeeping.IdleWatch()
    monkeypatch.setattr("django.db.connections.close_all", lambda: None)
    assert not run_worker.look_after(beat, watch, 0.0)[1]
    assert not Media.objects.exists()
    assert not default_storage.exists(orphan)
    assert caplog.text.count("broke off") == 4


def test_what_comes_while_a_folder_is_removed_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a worker that has not heard yet that its file is deleted."""
    folder = Path(default_storage.path("analyses/one"))
    default_storage.save("analyses/one/try/preview-0.jpg", a_file())
    remove, late = os.rmdir, iter(range(1, 3))

    def remove_late(path: Any, *, dir_fd: int | None = None) -> None:
        if str(path) == "try" and (number := next(late, None)):
            default_storage.save(f"analyses/one/try/preview-{number}.jpg", a_file())
        remove(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", remove_late)
    media_storage().remove_folder("analyses/one")
    assert next(late, None) is None
    assert not folder.exists()


def test_a_second_click_on_retry_costs_nothing(owner: User) -> None:
    """Of a page from before: what failed at first was done meanwhile, by a result that had cost nothing."""
    analysis = make_done(owner)
    assert not services.retry_analysis(analysis)
    assert limits.used(owner) == 0


@pytest.mark.skipif(not connection.features.supports_transactions, reason="there, one row is written after the other")
def test_a_failure_of_ours_is_not_written_down_without_giving_back(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = claim(make_analysis(owner))

    def die(reference: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(limits, "give_back", die)
        with pytest.raises(KeyboardInterrupt):
            services.fail_analysis(claimed, Code.INTERNAL_ERROR)
    claimed.refresh_from_db()
    # Its heartbeat stands still, and somebody else goes on.
    assert (claimed.status, limits.used(owner)) == ("running", 1)
    assert services.fail_analysis(claimed, Code.INTERNAL_ERROR)
    assert limits.used(owner) == 0


def test_what_a_killed_web_process_left_is_swept(owner: User, settings: Any) -> None:
    kept = make_media(owner)
    orphan = default_storage.save("media/" + "0" * 24 + "/original", a_file())
    fresh = default_storage.save("media/" + "1" * 24 + "/original", a_file())
    half = Path(settings.FILE_UPLOAD_TEMP_DIR) / "half.upload"
    half.write_bytes(b"half")
    for path in (default_storage.path(orphan), default_storage.path(str(kept.file)), half):
        age(Path(path))
    assert housekeeping.sweep_abandoned_files() == 2
    assert not half.exists()
    assert not default_storage.exists(orphan)
    assert default_storage.exists(fresh)
    assert default_storage.exists(str(kept.file))


def test_pictures_that_a_killed_try_left_go_and_those_of_the_result_and_reports_stay(owner: User) -> None:
    long_ago = timezone.now() - 2 * housekeeping.ABANDONED_AFTER
    done, fresh = (make_done(owner, attempts=2, finished_at=at) for at in (long_ago, timezone.now()))
    kept, left = {}, {}
    for analysis in (done, fresh):
        folder = f"analyses/{analysis.public_id}"
        left[analysis] = default_storage.save(f"{folder}/{'a' * 24}/crop-0-1.jpg", a_file())
        kept[analysis] = default_storage.save(f"{folder}/{'b' * 24}/crop-0-1.jpg", a_file())
        Analysis.objects.filter(pk=analysis.pk).update(evidence=[kept[analysis]])
    report = default_storage.save(f"analyses/{done.public_id}/reports/{'c' * 24}.pdf", a_file())
    failed = make_analysis(owner, status=Analysis.Status.FAILED, attempts=3, finished_at=long_ago)
    of_failed = default_storage.save(f"analyses/{failed.public_id}/{'d' * 24}/crop-0-1.jpg", a_file())
    assert housekeeping.sweep_abandoned_files() == 2
    assert not default_storage.exists(left[done])
    assert not default_storage.exists(of_failed)
    for name in (kept[done], report, left[fresh], kept[fresh]):
        assert default_storage.exists(name)


def a_file() -> Any:
    from django.core.files.base import ContentFile

    return ContentFile(b"bytes")


def age(path: Path) -> None:
    import os

    old = (timezone.now() - LONG_AGO).timestamp()
    os.utime(path, (old, old))


def test_workers_that_take_nothing_are_noticed_after_a_while(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = housekeeping.IdleWatch()
    assert not watch.is_stuck()
    waiting = make_analysis(owner)
    assert not watch.is_stuck()
    monkeypatch.setattr(housekeeping, "STUCK_AFTER", timedelta(0))
    assert watch.is_stuck()
    claimed = claim(waiting)
    monkeypatch.setattr(housekeeping, "STUCK_AFTER", timedelta(seconds=60))
    assert not watch.is_stuck()
    make_analysis(owner)
    services.finish_analysis(claimed, a_result(), {})
    assert not watch.is_stuck()


def test_workers_that_still_load_their_detector_are_not_stuck(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    make_analysis(owner)
    state = WorkerState.objects.create(name="host:1/2", seen_at=timezone.now())
    monkeypatch.setattr(housekeeping, "STUCK_AFTER", timedelta(milliseconds=20))
    watch = housekeeping.IdleWatch()

    def is_stuck_after_a_while() -> bool:
        watch.is_stuck()
        time.sleep(0.03)
        return watch.is_stuck()

    assert not is_stuck_after_a_while()
    WorkerState.objects.update(detector="tiny-test")
    assert is_stuck_after_a_while()
    WorkerState.objects.update(detector="", started_at=timezone.now() - timedelta(hours=1))
    assert is_stuck_after_a_while()
    WorkerState.objects.update(started_at=timezone.now(), seen_at=state.seen_at - timedelta(minutes=1))
    assert is_stuck_after_a_while()


def test_evidence_is_found_by_its_short_name_only(owner: User) -> None:
    claimed = claim(make_analysis(owner))
    services.finish_analysis(claimed, a_result(), {"frame-9.jpg": b"jpeg"})
    done = Analysis.objects.get()
    assert evidence.find(done, "frame-9.jpg") == done.evidence[0]
    assert evidence.find(done, "frame-8.jpg") is None

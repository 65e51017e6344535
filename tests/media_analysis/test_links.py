"""From a link to an examination: accepted at once, fetched once, spent once, and said where it came from."""

from __future__ import annotations

import hashlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, InterfaceError, connection
from django.test import Client
from django.utils import timezone

from accounts import limits
from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import (
    custody,
    custody_check,
    custody_words,
    estimates,
    fetching,
    housekeeping,
    links,
    services,
    validators,
    video_sites,
)
from media_analysis.link_addresses import Cut, key_of
from media_analysis.link_forms import LinkForm
from media_analysis.links import submit_link
from media_analysis.models import Analysis, CaseDetails, LinkSource, Media, Submission, WorkerState
from media_analysis.uploads import StagedFile
from tests.media_analysis.factories import a_result, make_done, make_media
from tests.media_factory import make_video
from tests.video_site import VideoSite

WEB = Submission.Source.WEB
LINK = "https://example.org/clip.mp4"
pytestmark = pytest.mark.django_db


def submit(owner: User, url: str, **options: Any) -> Analysis:
    return submit_link(owner=owner, source=WEB, url=url, **options)[0]


def fetch_next() -> Analysis:
    """Fetch what waits longest; returns what became of it."""
    claimed = links.claim_waiting()
    assert claimed is not None
    fetching.fetch(claimed, threading.Event())
    return Analysis.objects.select_related("media__link").get(pk=claimed.pk)


def outcome(analysis: Analysis) -> tuple[str, str, str]:
    return analysis.status, analysis.error_code, analysis.media.link.problem


def test_a_link_is_an_analysis_at_once_and_then_a_file(owner: User, site: VideoSite, clip: Path) -> None:
    analysis = submit(owner, f"{site.file_url}/clip.mp4")
    assert (analysis.status, analysis.stage, analysis.media.sha256) == ("queued", "fetching", "")
    assert limits.remaining(owner) == 9
    assert services.claim_analysis(analysis.pk) is None

    fetched = fetch_next()
    assert (fetched.status, fetched.stage, fetched.progress, fetched.attempts) == ("queued", "", 0, 0)
    media, link = fetched.media, fetched.media.link
    content = clip.read_bytes()
    assert default_storage.open(str(media.file)).read() == content
    assert (media.sha256, media.size, media.codec) == (hashlib.sha256(content).hexdigest(), len(content), "h264")
    assert media.original_name == "clip.mp4"
    assert (link.file_url, link.server_address) == (f"{site.file_url}/clip.mp4", "127.0.0.2")
    assert link.headers["last-modified"] == "Fri, 20 Nov 2026 04:45:00 GMT"
    assert "set-cookie" not in link.headers
    assert link.fetched_at is not None
    events = list(custody.events_of(media.public_id))
    assert [event.event for event in events] == ["received", "hashed"]
    assert events[0].details["link"] == f"{site.file_url}/clip.mp4"
    assert events[1].details["sha256"] == media.sha256
    assert services.claim_analysis(analysis.pk) is not None


@pytest.mark.parametrize(
    ("path", "code", "problem"),
    [
        ("/missing.mp4", Code.LINK_UNREACHABLE, "not_found"),
        ("/private", Code.LINK_NOT_SUPPORTED, "refused"),
        ("/article", Code.LINK_NOT_SUPPORTED, "no_media"),
        ("/bomb.mp4", Code.LINK_UNREACHABLE, "unreachable"),
        ("/round", Code.LINK_UNREACHABLE, "unreachable"),
        ("/short.mp4", Code.LINK_UNREACHABLE, "unreachable"),
        ("/huge.mp4", Code.FILE_TOO_LARGE, ""),
        ("/text.mp4", Code.UNREADABLE_MEDIA, ""),
        ("/to?url=http://127.0.0.3/", Code.LINK_UNREACHABLE, "unreachable"),
    ],
)
def test_what_cannot_be_fetched_fails_with_a_reason_and_costs_nothing(
    owner: User, site: VideoSite, path: str, code: Code, problem: str
) -> None:
    site.files["/text.mp4"] = b"no video at all"
    submit(owner, f"{site.file_url}{path}")
    failed = fetch_next()
    assert outcome(failed) == ("failed", code, problem)
    assert limits.remaining(owner) == 10
    assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())
    assert not failed.media.file
    assert custody.events_of(failed.media.public_id).last().event == "failed"  # type: ignore[union-attr]


def test_endless_and_slow_files_come_to_an_end(owner: User, site: VideoSite, settings: Any) -> None:
    site.pause = 0
    settings.SENTINEL_MAX_UPLOAD_BYTES = 300_000
    submit(owner, f"{site.file_url}/endless.mp4")
    assert outcome(fetch_next()) == ("failed", Code.FILE_TOO_LARGE, "")
    site.pause, settings.SENTINEL_LINK_TIMEOUT_SECONDS = 0.1, 0.3
    submit(owner, f"{site.file_url}/endless.mp4?2")
    assert outcome(fetch_next()) == ("failed", Code.LINK_UNREACHABLE, "too_slow")
    assert limits.remaining(owner) == 10


def test_a_photo_at_a_link_is_a_photo_and_not_let_in_where_a_video_is_wanted(
    owner: User, site: VideoSite, photo: Path
) -> None:
    site.files["/face.jpg"] = photo.read_bytes()
    submit(owner, f"{site.file_url}/face.jpg")
    assert fetch_next().media.kind == Media.Kind.IMAGE
    submit(owner, f"{site.file_url}/face.jpg?1", kind=Media.Kind.VIDEO)
    assert fetch_next().error_code == Code.NO_VIDEO_STREAM


def test_the_same_link_again_is_the_same_analysis_for_its_owner_alone(
    owner: User, stranger: User, site: VideoSite
) -> None:
    first = submit(owner, f"{site.file_url}/clip.mp4?utm_source=x#t=3")
    again = submit(owner, f"{site.file_url}/clip.mp4", case_details={"case_id": "77"})
    assert (again.pk, limits.remaining(owner)) == (first.pk, 9)
    assert CaseDetails.objects.get().submission.media_id == first.media_id
    assert submit(stranger, f"{site.file_url}/clip.mp4").pk != first.pk
    # A part is something else than the whole.
    assert submit(owner, f"{site.file_url}/clip.mp4", cut=Cut(0, 1)).pk != first.pk


@pytest.mark.django_db(transaction=True)
def test_of_requests_for_one_link_at_the_same_time_one_makes_the_analysis(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, find_earlier = threading.Barrier(4), links.find_earlier
    looked = threading.local()

    def find_with_the_others(*arguments: Any) -> Analysis | None:
        found = find_earlier(*arguments)
        if not hasattr(looked, "once"):
            looked.once = True
            together.wait(20)
        return found

    monkeypatch.setattr(links, "find_earlier", find_with_the_others)

    def paste(number: int) -> tuple[Analysis, bool]:
        try:
            key = f"key-{number}" if number else ""
            return submit_link(owner=owner, source=WEB, url=LINK, idempotency_key=key)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(paste, range(4)))
    assert len({analysis.pk for analysis, _is_new in answers}) == 1
    # Which the API answers 201, and the others 200.
    assert [is_new for _analysis, is_new in answers].count(True) == 1
    assert (Analysis.objects.count(), Media.objects.count(), limits.used(owner)) == (1, 1, 1)
    # Each key is known again.
    assert Submission.objects.exclude(idempotency_key=None).count() == 3


def test_a_link_can_be_given_again_whatever_became_of_it(
    owner: User, stranger: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "WRITTEN_DOWN_WITHIN_SECONDS", 0.0)
    first = submit(owner, LINK)
    assert submit(stranger, LINK) != first
    Analysis.objects.filter(pk=first.pk).update(status="failed")
    second = submit(owner, LINK)
    assert second != first
    Analysis.objects.filter(pk=second.pk).update(status="failed")
    services.delete_media(first.media)
    third = submit(owner, LINK)
    assert third not in {first, second}
    services.delete_media(third.media)
    # Its rows are still there.
    Media.objects.filter(pk=second.media_id).update(deleted_at=timezone.now())
    fourth = submit(owner, LINK)
    # Another account has it now, and goes on with it.
    Media.objects.filter(pk=fourth.media_id).update(owner=stranger)
    fifth = submit(owner, LINK)
    # A request that was killed before the last of its rows.
    Analysis.objects.filter(pk=fifth.pk).delete()
    sixth = submit(owner, LINK)
    assert submit(owner, LINK) == sixth
    assert len({each.pk for each in (first, second, third, fourth, fifth, sixth)}) == 6


def test_the_last_classification_of_the_day_is_enough_for_two_at_once(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.daily_limit = 1
    first, find_earlier = submit(owner, LINK), links.find_earlier
    # What the second saw a moment before.
    seen = [True]
    monkeypatch.setattr(limits, "remaining", lambda _user: 1)
    monkeypatch.setattr(links, "find_earlier", lambda *asked: None if seen and seen.pop() else find_earlier(*asked))
    assert submit(owner, LINK) == first
    assert limits.used(owner) == 1
    with pytest.raises(SentinelError) as refused:
        submit(owner, f"{LINK}?other")
    assert refused.value.code is Code.RATE_LIMITED


def test_a_failed_link_is_no_answer_and_can_be_tried_again(owner: User, site: VideoSite) -> None:
    url = f"{site.file_url}/later.mp4"
    failed = submit(owner, url)
    assert fetch_next().status == "failed"
    site.files["/later.mp4"] = site.files["/clip.mp4"]
    assert services.retry_analysis(failed)
    assert limits.remaining(owner) == 9
    assert fetch_next().media.size == len(site.files["/clip.mp4"])
    assert links.find_earlier(owner, url) == failed


def test_the_same_bytes_from_elsewhere_give_the_result_there_is(owner: User, stranger: User, site: VideoSite) -> None:
    content = site.files["/clip.mp4"]
    known = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    make_done(stranger, media=make_media(stranger, **known))
    submit(owner, f"{site.file_url}/clip.mp4?other")
    assert fetch_next().status == "queued"
    Media.objects.filter(owner=owner).delete()

    picture = "analyses/old/try/frame-9.jpg"
    default_storage.save(picture, ContentFile(b"jpeg"))
    earlier = make_done(owner, media=make_media(owner, **known), evidence=[picture])
    analysis = submit(owner, f"{site.file_url}/clip.mp4")
    done = fetch_next()
    assert (done.pk, done.status, done.outcome, done.result) == (analysis.pk, "done", "FAKE", a_result())
    assert (done.media.link.same_as, done.media.link.same_as_at) == (earlier.public_id, earlier.finished_at)
    assert limits.remaining(owner) == 9  # what the one that was deleted had cost
    assert done.evidence != earlier.evidence
    # Nothing says that this file was looked at now.
    assert done.finished_at is not None
    assert earlier.finished_at is not None
    assert done.examined_at == earlier.finished_at < done.finished_at
    ended = custody.events_of(done.media.public_id).last()
    assert ended is not None
    assert custody_words.describe(ended) == (
        f"Given the result of the very same file, examined earlier ({earlier.public_id})"
    )
    services.delete_media(earlier.media)
    assert default_storage.open(done.evidence[0]).read() == b"jpeg"


def test_a_link_whose_file_is_examined_again_has_its_result_all_the_same(owner: User, site: VideoSite) -> None:
    url = f"{site.file_url}/clip.mp4"
    first = submit(owner, url)
    Analysis.objects.filter(pk=fetch_next().pk).update(status="done", finished_at=timezone.now())
    again = services.examine_again(Media.objects.get(), requester=owner)
    assert again is not None
    assert submit(owner, url) == first
    Analysis.objects.filter(pk=again.pk).update(status="done")
    assert submit(owner, url) == again


def test_keys_name_one_link(owner: User, site: VideoSite) -> None:
    first = submit(owner, f"{site.file_url}/clip.mp4", idempotency_key="k")
    assert submit(owner, f"{site.file_url}/clip.mp4", idempotency_key="k").pk == first.pk
    with pytest.raises(SentinelError) as refused:
        submit(owner, f"{site.file_url}/other.mp4", idempotency_key="k")
    assert refused.value.code is Code.KEY_REUSED
    assert Submission.objects.count() == 1


def test_the_daily_limit_holds_for_links(owner: User, site: VideoSite) -> None:
    owner.daily_limit = 1
    submit(owner, f"{site.file_url}/clip.mp4")
    with pytest.raises(SentinelError) as refused:
        submit(owner, f"{site.file_url}/other.mp4")
    assert refused.value.code is Code.RATE_LIMITED
    # What is there already costs nothing.
    submit(owner, f"{site.file_url}/clip.mp4")


def test_a_part_is_cut_out(owner: User, site: VideoSite, tmp_path: Path) -> None:
    long = make_video(tmp_path / "long.mp4", seconds=70, fps=10, size=(64, 48), options={"g": "20"})
    site.files["/long.mp4"] = long.read_bytes()
    submit(owner, f"{site.file_url}/long.mp4")
    assert outcome(fetch_next())[:2] == ("failed", Code.VIDEO_TOO_LONG)

    submit(owner, f"{site.file_url}/long.mp4", cut=Cut(5, 15))
    fetched = fetch_next()
    media, link = fetched.media, fetched.media.link
    assert fetched.status == "queued"
    # It begins at the key frame before: there is one every two seconds.
    assert link.cut_from == pytest.approx(4.0)
    assert link.cut_to == pytest.approx(15.0, abs=0.5)
    assert media.duration == pytest.approx(11, abs=0.5)
    assert link.whole_sha256 == hashlib.sha256(long.read_bytes()).hexdigest() != media.sha256
    assert media.original_name == "long.mkv"
    submit(owner, f"{site.file_url}/long.mp4", cut=Cut(100, 110))
    assert outcome(fetch_next()) == ("failed", Code.INVALID_FIELD, "outside_cut")


@pytest.mark.parametrize("cut", [Cut(5, 5), Cut(9, 3), Cut(-1, 5), Cut(0, 61), Cut(float("nan"), 5), Cut(0, 1e999)])
def test_impossible_parts_are_refused(owner: User, cut: Cut) -> None:
    with pytest.raises(SentinelError) as refused:
        submit(owner, "https://videos.example/1", cut=cut)
    assert refused.value.code is Code.INVALID_FIELD
    assert set(refused.value.errors) <= {"start", "end"}


def test_deleting_while_it_is_fetched_leaves_nothing(owner: User, site: VideoSite, settings: Any) -> None:
    submit(owner, f"{site.file_url}/clip.mp4")
    claimed = links.claim_waiting()
    assert claimed is not None
    receipt = services.delete_media(Media.objects.get())
    assert (receipt.sha256, receipt.size) == ("", 0)
    fetching.fetch(claimed, threading.Event())
    assert not Analysis.objects.exists()
    assert not list(Path(settings.MEDIA_ROOT).rglob("original*"))
    assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())


def test_a_lost_fetch_is_taken_up_and_an_old_try_changes_nothing(owner: User, site: VideoSite) -> None:
    analysis = submit(owner, f"{site.file_url}/clip.mp4")
    old = links.claim_waiting()
    assert old is not None
    assert links.claim_waiting() is None
    assert links.recover_lost() == 0
    Analysis.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=2))
    housekeeping.tidy_up()
    fetched = fetch_next()
    assert fetched.pk == analysis.pk
    fetching.fetch(old, threading.Event())
    assert not links.fail_fetch(old, Code.INTERNAL_ERROR)
    fetched.refresh_from_db()
    assert (fetched.status, fetched.stage) == ("queued", "")
    assert default_storage.exists(str(fetched.media.file))
    assert limits.remaining(owner) == 9


def test_a_late_try_does_not_touch_the_file_that_another_has_kept(
    owner: User, site: VideoSite, clip: Path, tmp_path: Path
) -> None:
    """As of a host that stood still between its last look at the claim and the end of its fetch."""
    submit(owner, f"{site.file_url}/clip.mp4")
    old = links.claim_waiting()
    assert old is not None
    late = tmp_path / "late"
    shutil.copy(make_video(tmp_path / "other.mp4", seconds=0.5), late)
    with late.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    staged = StagedFile(path=late, name="other.mp4", size=late.stat().st_size, sha256=sha256, md5="b" * 32)
    info = validators.probe_media(staged)
    links.release_fetch(old, broken=True)
    fetched = fetch_next()
    with pytest.raises(links.Lost):
        links.finish_fetch(old, staged, info, server_address="192.0.2.1")
    assert default_storage.open(str(fetched.media.file)).read() == clip.read_bytes()
    assert LinkSource.objects.get().server_address == "127.0.0.2"


@pytest.mark.skipif(not connection.features.supports_transactions, reason="there, housekeeping completes it")
def test_a_result_that_is_taken_over_is_written_down_whole_or_not_at_all(
    owner: User, site: VideoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = site.files["/clip.mp4"]
    known = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    make_done(owner, media=make_media(owner, **known))
    submit(owner, f"{site.file_url}/clip.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(custody, "record", broken_for(custody.Event.ANALYSED, custody.record))
        broken = fetch_next()
    # Not called done without a word in its log: it is examined like any other.
    assert (broken.status, broken.media.link.same_as) == ("queued", "")
    assert limits.remaining(owner) == 9
    assert services.claim_analysis(broken.pk) is not None


def broken_for(broken: custody.Event, record: Any) -> Any:
    """`custody.record` that breaks off at this event."""

    def record_or_break(media_id: str, event: custody.Event, **details: Any) -> Any:
        if event == broken:
            raise RuntimeError("killed")
        return record(media_id, event, **details)

    return record_or_break


def test_while_no_worker_runs_a_link_says_so(owner: User, as_owner: Client) -> None:
    analysis = submit(owner, LINK)
    page, progress = f"/analyses/{analysis.public_id}/", f"/api/v1/analyses/{analysis.public_id}/progress/"

    def said() -> str:
        return as_owner.get(page).content.decode().split("data-position>")[1].split("</span>")[0]

    assert "is not running right now" in said()
    assert as_owner.get(progress).json()["served"] is False
    assert estimates.outlooks([analysis.pk], [])[analysis.pk] == estimates.Outlook(0, None, served=False)
    WorkerState.objects.create(name="host:1", lanes=["gpu"], detector="tiny-test")
    assert said().strip() == ""
    assert as_owner.get(progress).json()["served"] is True


def test_the_fetcher_outlives_a_round_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = fetching.Fetcher()
    rounds = threading.Semaphore(0)
    faults = iter([OSError("no such disk"), InterfaceError("closed"), RuntimeError("can't start new thread")])

    def claim() -> None:
        rounds.release()
        if fault := next(faults, None):
            raise fault

    monkeypatch.setattr(fetching, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(links, "claim_waiting", claim)
    fetcher.start()
    # More often than there are places, each of which is free again.
    for _ in range(8):
        assert rounds.acquire(timeout=5)
    fetcher.stop()
    assert not fetcher.is_alive()


def test_a_database_that_fails_for_a_moment_ends_no_heartbeat(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.SENTINEL_HEARTBEAT_SECONDS = 0.01
    beats = threading.Semaphore(0)
    failures = iter([DatabaseError("locked"), DatabaseError("locked")])

    def report(analysis: Analysis) -> bool:
        beats.release()
        if error := next(failures, None):
            raise error
        return True

    monkeypatch.setattr(links, "report_progress", report)
    with fetching.ClaimWatch(Analysis(), threading.Event()) as watch:
        for _ in range(4):
            assert beats.acquire(timeout=5)
        watch()


@pytest.mark.parametrize("logged", [False, True])
def test_a_try_that_was_killed_after_it_had_kept_the_file_is_gone_on_with(owner: User, logged: bool) -> None:
    submit(owner, LINK)
    media = Media.objects.get()
    known = {"sha256": "a" * 64, "md5": "b" * 32, "size": 5}
    Media.objects.update(file=default_storage.save(f"media/{media.public_id}/original", ContentFile(b"bytes")), **known)
    if logged:
        custody.record(media.public_id, custody.Event.HASHED, **known)  # type: ignore[arg-type]
    assert outcome(fetch_next())[:2] == ("queued", "")
    assert [event.event for event in custody.events_of(media.public_id)] == ["received", "hashed"]
    assert custody_check.check_log().findings == []


def test_a_link_that_kills_its_worker_fails_in_the_end(owner: User, site: VideoSite, settings: Any) -> None:
    submit(owner, f"{site.file_url}/clip.mp4")
    for _ in range(settings.SENTINEL_MAX_ATTEMPTS):
        assert links.claim_waiting() is not None
        Analysis.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=2))
        links.recover_lost()
    failed = Analysis.objects.get()
    assert (failed.status, failed.error_code, limits.remaining(owner)) == ("failed", "internal_error", 10)


def test_stopping_puts_a_link_back(owner: User, site: VideoSite) -> None:
    submit(owner, f"{site.file_url}/clip.mp4")
    claimed = links.claim_waiting()
    assert claimed is not None
    stopped = threading.Event()
    stopped.set()
    fetching.fetch(claimed, stopped)
    claimed.refresh_from_db()
    assert (claimed.status, claimed.stage, claimed.claim_token, claimed.attempts) == ("queued", "fetching", "", 0)


def test_claims_are_kept_as_claims(owner: User) -> None:
    given = {"post_url": "https://x.com/i/status/1", "author": "Asha\x07", "posted_at": "2026-11-20", "other": "x"}
    submit(owner, "https://x.com/i/status/1", claims=given)
    assert LinkSource.objects.get().claims == {
        "post_url": "https://x.com/i/status/1",
        "author": "Asha",
        "posted_at": "2026-11-20",
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=42s", "https://youtu.be/dQw4w9WgXcQ?si=abc"),
        ("https://m.youtube.com/shorts/dQw4w9WgXcQ", "youtube.com/embed/dQw4w9WgXcQ"),
        ("https://twitter.com/asha/status/123?s=20", "https://x.com/i/web/status/123/video/1"),
        ("http://www.videos.example/a/?b=1&utm_campaign=x", "https://videos.example/a?b=1#top"),
    ],
)
def test_addresses_of_one_video_are_one(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)


def test_different_videos_stay_different() -> None:
    urls = [
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://www.youtube.com/watch?v=dQw4w9WgXcR",
        "https://videos.example/a?id=1",
        "https://videos.example/a?id=2",
        "https://x.com/i/status/1",
        "https://x.com/i/status/2",
        "https://videos.example/A?id=1",
    ]
    assert len({key_of(url) for url in urls}) == len(urls)


def described(**fields: Any) -> dict[str, Any]:
    """A video as yt-dlp describes it."""
    return {"extractor_key": "Youtube", "webpage_url": "https://www.youtube.com/watch?v=a", "title": "T", **fields}


def format_of(height: int, **fields: Any) -> dict[str, Any]:
    base = {"url": f"https://files.example/{height}", "protocol": "https", "width": height * 16 // 9, "height": height}
    return {**base, "ext": "mp4", "vcodec": "avc1", "acodec": "mp4a", "fps": 30, "filesize": height * 10_000, **fields}


@pytest.mark.parametrize(
    ("formats", "chosen"),
    [
        ([format_of(360), format_of(720), format_of(1080)], 720),
        ([format_of(1440), format_of(1080)], 1080),
        ([format_of(360), format_of(720, acodec="none")], 720),
        ([format_of(360), format_of(720, fps=60)], 360),
        ([format_of(360), format_of(720, filesize=200 << 20)], 360),
        ([format_of(360), format_of(720, filesize=None, tbr=40_000)], 360),
        ([format_of(360), format_of(720, vcodec="none")], 360),
        ([format_of(360), format_of(720, protocol="rtmp")], 360),
        ([format_of(360), format_of(720, has_drm=True)], 360),
        ([format_of(720, protocol="m3u8_native"), format_of(720, url="https://files.example/file")], 720),
        ([format_of(720, fps=60)], None),
    ],
)
def test_the_best_file_within_the_limits_is_chosen(formats: list[dict[str, Any]], chosen: int | None) -> None:
    video = video_sites.read_video(described(formats=formats, duration=30.0))
    rendition = video_sites.choose(video.renditions, max_bytes=100 << 20, max_frame_rate=30)
    assert (rendition.side if rendition else None) == chosen
    assert rendition is None or not rendition.streamed


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (described(_type="playlist", entries=[{}, {}]), "playlist"),
        (described(formats=[format_of(360)], is_live=True), "live"),
        (described(formats=[format_of(360)], live_status="is_upcoming"), "live"),
        (described(formats=[format_of(360, vcodec="none")]), "no_media"),
        (described(formats="odd", url=7), "no_media"),
    ],
)
def test_what_is_no_single_video_is_refused(found: dict[str, Any], problem: str) -> None:
    with pytest.raises(video_sites.SiteError) as refused:
        video_sites.read_video(found)
    assert refused.value.problem == problem


@pytest.mark.parametrize(
    ("complaint", "problem"),
    [
        ("ERROR: [youtube] x: Private video. Sign in if you've been granted access", "private"),
        ("ERROR: [youtube] x: Video unavailable. This video has been removed by the uploader", "not_found"),
        ("ERROR: [youtube] x: The uploader has not made this video available in your country", "refused"),
        ("ERROR: [generic] Unable to download webpage: HTTP Error 404: Not Found", "not_found"),
        ("ERROR: [generic] Unable to download webpage: HTTP Error 403: Forbidden", "refused"),
        ("ERROR: [youtube] x: This live event will begin in 3 hours.", "live"),
        ("ERROR: Unsupported URL: https://videos.example/", "no_media"),
        ("ERROR: [youtube] Failed to establish a new connection", "unreachable"),
    ],
)
def test_what_ytdlp_says_is_understood(complaint: str, problem: str) -> None:
    assert video_sites.problem_of(complaint) == problem


@pytest.mark.slow
def test_a_page_of_a_site_gives_its_video_and_what_it_says_of_it(owner: User, site: VideoSite, clip: Path) -> None:
    url = site.add_page("abc", "/clip.mp4", duration="PT1S")
    submit(owner, f"{url}&si=share")
    fetched = fetch_next()
    media, link = fetched.media, fetched.media.link
    assert outcome(fetched) == ("queued", "", "")
    assert media.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert media.original_name == "Minister sings.mp4"
    assert (link.title, link.uploader, link.site) == ("Minister sings", "Village News", "127.0.0.1")
    assert link.uploaded == "2026-11-20T04:45:00Z"
    assert link.fetched_with == video_sites.version()
    assert (link.duration, link.server_address) == (1.0, "127.0.0.1")
    assert link.headers["content-type"] == "video/mp4"
    assert links.find_earlier(owner, url) == fetched
    assert custody.events_of(media.public_id).last().details["canonical_url"] == link.canonical_url  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_long_video_is_refused_before_it_is_fetched(owner: User, site: VideoSite) -> None:
    submit(owner, site.add_page("long", "/clip.mp4", duration="PT12M30S"))
    failed = fetch_next()
    assert outcome(failed) == ("failed", Code.VIDEO_TOO_LONG, "")
    assert (failed.media.link.duration, failed.media.original_name) == (750.0, "Minister sings")
    assert limits.remaining(owner) == 10


@pytest.mark.slow
def test_a_stream_in_pieces_is_put_together(owner: User, site: VideoSite, tmp_path: Path) -> None:
    content = make_video(tmp_path / "stream.ts", seconds=2, container="mpegts").read_bytes()
    middle = len(content) // 2 // 188 * 188
    site.files |= {"/0.ts": content[:middle], "/1.ts": content[middle:]}
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", "0.ts", "#EXTINF:1,", "1.ts", "#EXT-X-ENDLIST", ""]
    site.files["/list.m3u8"] = "\n".join(lines).encode()
    submit(owner, site.add_page("stream", "/list.m3u8"))
    fetched = fetch_next()
    assert outcome(fetched) == ("queued", "", "")
    assert fetched.media.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.slow
def test_pages_that_are_gone_say_so(owner: User, site: VideoSite) -> None:
    submit(owner, f"{site.url}/watch?v=gone")
    assert outcome(fetch_next()) == ("failed", Code.LINK_UNREACHABLE, "not_found")


@pytest.mark.parametrize(
    ("fields", "cut"),
    [
        ({}, None),
        ({"start": "1:30", "end": "2:10"}, Cut(90, 130)),
        ({"end": "45"}, Cut(0, 45)),
        ({"start": "1:02:03,5", "end": "1:02:10.25"}, Cut(3723.5, 3730.25)),
        ({"start": "0:70", "end": "100"}, Cut(70, 100)),
    ],
)
def test_times_are_read_as_people_write_them(fields: dict[str, str], cut: Cut | None) -> None:
    form = LinkForm({"link": "https://videos.example/1", **fields})
    assert form.is_valid()
    assert form.cut == cut


@pytest.mark.parametrize("fields", [{"start": "1x", "end": "9"}, {"start": "5"}, {"start": "9" * 5000, "end": "1"}])
def test_what_is_no_time_is_marked(fields: dict[str, str]) -> None:
    form = LinkForm({"link": "https://videos.example/1", **fields})
    assert not form.is_valid()
    assert set(form.errors) <= {"start", "end"}


def test_the_page_takes_a_link_and_says_when_it_was_examined(owner: User, as_owner: Client, site: VideoSite) -> None:
    fields = {"link": f"{site.file_url}/clip.mp4", "case_id": "17/2026"}
    answer = as_owner.post("/analyses/new/", fields)
    analysis = Analysis.objects.get()
    assert answer.headers["Location"] == f"/analyses/{analysis.public_id}/"
    page = as_owner.get(answer.headers["Location"]).content.decode()
    assert "The video is being fetched" in page
    assert "data-live" not in page
    assert "From a link" in as_owner.get("/analyses/").content.decode()
    fetch_next()
    assert "data-live" in as_owner.get(answer.headers["Location"]).content.decode()
    Analysis.objects.update(status="done", outcome="FAKE", result=a_result(), finished_at=timezone.now())
    again = as_owner.post("/analyses/new/", {"link": fields["link"]}, follow=True).content.decode()
    assert "You had this link examined already, on" in again
    assert "Where the file comes from" in again
    assert (Analysis.objects.count(), limits.remaining(owner)) == (1, 9)


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"link": "http://127.0.0.1:22/"}, 422, "This is not a link to a public web page or file."),
        ({"link": "http://[::1"}, 422, "This is not a link to a public web page or file."),
        ({"link": "https://videos.example/1", "start": "x", "end": "2"}, 400, "Enter a time such as 1:30."),
        ({"link": "https://videos.example/1", "start": "9", "end": "2"}, 400, "The end has to come after the start."),
        ({"link": "https://videos.example/1", "end": "2:00"}, 400, "The part may be 60 seconds long at most."),
        ({"link": ""}, 400, "Choose a video or a photo first."),
    ],
)
def test_the_page_says_what_is_wrong_with_a_link(
    as_owner: Client, fields: dict[str, str], status: int, text: str
) -> None:
    answer = as_owner.post("/analyses/new/", fields)
    assert answer.status_code == status
    assert text in answer.content.decode()
    assert not Analysis.objects.exists()


def test_a_failed_link_says_why_and_offers_a_part_of_what_is_too_long(owner: User, as_owner: Client) -> None:
    analysis = submit(owner, "https://videos.example/long")
    claimed = links.claim_waiting()
    assert claimed is not None
    links.note_origin(claimed, name="Long: 24/11 at 9", duration=750.0, title="Long: 24/11 at 9")
    links.fail_fetch(claimed, Code.VIDEO_TOO_LONG)
    page = as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()
    assert "Long: 24-11 at 9" in page
    assert "The video is 12:30 long. Choose up to 60 seconds of it." in page
    assert 'value="https://videos.example/long"' in page
    Analysis.objects.update(error_code="link_not_supported")
    LinkSource.objects.update(problem="live")
    assert "This is a live stream." in as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()


def test_the_admin_shows_where_a_file_came_from_and_changes_nothing(
    owner: User, as_admin: Client, site: VideoSite
) -> None:
    submit(owner, f"{site.file_url}/clip.mp4")
    link = fetch_next().media.link
    LinkSource.objects.update(title="<b>Minister</b>", canonical_url="javascript:alert(1)")
    address = f"/admin/media_analysis/media/{link.media_id}/change/"
    page = as_admin.get(address).content.decode()
    assert link.file_url in page
    assert "&lt;b&gt;Minister" in page
    assert "<b>Minister" not in page
    assert 'href="javascript' not in page
    # Only what finds the row, and nothing that could be changed.
    assert 'name="link-0-title"' not in page
    as_admin.post(address, {"link-TOTAL_FORMS": 1, "link-INITIAL_FORMS": 1, "link-0-title": "other"})
    assert LinkSource.objects.get().title == "<b>Minister</b>"
    sent = make_media(owner)
    assert 'id="link-group"' in page
    assert 'id="link-group"' not in as_admin.get(f"/admin/media_analysis/media/{sent.pk}/change/").content.decode()

"""/metrics: who may read it, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from prometheus_client import REGISTRY, Counter
from prometheus_client.parser import text_string_to_metric_families

from accounts import clock, security_log
from accounts.errors import Code, SentinelError
from accounts.models import SecurityEvent, User
from media_analysis.middleware import REFUSED_FLAG, OversizedBodyMiddleware
from media_analysis.models import Analysis, WorkerState
from media_analysis.signals import submission_judged, tells_judgement
from sentinel_site import measures
from sentinel_site.metrics import read_readers
from tests.media_analysis.factories import make_analysis, make_done, make_media

TOKEN = "a token of sixteen letters or more"


@pytest.mark.parametrize("entry", ["0.0.0.0/0", "::/0", "10.0.0.0/7", "2000::/3", "everybody", "10.0.0.1/24", ""])
def test_nobody_opens_it_to_the_world_by_accident(entry: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        read_readers([entry], "")


@pytest.mark.parametrize("token", ["", "short"])
def test_a_token_has_to_be_one(token: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        read_readers(["token"], token)


def test_without_the_setting_there_is_nothing(settings: Any) -> None:
    assert not settings.SENTINEL_METRICS
    assert not read_readers([], TOKEN)
    assert Client().get("/metrics").status_code == 404


@pytest.mark.parametrize(
    ("entries", "behind_proxy", "asked", "allowed"),
    [
        (["loopback"], False, {"REMOTE_ADDR": "127.0.0.1"}, True),
        (["loopback"], False, {"REMOTE_ADDR": "::1"}, True),
        (["loopback"], False, {"REMOTE_ADDR": "::ffff:127.0.0.1"}, True),
        (["loopback"], False, {"REMOTE_ADDR": "10.1.2.3"}, False),
        (["loopback"], False, {"REMOTE_ADDR": ""}, False),
        # nginx on this host asks for somebody else.
        (["loopback"], False, {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
        (["loopback"], False, {"REMOTE_ADDR": "127.0.0.1", "HTTP_VIA": "1.1 proxy"}, False),
        (["loopback"], True, {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, False),
        # What a client itself put into the header stands before the proxy's word.
        (["loopback"], True, {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1, 203.0.113.9"}, False),
        (["loopback"], True, {"REMOTE_ADDR": "127.0.0.1"}, True),
        (["10.20.0.0/24"], False, {"REMOTE_ADDR": "10.20.0.7"}, True),
        (["10.20.0.0/24"], True, {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "10.20.0.7"}, True),
        (["10.20.0.0/24"], False, {"REMOTE_ADDR": "10.20.1.7"}, False),
        (["token"], False, {"REMOTE_ADDR": "203.0.113.9", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}, True),
        (["token"], False, {"REMOTE_ADDR": "127.0.0.1", "HTTP_AUTHORIZATION": "Bearer another"}, False),
        (["token"], False, {"REMOTE_ADDR": "127.0.0.1"}, False),
        (["loopback"], False, {"REMOTE_ADDR": "10.1.2.3", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}, False),
    ],
)
def test_who_may_read(
    settings: Any, entries: list[str], behind_proxy: bool, asked: dict[str, Any], allowed: bool
) -> None:
    settings.SENTINEL_BEHIND_PROXY = behind_proxy
    assert read_readers(entries, TOKEN).include(RequestFactory().get("/metrics", **asked)) is allowed


@pytest.fixture
def counting() -> Any:
    """Measures as they are after a start."""
    collector = measures.SiteCollector()
    REGISTRY.register(collector)
    yield
    REGISTRY.unregister(collector)


def _told(settings: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    settings.SENTINEL_METRICS = read_readers(["loopback"], "")
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


@pytest.mark.django_db(transaction=True)
def test_what_it_says_of_the_site(settings: Any, counting: None, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    media = make_media(owner, original_name="private-name.mp4")
    make_analysis(owner, media=media, created_at=now - timedelta(seconds=90), queued_at=now - timedelta(seconds=90))
    make_done(owner, started_at=now, finished_at=now, seconds=4.0)
    make_done(owner, started_at=now, finished_at=now, seconds=8.0)
    make_done(owner, finished_at=now - timedelta(hours=2), seconds=100.0)
    make_analysis(owner, status=Analysis.Status.FAILED, error_code="unreadable_media", finished_at=now, spent=False)
    for event in (security_log.Event.LOCKED_OUT, security_log.Event.WRONG_PASSWORD):
        security_log.record(owner, event, address="192.0.2.1")
    SecurityEvent.objects.create(user=owner, event="locked_out", at=now - timedelta(hours=2))
    # By the database's clock, which may be another than this host's.
    hour = timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: now + hour)
    for name, detector in (("host:1", ""), ("host:1/2", "tiny")):
        WorkerState.objects.create(name=name, seen_at=now + hour, detector=detector, detector_version="1")
    WorkerState.objects.create(name="gone:1/2", seen_at=now, detector="tiny", detector_version="1")
    told = _told(settings)
    assert told["sentinel_security_events_last_hour", (("event", "locked_out"),)] == 1
    assert told["sentinel_database_up", ()] == 1
    assert told["sentinel_workers_alive", ()] == 1
    assert told["sentinel_detector_processes", (("detector", "tiny"), ("version", "1"))] == 1
    lane = (("lane", "default"), ("priority", "person"))
    assert told["sentinel_queue_waiting", lane] == 1
    assert told["sentinel_queue_oldest_seconds", lane] >= 90
    ended = "sentinel_analyses_finished_last_hour"
    assert told[ended, (("error", ""), ("outcome", "FAKE"))] == 2
    assert told[ended, (("error", "unreadable_media"), ("outcome", ""))] == 1
    assert told["sentinel_analysis_seconds_mean_last_hour", ()] == 6.0
    assert told["sentinel_disk_free_bytes", ()] > 0
    assert any(name == "sentinel_info" for name, _ in told)
    words = str(told)
    for private in (owner.username, owner.email, owner.public_id, "private-name", media.public_id, media.sha256):
        assert private not in words


@pytest.mark.django_db(transaction=True)
def test_without_its_database_it_says_so(settings: Any, counting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Any:
        raise DatabaseError("gone")

    monkeypatch.setattr(measures, "read_site", away)
    told = _told(settings)
    assert told["sentinel_database_up", ()] == 0
    assert any(name == "sentinel_info" for name, _ in told)


@pytest.fixture
def submissions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """What is counted of submissions as long as this test runs."""
    counter = Counter("tests_submissions", "Of this test.", ["source", "kind", "result"], registry=None)
    monkeypatch.setattr(measures, "submissions", counter)
    submission_judged.connect(measures.count_submission, dispatch_uid="tests.metrics")
    yield counter
    submission_judged.disconnect(dispatch_uid="tests.metrics")


def _results(counter: Counter) -> set[tuple[str, float]]:
    totals = [sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")]
    return {(sample.labels["result"], sample.value) for sample in totals}


def test_a_file_that_is_refused_unread_for_want_of_room_is_counted(submissions: Counter) -> None:
    request = RequestFactory().post("/api/v1/analyses/")
    request.scope = {REFUSED_FLAG: Code.STORAGE_FULL}  # type: ignore[attr-defined]
    answer = OversizedBodyMiddleware(lambda _request: HttpResponse())(request)
    assert answer.status_code == 503
    assert _results(submissions) == {("storage_full", 1)}


def test_submissions_are_counted_by_what_became_of_them(submissions: Counter) -> None:

    @tells_judgement("file")
    def submit(*, source: str, code: Code | None) -> str:
        if code:
            raise SentinelError(code)
        return "accepted"

    assert submit(source="api", code=None) == "accepted"
    with pytest.raises(SentinelError):
        submit(source="api", code=Code.UNREADABLE_MEDIA)
    assert _results(submissions) == {("accepted", 1), ("unreadable_media", 1)}

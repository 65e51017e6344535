"""The database is away: what people and programs are told, that nothing is half done, and how it goes on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import InterfaceError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from django.test import Client

from accounts import limits, outages, tokens
from accounts.errors import Code
from accounts.models import User
from media_analysis import custody, health, housekeeping, live, services
from media_analysis.management.commands import run_worker
from media_analysis.middleware import OVERSIZED_FLAG, REFUSED_FLAG
from media_analysis.models import Analysis, Media, Submission
from media_analysis.progress import ProgressReporter
from media_analysis.uploads import StagedFile
from sentinel_site import bodies
from sentinel_site.bodies import LimitBody
from tests.media_analysis.factories import a_result, make_analysis, make_done

FORM = b"multipart/form-data; boundary=x"


@contextmanager
def database_away(error: Exception | None = None) -> Iterator[None]:
    """Whoever asks it anything meanwhile is told that there is no connection to be had."""

    def refuse(*_: object, **__: object) -> None:
        raise error or OperationalError("connection refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "_cursor", refuse)
        yield


@pytest.mark.parametrize("error", [None, InterfaceError("connection already closed")])
def test_pages_say_come_back_in_the_readers_language_without_a_database(as_owner: Client, error: Any) -> None:
    as_owner.raise_request_exception = False
    with database_away(error):
        answers = [
            as_owner.get(path, headers={"Accept-Language": "hi"})
            for path in ("/", "/analyses/", "/analyses/new/", "/accounts/login/", "/admin/", "/r/" + "0" * 24 + "/")
        ]
        as_owner.cookies["django_language"] = "mr"
        chosen = as_owner.get("/analyses/", headers={"Accept-Language": "hi"})
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) > 0
        assert answer["Content-Type"] == "text/html; charset=utf-8"
        assert "no-store" in answer["Cache-Control"]
        assert '<html lang="hi">' in answer.content.decode()
    assert '<html lang="mr">' in chosen.content.decode()
    # And by itself, all is well again.
    assert as_owner.get("/analyses/").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/analyses/", "/api/v1/account/", "/fetch-history", "/api/v1/check/"])
def test_programs_get_a_code_and_when_to_come_again(owner: User, path: str) -> None:
    # The web session reaches them too, and breaks earlier, in middleware.
    client, by_token = Client(), {"Authorization": f"Bearer {tokens.log_in(owner).access}"}
    with database_away():
        answer: Any = client.generic(
            "GET" if path.endswith(("analyses/", "account/")) else "POST",
            path,
            b'{"sha256": "' + b"0" * 64 + b'"}',
            content_type="application/json",
            headers=by_token,
        )
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["error"] == Code.UNAVAILABLE
    assert int(answer["Retry-After"]) > 0


def test_health_says_so_and_being_alive_needs_no_database(db: None) -> None:
    with database_away():
        assert Client().get("/api/v1/health/").status_code == 503
        assert Client().get("/api/v1/live/").status_code == 200


def test_a_file_that_nobody_could_accept_is_refused_unread() -> None:
    """The ASGI application around Django: what it is told, and how much of the body it got."""
    seen: dict[str, Any] = {"bytes": 0}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 1000, "more_body": False}

    async def application(scope: dict[str, Any], receive: Any, _send: Any) -> None:
        seen["flag"] = scope.get(REFUSED_FLAG)
        seen["bytes"] += len((await receive())["body"])

    async def away() -> bool:
        return False

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"1000"), (b"content-type", FORM)]}
    limited = LimitBody(application, max_upload_bytes=5000, is_ready=away)
    asyncio.run(limited(scope, receive, None))  # type: ignore[arg-type]
    assert seen == {"bytes": 0, "flag": Code.UNAVAILABLE}


@pytest.mark.parametrize(("code", "status"), [(Code.UNAVAILABLE, 503), (Code.TOO_SLOW, 408)])
def test_what_was_not_read_is_answered_by_nobody_who_needs_the_database(code: Code, status: int) -> None:
    from django.test import RequestFactory

    from sentinel_site.outage import Outage

    request: Any = RequestFactory().post("/analyses/new/", headers={"Accept-Language": "bn"})
    request.scope = {REFUSED_FLAG: code}
    page = Outage(lambda _: pytest.fail("it was let in"))(request)
    assert page.status_code == status
    assert '<html lang="bn">' in page.content.decode()  # type: ignore[attr-defined]
    request.path = "/api/v1/analyses/"
    assert Outage(lambda _: pytest.fail("it was let in"))(request).status_code == status


def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SILENCE_SECONDS", 0.05)
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not told:
            told.append("first")
            return {"type": "http.request", "body": b"x", "more_body": True}
        await asyncio.Future()
        raise AssertionError

    async def application(scope: dict[str, Any], receive: Any, _send: Any) -> None:
        if REFUSED_FLAG in scope:
            told.append(scope[REFUSED_FLAG])
            assert OVERSIZED_FLAG not in scope
            return
        while (await receive())["type"] != "http.disconnect":
            pass

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"9"), (b"content-type", FORM)]}
    asyncio.run(LimitBody(application, max_upload_bytes=5000)(scope, receive, None))  # type: ignore[arg-type]
    assert told == ["first", Code.TOO_SLOW]


def test_a_body_that_drips_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "FIRST_SECONDS", 0.2)
    received = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        await asyncio.sleep(0.02)
        received += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def application(scope: dict[str, Any], receive: Any, _send: Any) -> None:
        while REFUSED_FLAG not in scope and (await receive())["type"] != "http.disconnect":
            assert received < 100

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"9999"), (b"content-type", FORM)]}
    asyncio.run(LimitBody(application, max_upload_bytes=5000)(scope, receive, None))  # type: ignore[arg-type]
    assert received >= 3


def test_sqlite_says_in_one_word_what_is_away_and_what_is_wrong(tmp_path: Path) -> None:
    database = tmp_path / "own.sqlite3"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE a (b INTEGER)")
    read_only = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    holder, waiter = sqlite3.connect(database, isolation_level=None), sqlite3.connect(database, timeout=0)
    holder.execute("BEGIN IMMEDIATE")

    def error_of(statement: str, asked: sqlite3.Connection) -> BaseException:
        with pytest.raises(OperationalError) as raised, DatabaseErrorWrapper(connection):
            asked.execute(statement)
        return raised.value

    assert outages.is_outage(error_of("INSERT INTO a VALUES (1)", waiter))
    assert outages.is_outage(error_of("INSERT INTO a VALUES (1)", read_only))
    assert not outages.is_outage(error_of("SELECT * FROM nowhere", read_only))
    with pytest.raises(OperationalError) as raised, DatabaseErrorWrapper(connection):
        sqlite3.connect(tmp_path / "no/such/folder/own.sqlite3").execute("SELECT 1")
    assert outages.is_outage(raised.value)
    assert not outages.is_outage(ValueError())
    assert not outages.is_outage(None)


def test_what_must_not_be_lost_is_done_as_soon_as_it_can(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr(outages, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(connection, "close", lambda: None)
    left = [OperationalError("away"), InterfaceError("closed")]

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    assert outages.insist(work, seconds=5, what="A test") == "done"
    begun = time.monotonic()

    def never() -> None:
        raise OperationalError("away")

    with pytest.raises(OperationalError):
        outages.insist(never, seconds=0.05, what="A test")
    assert time.monotonic() - begun < 2

    def wrong() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 -- whatever it says
        outages.insist(wrong, seconds=5, what="A test")


@pytest.mark.django_db(transaction=True)
def test_whether_there_is_a_database_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_there_until", 0.0)
    with database_away():
        assert not asyncio.run(health.database_is_there())
    assert asyncio.run(health.database_is_there())
    with database_away():
        # The answer of a moment ago still counts: what fails now is answered by whoever meets it.
        assert asyncio.run(health.database_is_there())
    monkeypatch.setattr(health, "_there_until", 0.0)


def test_nothing_is_half_done_where_it_breaks_off_in_the_middle(owner: User, as_owner: Client) -> None:
    done = make_done(owner)

    def break_off(*_: object, **__: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("media_analysis.services.DeletionReceipt.objects.get_or_create", break_off)
        answer = as_owner.delete(f"/api/v1/analyses/{done.public_id}/")
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    # It is marked, so that it is gone for its owner, and housekeeping completes it.
    assert Media.objects.get().deleted_at is not None
    assert Analysis.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_keeps_its_result_until_it_can_be_written(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "PAUSE_SECONDS", 0.01)
    claimed = services.claim_analysis(make_analysis(owner).pk)
    assert claimed is not None
    with ProgressReporter(claimed) as report_progress:
        with database_away():
            # It goes on as if nothing were, and heartbeats go on after it.
            report_progress("judging", 0.5)
            report_progress("concluding", 0.9)
            assert report_progress._write()
        real = services._write_result
        lost = [OperationalError("server closed the connection unexpectedly")] * 2

        def write(*arguments: Any) -> bool:
            if len(lost) > 1:
                # Nothing was written.
                raise lost.pop()
            written = real(*arguments)
            if lost:
                # It was, and the answer to the commit got lost.
                raise lost.pop()
            return written

        monkeypatch.setattr(services, "_write_result", write)
        assert services.finish_analysis(claimed, a_result(), {"frame-9.jpg": b"jpeg"})
    done = Analysis.objects.get()
    assert (done.status, done.attempts) == ("done", 1)
    assert default_storage.exists(done.evidence[0])
    # Written once: who tries again with something else has lost it.
    assert not services.finish_analysis(claimed, a_result(seconds=9.0), {"frame-9.jpg": b"other"})
    assert custody.events_of(done.media.public_id).filter(event=custody.Event.ANALYSED).count() == 1


def test_after_an_outage_nobody_is_missed_at_once(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    """Heartbeats stood still meanwhile, though their workers live: they get the time to beat again."""
    looks: list[str] = []

    def look() -> int:
        looks.append("for lost workers")
        return 0

    monkeypatch.setattr(services, "requeue_stalled", look)
    monkeypatch.setattr(housekeeping, "_quiet_until", 0.0)
    housekeeping.tidy_up()
    assert len(looks) == 1
    with database_away(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "close_all", lambda: None)
        beat, watch = health.WorkerBeat(), housekeeping.IdleWatch()
        assert run_worker.look_after(beat, watch, 1e12) == (1e12, False)
    housekeeping.tidy_up()
    assert len(looks) == 1
    monkeypatch.setattr(housekeeping, "_quiet_until", 0.0)
    housekeeping.tidy_up()
    assert len(looks) == 2


def test_what_may_have_been_accepted_keeps_its_file(owner: User, clip: Path, settings: Any, tmp_path: Path) -> None:
    """A connection that is lost at the commit leaves it open whether the row is there: then the file has to be."""
    path = tmp_path / "staged"
    path.write_bytes(clip.read_bytes())
    staged = StagedFile(path=path, name="clip.mp4", size=path.stat().st_size, sha256="a" * 64, md5="b" * 32)

    def lose(*_: object, **__: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("media_analysis.services.Analysis.objects.create", lose)
        with pytest.raises(OperationalError):
            services.submit_media(owner=owner, source=Submission.Source.WEB, staged=staged)
    assert len(list(Path(settings.MEDIA_ROOT).rglob("original"))) == 1
    # This time it was not: nothing names it, and after an hour housekeeping takes it away.
    assert not Media.objects.exists()
    (stored,) = Path(settings.MEDIA_ROOT).rglob("original")
    long_ago = time.time() - 7200
    os.utime(stored, (long_ago, long_ago))
    housekeeping.sweep_abandoned_files()
    assert not stored.exists()


def test_a_file_is_on_the_disk_before_anybody_is_told_that_it_was_accepted(
    owner: User, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its bytes, and of its name in each folder that was made for it."""
    path = tmp_path / "staged"
    path.write_bytes(clip.read_bytes())
    staged = StagedFile(path=path, name="clip.mp4", size=path.stat().st_size, sha256="a" * 64, md5="b" * 32)
    synced: list[str] = []
    real_fsync, real_spend = os.fsync, limits.spend

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_fsync(descriptor)

    def spend(*arguments: Any) -> Any:
        synced.append("first row")
        return real_spend(*arguments)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(limits, "spend", spend)
    analysis = services.submit_media(owner=owner, source=Submission.Source.WEB, staged=staged)
    stored = Path(analysis.media.file.path)
    before = synced[: synced.index("first row")]
    assert {str(stored.parent), str(stored.parent.parent)} <= set(before)
    assert any(each in before for each in (str(stored), str(path))), before


def test_without_its_channel_layer_a_worker_tells_nobody_and_goes_on(owner: User, settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # Nobody listens there.
            "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1/0", "socket_connect_timeout": 1.0}]},
        }
    }
    live.nudge(make_analysis(owner))

"""What watchers get from what was read, without a network; and the time that those who wait are told."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError
from django.test import Client

from accounts.models import User
from media_analysis import consumers
from media_analysis.estimates import Outlook, Running, seconds_left, wait
from media_analysis.hub import PICTURES_A_SECOND, PICTURES_KEPT, Hub, Picture, Reading, Wanted, Watched, Watcher
from media_analysis.models import Analysis, LiveEvent
from tests.media_analysis.factories import make_done
from tests.web_sockets import open_socket

STREAM = "a" * 24
NOW = datetime(2026, 11, 23, tzinfo=UTC)
RUNNING, DONE, QUEUED = Analysis.Status.RUNNING, Analysis.Status.DONE, Analysis.Status.QUEUED


@pytest.fixture
def hub() -> Hub:
    async def make() -> Hub:
        return Hub()

    return asyncio.run(make())


@pytest.fixture
def watched() -> Watched:
    return Watched(1, "b" * 24)


def face(number: int) -> LiveEvent:
    return LiveEvent(number=number, kind="face", payload={"frame": number})


def reading(*events: LiveEvent, stream: str = STREAM, status: Analysis.Status = RUNNING, progress: int = 0) -> Reading:
    return Reading(status, "judging", progress, stream, events)


def drain(watcher: Watcher, now: float = 0.0) -> list[Any]:
    """Everything that there is to send at one moment."""
    found = []
    while (message := watcher.next_message(now)[0]) is not None:
        found.append(message)
        if not isinstance(message, bytes) and message["type"] in {"finished", "gone"}:
            break
    return found


def numbers(messages: list[Any]) -> list[int]:
    return [event["number"] for message in messages for event in message.get("events", [])]


def show(watched: Watched, *frames: int) -> None:
    for frame in frames:
        stream = watched.stream
        stream.pictures.append(Picture(stream.pictures_read, frame, b"jpeg"))
        stream.pictures_read += 1


def test_every_event_comes_once_whenever_somebody_joins(hub: Hub, watched: Watched) -> None:
    early = Watcher(watched, hub)
    watched.take(reading(face(0)), None)
    first = drain(early)
    watched.take(reading(face(1), face(2)), None)
    late = Watcher(watched, hub)
    watched.take(reading(face(3)), None)
    assert numbers(first + drain(early)) == [0, 1, 2, 3]
    assert numbers(drain(late)) == [0, 1, 2, 3]
    assert drain(late) == []


def test_who_returns_gets_the_rest_and_who_has_another_stream_everything(hub: Hub, watched: Watched) -> None:
    watched.take(reading(face(0), face(1), face(2)), None)
    [back] = drain(Watcher(watched, hub, STREAM, 2))
    assert (back["number"], numbers([back])) == (2, [2])
    [other] = drain(Watcher(watched, hub, "c" * 24, 2))
    assert (other["number"], numbers([other])) == (0, [0, 1, 2])
    [too_far] = drain(Watcher(watched, hub, STREAM, 99))
    assert (too_far["number"], numbers([too_far])) == (3, [])


def test_a_new_try_begins_anew_and_the_end_comes_last(hub: Hub, watched: Watched) -> None:
    watcher = Watcher(watched, hub)
    watched.take(reading(face(0), face(1)), None)
    drain(watcher)
    watched.take(reading(stream="", status=QUEUED), Outlook(2, 9.0))
    [waiting] = drain(watcher)
    assert (waiting["type"], waiting["stream"], waiting["position"], waiting["seconds_left"]) == ("begin", "", 2, 9.0)
    watched.take(reading(face(0), stream="d" * 24), None)
    [begin] = drain(watcher)
    assert (begin["type"], begin["stream"], numbers([begin])) == ("begin", "d" * 24, [0])
    watched.take(reading(face(1), stream="d" * 24, status=DONE), None)
    rest, end = drain(watcher)
    assert numbers([rest]) == [1]
    assert end == {"type": "finished", "status": "done", "url": f"/analyses/{'b' * 24}/"}


def test_state_is_told_when_it_changes_and_only_as_it_is_now(hub: Hub, watched: Watched) -> None:
    watcher = Watcher(watched, hub)
    watched.take(reading(), None)
    drain(watcher)
    for progress in (10, 20, 30):
        watched.take(reading(progress=progress), None)
    [state] = drain(watcher)
    assert (state["type"], state["progress"]) == ("state", 30)
    watched.take(reading(progress=30), None)
    assert drain(watcher) == []


def test_a_deleted_analysis_is_gone_for_its_watchers(hub: Hub, watched: Watched) -> None:
    watcher = Watcher(watched, hub)
    watched.take(reading(), None)
    watched.take(None, None)
    assert drain(watcher)[-1] == {"type": "gone"}


def test_who_keeps_up_gets_every_picture_and_who_does_not_the_newest_but_every_score(
    hub: Hub, watched: Watched
) -> None:
    quick, slow = Watcher(watched, hub), Watcher(watched, hub)
    watched.take(reading(), None)
    drain(quick)
    drain(slow)
    seen: list[int] = []
    for frame in range(100):
        watched.take(reading(face(frame)), None)
        show(watched, frame)
        seen += [int.from_bytes(each[:4], "big") for each in drain(quick) if isinstance(each, bytes)]
    assert seen == list(range(100))
    messages = drain(slow)
    assert numbers([each for each in messages if not isinstance(each, bytes)]) == list(range(100))
    assert [int.from_bytes(each[:4], "big") for each in messages if isinstance(each, bytes)] == [99]
    assert len(watched.stream.pictures) == PICTURES_KEPT


def test_the_more_watch_the_fewer_pictures_each_is_sent(hub: Hub, watched: Watched) -> None:
    hub._watchers = 50
    watcher = Watcher(watched, hub)
    watched.take(reading(), None)
    sent = 0
    for tick in range(100):
        show(watched, tick)
        sent += sum(isinstance(each, bytes) for each in drain(watcher, now=1000 + tick / 50))
    # Two seconds.
    assert sent == pytest.approx(2 * PICTURES_A_SECOND / 50, abs=1)


def test_who_comes_while_the_last_one_leaves_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    closing, go_on, asked = threading.Event(), threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        assert go_on.wait(10)

    def read(wanted: list[Wanted]) -> dict[int, Reading]:
        if [each.pk for each in wanted] == [2]:
            asked.set()
        return {}

    monkeypatch.setattr("media_analysis.hub.close_connection", close)
    monkeypatch.setattr("media_analysis.hub.read", read)
    monkeypatch.setattr("media_analysis.hub.read_outlooks", lambda _pks: {})

    async def come_and_go() -> None:
        hub = Hub()
        await hub.leave(await hub.join(1, "b" * 24))
        first = await hub.join(1, "b" * 24)
        await asyncio.sleep(0)
        await hub.leave(first)
        assert await asyncio.to_thread(closing.wait, 10)
        # The task that reads is at its end, but has not ended.
        last = await hub.join(2, "c" * 24)
        go_on.set()
        assert await asyncio.to_thread(asked.wait, 10)
        await hub.leave(last)

    asyncio.run(come_and_go())


def test_the_time_to_wait_grows_with_what_is_before() -> None:
    running = [Running(0, NOW - timedelta(seconds=1), "video")]
    for before in (0, 1, 20):
        assert (
            wait(running, before, {"video": before}, "video", typical={"video": 4.0}, now=NOW)
            == 3.0 + 4.0 * before + 4.0
        )


def test_two_at_a_time_halve_the_wait_and_photos_count_as_photos() -> None:
    running, typical = [Running(0, NOW, "video")] * 2, {"video": 4.0, "image": 1.0}
    assert wait(running, 0, {}, "image", typical=typical, now=NOW) == (4 + 4) / 2 + 1
    assert wait(running, 1, {"image": 1}, "video", typical=typical, now=NOW) == (4 + 4 + 1) / 2 + 4
    # Of so many the kinds are not looked up: the usual mixture.
    assert wait(running, 1000, {}, "video", typical=typical, now=NOW) == (4 + 4 + 2500) / 2 + 4


def test_where_nothing_is_known_no_time_is_told() -> None:
    running = Running(5, NOW - timedelta(seconds=3), "video")
    assert seconds_left(running, {}, NOW) is None
    assert wait([running], 1, {"video": 1}, "video", typical={}, now=NOW) is None
    assert seconds_left(Running(50, NOW - timedelta(seconds=3), "video"), {}, NOW) == 3.0


@pytest.mark.django_db(transaction=True)
def test_a_socket_that_cannot_be_opened_counts_for_nobody(
    owner: User, as_owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a full disk, while pages come again and again, would lock its reader out for good."""
    path = f"/ws/analyses/{make_done(owner).public_id}/"

    async def fail(*_arguments: Any) -> None:
        raise OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(consumers, "_note_look", fail)
        assert async_to_sync(open_socket)(path, as_owner) == consumers.BROKEN
    assert not consumers._open
    assert async_to_sync(open_socket)(f"{path}?next={'9' * 5000}", as_owner)["type"] == "begin"
    assert not consumers._open

"""Which analysis is examined next: by priority, in turns of its users, and nobody for ever last."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from operator import attrgetter
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts import clock, limits
from accounts.ids import new_public_id
from accounts.models import User
from media_analysis import cases, estimates, links, mobile_selectors, queue_messages, scheduling, services
from media_analysis.models import Analysis, Media, Submission, WorkerState
from media_analysis.scheduling import Ability
from tests.conftest import make_user
from tests.media_analysis.factories import make_analysis, make_done, make_media
from tests.media_analysis.test_submit import upload
from tests.queries import asked_at_most

pytestmark = pytest.mark.django_db(transaction=True)

PERSON, BATCH, AGAIN = Analysis.Priority.PERSON, Analysis.Priority.BATCH, Analysis.Priority.AGAIN
HERE = Ability(("default",), "tiny-test")


@pytest.fixture(autouse=True)
def _no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is taken for having waited longest, unless a test says so."""
    monkeypatch.setattr(random, "randrange", lambda _sides: 1)


@pytest.fixture
def longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "randrange", lambda _sides: 0)


def ask(owner: User, source: str = Submission.Source.WEB, **options: Any) -> Analysis:
    """As if a file came in now."""
    media = Media(owner=owner, kind="video", size=1, width=1, height=1, file="media/x/original")
    media.save()
    return Analysis.objects.create(media=media, **scheduling.place(owner, source, **options))


def take(ability: Ability = HERE) -> Analysis:
    claimed = services.claim_next(ability)
    assert claimed is not None
    return claimed


def end(analysis: Analysis) -> None:
    Analysis.objects.filter(pk=analysis.pk).update(status=Analysis.Status.DONE, finished_at=timezone.now())


def work_off() -> Iterator[Analysis]:
    """What one worker does, one after the other."""
    while (claimed := services.claim_next(HERE)) is not None:
        yield claimed
        end(claimed)


def test_one_of_another_user_comes_before_five_hundred_of_one(owner: User, stranger: User) -> None:
    for _ in range(40):
        ask(owner)
    running = take()
    single = ask(stranger)
    assert scheduling.position(single) == 1
    end(running)
    assert take() == single


def test_users_take_turns_however_many_files_each_has(owner: User, stranger: User) -> None:
    third = make_user("third")
    for user, count in ((owner, 4), (stranger, 2), (third, 1)):
        for _ in range(count):
            ask(user, priority=BATCH)
    names = [claimed.media.owner.username for claimed in work_off()]
    assert names == ["owner", "stranger", "third", "owner", "stranger", "owner", "owner"]


def test_who_was_served_lately_does_not_go_first_again(owner: User, stranger: User) -> None:
    for _ in range(4):
        ask(owner)
    served = []
    for _ in range(6):
        # The stranger sends the next file only when the last one is through, and so has never more than one waiting.
        if not Analysis.objects.filter(media__owner=stranger, status="queued").exists():
            ask(stranger)
        claimed = take()
        served.append(claimed.media.owner.username)
        end(claimed)
    assert served.count("owner") == served.count("stranger") == 3


def test_a_person_comes_before_a_batch_and_both_before_what_is_examined_again(owner: User, stranger: User) -> None:
    again = services.examine_again(make_done(owner).media, requester=owner)
    batch = ask(owner, Submission.Source.BOT)
    person = ask(stranger)
    assert [(claimed.pk, claimed.priority) for claimed in work_off()] == [
        (person.pk, PERSON),
        (batch.pk, BATCH),
        (again.pk if again else 0, AGAIN),
    ]


def test_what_is_examined_again_makes_no_batch_of_what_somebody_sends(owner: User) -> None:
    for _ in range(scheduling.BATCH_FROM):
        assert services.examine_again(make_done(owner).media, requester=owner)
    assert ask(owner).priority == PERSON


@pytest.mark.parametrize(
    ("source", "priority"),
    [("web", PERSON), ("api", PERSON), ("link", PERSON), ("bot", BATCH), ("command", BATCH)],
)
def test_the_way_in_and_how_many_wait_decide_whether_it_is_a_batch(
    owner: User, source: str, priority: Analysis.Priority
) -> None:
    asked = [ask(owner, source) for _ in range(7)]
    expected = [priority] * 5 + [BATCH] * 2 if priority == PERSON else [BATCH] * 7
    assert [analysis.priority for analysis in asked] == expected


def test_what_has_waited_longest_goes_first_once_in_eight(owner: User, stranger: User, longest_first: None) -> None:
    old = ask(owner, priority=AGAIN)
    Analysis.objects.filter(pk=old.pk).update(queued_at=timezone.now() - timedelta(hours=1))
    ask(stranger)
    assert take() == old


def test_nothing_starves_while_others_keep_coming(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    lot = random.Random(7)
    monkeypatch.setattr(random, "randrange", lot.randrange)
    old = ask(owner, priority=AGAIN)
    for number in range(100):
        # Another person, who has never been served, for every file that is done.
        ask(make_user(f"person{number}"))
        claimed = take()
        end(claimed)
        if claimed == old:
            return
    pytest.fail("it was never taken")


def test_the_place_that_is_told_is_the_place_that_it_has(owner: User, stranger: User) -> None:
    for _ in range(7):
        ask(owner)
    mine = [ask(stranger), ask(stranger)]
    again = ask(owner, priority=AGAIN)
    told = {analysis.pk: scheduling.position(analysis) for analysis in Analysis.objects.all()}
    real = {claimed.pk: place for place, claimed in enumerate(work_off())}
    assert told == real
    assert told[mine[0].pk] == 1
    assert told[again.pk] == 9


def test_who_is_behind_younger_ones_is_told_of_those_that_overtake(owner: User, stranger: User) -> None:
    """An older one with a lower priority may be taken for its age, once for every seven that are before both."""
    for _ in range(3):
        ask(stranger, priority=AGAIN)
    people = [ask(make_user(f"person{number}")) for number in range(15)]
    assert scheduling.position(people[6]) == 6
    assert scheduling.position(people[7]) == 8
    assert scheduling.position(people[14]) == 16


def random_queue(lot: random.Random, owner: User, size: int) -> list[Analysis]:
    """Of many kinds, with much that is equal: a few running or done, a few that ask for a detector nobody offers."""
    now = timezone.now().replace(microsecond=0)
    Media.objects.all().delete()
    files = Media.objects.bulk_create(
        Media(public_id=new_public_id(), owner=owner, kind=lot.choice(["video", "image"]), size=1, width=1, height=1)
        for _ in range(size)
    )
    return Analysis.objects.bulk_create(
        Analysis(
            public_id=new_public_id(),
            media=media,
            status=lot.choice(["queued"] * 8 + ["running", "done"]),
            lane=lot.choice(["default", "default", "default", "gpu"]),
            wanted_detector=lot.choice(["", "", "small", "gone"]),
            priority=lot.choice([PERSON, BATCH, BATCH, AGAIN]),
            turn=lot.randrange(4),
            queued_at=now - timedelta(seconds=lot.randrange(size)),
            started_at=now - timedelta(seconds=lot.randrange(1, 20)),
            finished_at=now,
        )
        for media in files
    )


def counted_one_by_one(everything: list[Analysis], one: Analysis, offered: set[str]) -> int:
    """How many waiting ones are before one, by the definition."""
    queue = [
        each
        for each in everything
        if each.status == "queued" and each.lane == one.lane and each.wanted_detector in {one.wanted_detector, *offered}
    ]
    in_order = attrgetter(*scheduling.IN_ORDER)
    ahead = [each for each in queue if in_order(each) < in_order(one)]
    older = [each for each in queue if each.queued_at < one.queued_at]
    if len(ahead) < 7:
        return len(ahead)
    older_behind = [each for each in older if each not in ahead]
    return min(len(ahead) + min(len(ahead) // 7, len(older_behind)), 8 * (len(older) + 1) - 1)


@pytest.mark.parametrize("seed", range(4))
def test_places_are_told_as_counted_one_by_one(owner: User, settings: Any, seed: int) -> None:
    settings.SENTINEL_OFFERED_DETECTORS = ["small"]
    lot = random.Random(seed)
    everything = random_queue(lot, owner, lot.choice([5, 30, 60]))
    offered = {"default": {"", "small"}, "gpu": {""}}
    waiting = [each for each in everything if each.status == "queued"]
    before = {each.pk: counted_one_by_one(everything, each, offered[each.lane]) for each in waiting}
    assert scheduling.waiting_before(waiting) == list(before.values())
    running = Counter(each.lane for each in everything if each.status == "running")
    for one in lot.sample(waiting, 3):
        with asked_at_most(3):
            assert scheduling.position(one) == running[one.lane] + before[one.pk]
    # What those who watch are told does not depend on how many do.
    able = [Ability(("default", "gpu"), "small")]
    some = [each.pk for each in lot.sample(everything, 5)]
    with patch.object(clock, "now", return_value=timezone.now()):
        one_by_one = [estimates.outlooks([pk], able) for pk in some]
        assert estimates.outlooks(some, able) == {pk: told for each in one_by_one for pk, told in each.items()}


def test_many_who_watch_cost_no_more_queries_than_one(owner: User) -> None:
    for _ in range(12):
        ask(owner)
    take()
    for watched in (1, 12):
        with asked_at_most(8):
            estimates.outlooks(Analysis.objects.values_list("pk", flat=True)[:watched], [HERE])


def test_files_that_come_in_at_the_same_moment_take_turns_of_their_own(owner: User, stranger: User) -> None:
    twins = [ask(owner) for _ in range(4)]
    Analysis.objects.update(turn=twins[0].turn)
    for analysis in Analysis.objects.order_by("pk"):
        services.enqueue(analysis)
    assert sorted(Analysis.objects.values_list("turn", flat=True)) == [0, 1, 2, 3]


def test_many_workers_at_once_take_each_analysis_once(owner: User, stranger: User) -> None:
    for user in (owner, stranger):
        for _ in range(8):
            ask(user)

    def work(_number: int) -> list[int]:
        taken = []
        try:
            while (claimed := services.claim_next(HERE)) is not None:
                taken.append(claimed.pk)
        finally:
            connection.close()
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [pk for pks in pool.map(work, range(4)) for pk in pks]
    assert sorted(taken) == sorted(Analysis.objects.values_list("pk", flat=True))


def test_a_worker_takes_only_what_it_can_do(owner: User, settings: Any) -> None:
    settings.SENTINEL_OFFERED_DETECTORS = ["large:gpu", "small"]
    large, small, whichever = ask(owner, detector="large"), ask(owner, detector="small"), ask(owner)
    assert (large.lane, small.lane, whichever.lane) == ("gpu", "default", "default")
    assert services.claim_next(Ability(("default",), "other")) == whichever
    assert services.claim_next(Ability(("default",), "other")) is None
    assert services.claim_next(Ability(("gpu",), "small")) is None
    assert take(Ability(("default", "gpu"), "large")) == large
    assert take(Ability(("default",), "small")) == small
    with pytest.raises(KeyError):
        scheduling.place(owner, detector="unknown")


def test_a_file_that_is_still_fetched_is_nobodys_to_take(owner: User) -> None:
    fetching = make_analysis(owner, stage="fetching", lane="")
    assert services.claim_next(HERE) is None
    assert scheduling.position(fetching) == 0
    # Also if its row says otherwise, as one that was written before there were lanes.
    Analysis.objects.update(lane="default")
    assert services.claim_next(HERE) is None


def test_a_detector_can_be_asked_for_if_it_is_offered(as_owner: Client, clip: Any, settings: Any) -> None:
    settings.SENTINEL_OFFERED_DETECTORS = ["large:gpu"]
    with clip.open("rb") as file:
        refused = as_owner.post("/api/v1/analyses/", {"file": file, "detector": "unknown"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_field")
    with clip.open("rb") as file:
        answer = as_owner.post("/api/v1/analyses/", {"file": file, "detector": "large"})
    assert answer.status_code == 201
    analysis = Analysis.objects.get()
    assert (analysis.lane, analysis.wanted_detector) == ("gpu", "large")
    link = as_owner.post(
        "/api/v1/analyses/", {"url": "https://example.org/a.mp4", "detector": "large"}, "application/json"
    )
    assert link.json()["error"] == "invalid_field"


def said_on(client: Client, page: str) -> str:
    """Where it stands in the queue, by the page that says so."""
    return client.get(page).content.decode().split("data-position>")[1].split("</span>")[0]


def test_who_waits_in_vain_is_told(as_owner: Client, clip: Any) -> None:
    upload(as_owner, clip)
    analysis = Analysis.objects.get()
    page, progress = f"/analyses/{analysis.public_id}/", f"/api/v1/analyses/{analysis.public_id}/progress/"
    assert "is not running right now" in said_on(as_owner, page)
    assert as_owner.get(progress).json()["served"] is False
    assert estimates.outlooks([analysis.pk], [])[analysis.pk] == estimates.Outlook(0, None, served=False)
    WorkerState.objects.create(name="host:1", lanes=["default"], detector="tiny-test")
    assert "It is next." in said_on(as_owner, page)
    assert as_owner.get(progress).json()["served"] is True


def test_looking_ahead_goes_by_the_order(owner: User, stranger: User) -> None:
    now = timezone.now()
    for _ in range(3):
        make_done(owner, started_at=now - timedelta(seconds=4), finished_at=now)
    for _ in range(3):
        ask(owner)
    single = ask(stranger)
    take()
    found = estimates.outlooks(Analysis.objects.values_list("pk", flat=True), [HERE])
    assert len(found) == 4
    assert found[single.pk].position == 1
    assert found[single.pk].seconds_left == pytest.approx(8, abs=0.5)


def test_a_file_is_examined_again_beside_the_result_that_it_has(as_admin: Client, owner: User) -> None:
    done = make_done(owner, announced_at=timezone.now())
    answer = as_admin.post(
        "/admin/media_analysis/analysis/", {"action": "examine_again", "_selected_action": [done.pk]}, follow=True
    )
    assert "1 file will be examined again." in answer.content.decode()
    again = Analysis.objects.exclude(pk=done.pk).get()
    assert (again.status, again.priority, again.media_id) == ("queued", AGAIN, done.media_id)
    assert services.examine_again(done.media, requester=owner) is None
    # Until there is a new result, apps see the old one; and nobody is notified of it.
    assert mobile_selectors.latest_analysis(done.media) == done
    assert len(mobile_selectors.history(owner)[0]["vdata"]) == 1
    assert again.announced_at is not None
    done.refresh_from_db()
    assert done.status == "done"


@pytest.mark.parametrize("status", ["queued", "running", "failed"])
def test_the_result_that_a_file_has_stands_until_there_is_a_new_one(owner: User, status: str) -> None:
    url = "https://example.org/clip.mp4"
    first, _is_new = links.submit_link(owner=owner, source=Submission.Source.WEB, url=url)
    Analysis.objects.filter(pk=first.pk).update(status="done", stage="", outcome="FAKE")
    Media.objects.filter(pk=first.media_id).update(file="media/clip/original")
    first.media.refresh_from_db()
    seat = cases.take_seat(owner, cases.open_case(owner, "A case", {}).public_id)
    cases.add_media(seat, [first.media.public_id])
    again = services.examine_again(first.media, requester=owner)
    assert again is not None
    Analysis.objects.filter(pk=again.pk).update(status=status)

    def shown() -> list[Analysis | None]:
        in_case = [cases.show_files(list(cases.files_of(seat.case, with_results=whole))) for whole in (False, True)]
        return [
            *(file.analysis for files in in_case for file in files),
            mobile_selectors.latest_analysis(first.media),
            links.find_earlier(owner, url),
        ]

    assert shown() == [first] * 4
    # What the apps' list shows is what the custody log says was seen.
    assert mobile_selectors.history(owner)[1] == {first.media.public_id: first.public_id}
    Analysis.objects.filter(pk=again.pk).update(status="done", outcome="REAL")
    assert shown() == [again] * 4
    assert mobile_selectors.history(owner)[1] == {first.media.public_id: again.public_id}


def test_what_examines_a_file_again_costs_nothing_and_waits_last_when_it_is_tried_again_too(owner: User) -> None:
    again = services.examine_again(make_done(owner).media, requester=owner)
    assert again is not None
    Analysis.objects.filter(pk=again.pk).update(status="failed", error_code="internal_error")
    again.refresh_from_db()
    used = limits.used(owner)
    assert services.retry_analysis(again)
    again.refresh_from_db()
    assert (again.status, again.priority, limits.used(owner)) == ("queued", AGAIN, used)


def test_a_deleted_file_is_not_examined_again(owner: User) -> None:
    assert services.examine_again(make_media(owner, deleted_at=timezone.now()), requester=owner) is None
    assert not Analysis.objects.exists()


def test_a_worker_that_hears_nothing_looks_for_itself(owner: User) -> None:
    broker = get_broker()
    assert not broker.dequeue()
    analysis = make_analysis(owner)
    broker._look_at = 0.0
    [(acknowledgement, package)] = broker.dequeue()
    message = SignedPackage.loads(package)
    assert (acknowledgement, message["func"], message["args"]) == (None, queue_messages.RUN_NEXT, ())
    assert take() == analysis
    broker._look_at = 0.0
    assert not broker.dequeue()


def test_workers_hear_of_their_own_lanes_only(settings: Any) -> None:
    settings.SENTINEL_WORKER_LANES, settings.SENTINEL_DETECTOR = ["gpu"], "large"
    for lane, wanted in (("default", ""), ("gpu", "other"), ("gpu", "large"), ("gpu", "")):
        queue_messages.tell(lane, wanted)
    broker = get_broker()
    assert broker.names == ["sentinel:gpu", "sentinel:gpu:large"]
    assert len([broker.dequeue() for _ in range(2)]) == 2
    assert not broker.dequeue()
    assert OrmQ.objects.filter(lock__lt=timezone.now()).count() == 2


def test_a_broker_that_is_away_fails_nobody_and_is_complained_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue_messages, "_trouble", queue_messages.Trouble("The broker"))
    monkeypatch.setattr(queue_messages, "LEAVE_ALONE_SECONDS", 0.0)
    with patch.object(queue_messages, "async_task", side_effect=RedisConnectionError("refused")):
        for _ in range(20):
            queue_messages.tell("default")
    assert [record.message for record in caplog.records if "away" in record.message] == [
        "The broker is away, and nothing is lost by it: refused"
    ]
    queue_messages.tell("default")
    assert "The broker is back" in caplog.text


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_all_files_that_another_detector_examined_are_examined_again(owner: User, settings: Any) -> None:
    old, new = make_done(owner, detector_version="1"), make_done(owner, detector_version="2")
    make_media(owner)
    assert run("reanalyse", "--unless-by", "tiny-test:2", "--limit", "5") == "1 files wait to be examined again.\n"
    assert Analysis.objects.get(priority=AGAIN).media_id == old.media_id
    assert run("reanalyse", new.media.public_id) == "1 files wait to be examined again.\n"
    assert run("reanalyse") == "0 files wait to be examined again.\n"
    with pytest.raises(CommandError, match="no files"):
        run("reanalyse", "unknown")
    with pytest.raises(CommandError, match="SENTINEL_OFFERED_DETECTORS"):
        run("reanalyse", "--detector", "large")


def test_autoscalers_are_told_what_waits_by_lane_and_priority(owner: User) -> None:
    make_analysis(owner, spent=False, lane="gpu", priority=BATCH, queued_at=timezone.now() - timedelta(seconds=70))
    make_analysis(owner, spent=False, status="running")
    WorkerState.objects.create(name="host:1", lanes=["default"], detector="tiny-test")
    told = json.loads(run("queue_state", "--json"))
    assert (told["waiting"], told["running"], told["unserved"], told["workers_alive"]) == (1, 1, 1, 1)
    [default, gpu] = told["lanes"]
    assert (default["lane"], default["running"], default["workers"]) == ("default", 1, 1)
    assert (gpu["lane"], gpu["waiting"], gpu["workers"]) == ("gpu", 1, 0)
    assert 70 <= gpu["oldest_waiting_seconds"] < 100
    assert [each["waiting"] for each in told["priorities"] if each["lane"] == "gpu"] == [0, 1, 0]
    people = run("queue_state")
    assert "gpu          batch    1 waiting, the oldest for 7" in people
    assert "1 wait for what no worker that lives can do." in people

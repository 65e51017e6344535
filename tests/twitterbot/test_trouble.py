"""What the bot does when X does not do as it is asked: each answer goes out once all the same, and no request more."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.twitterbot.conftest import due_now, statuses
from tests.twitterbot.fake_x import BOT, FakeX, Fault
from twitterbot import outbox, services
from twitterbot.bot import Bot, make_client
from twitterbot.client import XClient, XError
from twitterbot.models import BotState, Mention, Reply, XAccount

pytestmark = pytest.mark.django_db

LATER = {"x-rate-limit-limit": "300", "x-rate-limit-remaining": "0"}


def ready(x: FakeX) -> None:
    """A mention whose answers are written and go out with the next round."""
    state = services.state()
    tag = x.mention(by="asha")
    mention = Mention.objects.create(
        tweet_id=tag,
        account=XAccount.objects.create(twitter_id=int(x.posts[tag]["author_id"]), handle="asha"),
        conversation_id=tag,
        language="en",
        posted_at=timezone.now(),
        bystanders=[1002],
        status=Mention.Status.ANSWERED,
    )
    Reply.objects.create(mention=mention, kind=Reply.Kind.REPLY, text="Signs of manipulation found.")
    message = "Details: https://example.org/\n\nReference: 0a1b2c3d"
    Reply.objects.create(mention=mention, kind=Reply.Kind.DIRECT, text=message, reference="0a1b2c3d")
    BotState.objects.filter(pk=state.pk).update(since_id=tag)


def sent(x: FakeX) -> tuple[int, int]:
    return len(x.replies), len(x.messages)


def of(kind: Reply.Kind) -> Reply:
    return Reply.objects.get(kind=kind)


def in_seconds(seconds: float) -> str:
    return str(int(time.time() + seconds))


def test_too_many_reads_wait_for_the_time_that_x_names_and_answers_go_on(x: FakeX, bot: Bot) -> None:
    ready(x)
    x.faults.append(Fault("mentions", 429, {**LATER, "x-rate-limit-reset": in_seconds(600)}))
    assert not bot.round()
    state = BotState.objects.get()
    assert state.last_error == "too_many_requests"
    assert state.read_after is not None
    assert 590 < (state.read_after - timezone.now()).total_seconds() < 610
    assert sent(x) == (1, 1)
    asked = x.count("mentions")
    # Another process knows of it too.
    Bot(make_client()).round()
    assert x.count("mentions") == asked
    BotState.objects.update(read_after=timezone.now())
    assert bot.round()
    assert x.count("mentions") == asked + 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({**LATER, "x-rate-limit-reset": "60"}, 1),
        ({}, 900),
        ({**LATER, "x-rate-limit-reset": "soon"}, 900),
        ({"x-rate-limit-remaining": "5", "x-rate-limit-reset": "9", "x-user-limit-24hour-remaining": "0"}, 900),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "99999999999"}, 24 * 3600),
    ],
)
def test_a_reset_time_that_says_nothing_is_neither_for_ever_nor_at_once(
    x: FakeX, bot: Bot, headers: dict[str, str], seconds: float
) -> None:
    x.faults.append(Fault("mentions", 429, headers))
    bot.round()
    after = BotState.objects.get().read_after
    assert after is not None
    assert abs((after - timezone.now()).total_seconds() - seconds) < 10


def test_the_limit_of_a_day_is_waited_for_by_its_own_header(x: FakeX, bot: Bot) -> None:
    ready(x)
    headers = {
        "x-rate-limit-remaining": "99",
        "x-rate-limit-reset": in_seconds(60),
        "x-user-limit-24hour-remaining": "0",
        "x-user-limit-24hour-reset": in_seconds(7200),
    }
    x.faults.append(Fault("dm", 429, headers))
    bot.round()
    assert sent(x) == (1, 0)
    x.mention(by="ravi")
    due_now()
    bot.round()
    # No message is even tried, not those of others either.
    assert x.count("dm") == 1
    state = BotState.objects.get()
    assert state.message_after is not None
    assert state.message_after > timezone.now() + timedelta(minutes=110)
    # It was no failed try.
    assert of(Reply.Kind.REPLY).status == Reply.Status.SENT
    assert Reply.objects.get(mention__account__handle="asha", kind=Reply.Kind.DIRECT).attempts == 0
    BotState.objects.update(message_after=timezone.now())
    due_now()
    bot.round()
    assert sent(x) == (1, 2)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 503, "body": b"<html>over capacity</html>"},
        {"status": 500, "body": b'["not", "an", "object"]'},
        {"status": 200, "body": b'{"data": [{"id": "1"'},
        {"status": 200, "body": b"[]"},
        {"status": 200, "body": b'{"data": "nothing"}'},
        {"status": 0},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
        {"status": 401},
        {"status": 403},
    ],
)
def test_reading_that_fails_is_tried_again_later_and_loses_nothing(x: FakeX, bot: Bot, fault: dict[str, Any]) -> None:
    x.mention(by="asha")
    x.faults.append(Fault("mentions", **fault))
    assert not bot.round()
    state = BotState.objects.get()
    assert state.read_after is not None
    assert (state.failures, state.since_id) == (1, None)
    assert state.last_error
    BotState.objects.update(read_after=timezone.now())
    assert bot.round()
    assert BotState.objects.get().failures == 0
    assert sent(x) == (0, 1)


def test_a_second_page_that_fails_is_read_again_from_the_first(x: FakeX, bot: Bot) -> None:
    for number in range(105):
        x.mention(by="asha", text=f"@sentinelcheck {number}")
    x.faults.append(Fault("mentions", 503, after=1))
    client = make_client()
    with pytest.raises(XError, match="status_503"):
        services.take_in_mentions(client, BOT)
    # The newest hundred are known; the place to go on from is not theirs.
    assert Mention.objects.count() == 100
    assert BotState.objects.get().since_id is None
    assert services.take_in_mentions(client, BOT) == 5
    assert services.take_in_mentions(client, BOT) == 0
    assert Mention.objects.count() == 105


@pytest.mark.parametrize(
    "broken",
    [
        {"conversation_id": {"not": "a number"}},
        {"conversation_id": str(2**63)},
        {"created_at": "yesterday"},
        {"id": "none"},
    ],
)
def test_one_post_that_cannot_be_read_keeps_no_other_from_being_answered(
    x: FakeX, db: None, broken: dict[str, Any]
) -> None:
    x.posts[x.mention(by="asha")].update(broken)
    x.mention(by="ravi")
    assert services.take_in_mentions(make_client(), BOT) == 1
    assert Mention.objects.get().account.handle == "ravi"


def test_a_zero_character_in_a_text_is_left_out(x: FakeX, db: None) -> None:
    x.mention(text="@sentinelcheck \x00 real?", media=[x.add_video()])
    services.take_in_mentions(make_client(), BOT)
    assert Mention.objects.get().claims["title"] == "@sentinelcheck  real?"


def test_an_answer_that_breaks_off_keeps_no_other_from_going_out(
    x: FakeX, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(x)
    monkeypatch.setattr(XClient, "reply", lambda *_args, **_options: 1 / 0)
    bot.round()
    assert sent(x) == (0, 1)
    assert of(Reply.Kind.REPLY).error == "internal_error"


@pytest.mark.parametrize("route", ["reply", "dm"])
@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        pytest.param({"status": 0}, marks=pytest.mark.slow),
        pytest.param({"status": 201, "body": b'{"data": {"id"'}, marks=pytest.mark.slow),
    ],
)
def test_in_doubt_x_is_asked_before_anything_is_sent_again(
    x: FakeX, bot: Bot, route: str, done: bool, fault: dict[str, Any]
) -> None:
    ready(x)
    x.faults.append(Fault(route, done=done, **fault))
    bot.round()
    look = "own" if route == "reply" else "dm_events"
    assert x.count(look) == 0
    for _ in range(3):
        Reply.objects.update(handed_over_at=timezone.now() - timedelta(minutes=1))
        due_now()
        bot.round()
    assert sent(x) == (1, 1)
    assert x.count(look) == 1
    assert x.count(route) == (1 if done else 2)
    assert set(Reply.objects.values_list("status", flat=True)) == {"sent"}
    assert Reply.objects.filter(sent_id__isnull=True).count() == 0


def test_nobody_looks_before_x_can_show_what_it_has(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.TWITTER_DOUBT_SECONDS = 60.0
    ready(x)
    x.faults.append(Fault("reply", 503, done=True))
    bot.round()
    due_now()
    bot.round()
    assert (x.count("own"), x.count("reply")) == (0, 1)
    reply = of(Reply.Kind.REPLY)
    assert reply.status == Reply.Status.WAITING
    assert reply.next_try_at > timezone.now() + timedelta(seconds=50)


def test_an_answer_that_takes_too_long_is_in_doubt_too(x: FakeX, bot: Bot, settings: Any) -> None:
    ready(x)
    settings.TWITTER_TIMEOUT_SECONDS = 0.3
    impatient = Bot(make_client())
    x.faults.append(Fault("dm", 201, done=True, hangs=1.0))
    impatient.round()
    assert of(Reply.Kind.DIRECT).error == "timed_out"
    assert len(x.messages) == 1
    Reply.objects.update(handed_over_at=timezone.now() - timedelta(minutes=1))
    due_now()
    impatient.round()
    assert sent(x) == (1, 1)
    assert of(Reply.Kind.DIRECT).status == Reply.Status.SENT


def test_closed_messages_are_noted_and_the_reply_goes_out_all_the_same(x: FakeX, bot: Bot) -> None:
    ready(x)
    x.closed.add(1001)
    bot.round()
    due_now()
    bot.round()
    assert sent(x) == (1, 0)
    message = of(Reply.Kind.DIRECT)
    assert (message.status, message.error, message.attempts) == (Reply.Status.FAILED, "closed", 1)
    assert x.count("dm") == 1
    assert statuses() == ["answered"]


def test_a_reply_that_x_refuses_for_good_is_left_and_the_message_still_goes_out(x: FakeX, bot: Bot) -> None:
    ready(x)
    x.restricted.add(Mention.objects.get().tweet_id)
    bot.round()
    due_now()
    bot.round()
    assert sent(x) == (0, 1)
    assert of(Reply.Kind.REPLY).error == "status_403"
    assert x.count("reply") == 1


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (402, {"title": "CreditsDepleted", "detail": "Your enrolled account does not have any credits left."}),
        (403, {"title": "SpendCapReached", "detail": "Your account has reached its billing cycle spend cap."}),
    ],
)
def test_what_is_refused_until_somebody_pays_goes_out_then(
    x: FakeX, bot: Bot, status: int, problem: dict[str, str]
) -> None:
    ready(x)
    x.faults += [Fault(route, status, body=json.dumps(problem).encode()) for route in ("mentions", "reply", "dm")]
    assert not bot.round()
    bot.round()
    assert (sent(x), x.count("reply"), x.count("dm")) == ((0, 0), 1, 1)
    assert set(Reply.objects.values_list("status", "error", "attempts")) == {("waiting", "unpaid", 0)}
    state = BotState.objects.get()
    assert state.last_error == "unpaid"
    assert state.read_after is not None
    assert state.read_after > timezone.now() + timedelta(minutes=50)
    BotState.objects.update(read_after=None, reply_after=None, message_after=None)
    due_now()
    assert bot.round()
    assert sent(x) == (1, 1)


def test_a_text_that_x_calls_a_duplicate_is_made_different_once(x: FakeX, bot: Bot) -> None:
    ready(x)
    x.replies.append({"id": 1, "to": 1, "text": "Signs of manipulation found.", "without": []})
    for _ in range(3):
        bot.round()
        due_now()
    reply = of(Reply.Kind.REPLY)
    assert x.replies[1]["text"] == f"Signs of manipulation found. ({reply.reference})"
    assert (len(x.replies), x.count("reply"), reply.status) == (2, 2, Reply.Status.SENT)


def test_others_who_cannot_be_left_out_are_no_reason_not_to_answer(x: FakeX, bot: Bot) -> None:
    ready(x)
    x.faults.append(Fault("reply", 400))
    bot.round()
    due_now()
    bot.round()
    assert [reply["without"] for reply in x.replies] == [[]]


@pytest.mark.slow
def test_it_gives_up_in_the_end(x: FakeX, bot: Bot) -> None:
    ready(x)
    x.faults += [Fault("dm", 503) for _ in range(20)]
    for _ in range(outbox.MAX_ATTEMPTS + 2):
        bot.round()
        Reply.objects.update(handed_over_at=timezone.now() - timedelta(minutes=1))
        due_now()
    message = of(Reply.Kind.DIRECT)
    assert (message.status, message.attempts) == (Reply.Status.FAILED, outbox.MAX_ATTEMPTS)
    assert sent(x) == (1, 0)


def test_a_day_later_nobody_wants_an_answer(x: FakeX, bot: Bot) -> None:
    ready(x)
    BotState.objects.update(reply_after=timezone.now() + timedelta(hours=1))
    bot.round()
    Reply.objects.filter(kind=Reply.Kind.REPLY).update(created_at=timezone.now() - timedelta(days=2))
    BotState.objects.update(reply_after=None)
    bot.round()
    assert sent(x) == (0, 1)
    assert of(Reply.Kind.REPLY).status == Reply.Status.DROPPED


def test_two_bots_by_mistake_send_nothing_twice(x: FakeX, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(x)
    other = Bot(make_client())
    # The other comes to each answer while it is on its way.
    claimed = []
    genuine = outbox.claim_due

    def claim_twice(kind: Reply.Kind) -> Reply | None:
        claimed.append(genuine(kind))
        assert genuine(kind) is None or claimed[-1] is None
        return claimed[-1]

    monkeypatch.setattr(outbox, "claim_due", claim_twice)
    bot.round()
    other.round()
    assert len([reply for reply in claimed if reply]) == 2
    assert sent(x) == (1, 1)


def test_whoever_lost_an_answer_to_another_process_does_not_send_it(x: FakeX, bot: Bot) -> None:
    ready(x)
    BotState.objects.update(reply_after=timezone.now() + timedelta(hours=1))
    bot.round()
    reply = outbox.claim_due(Reply.Kind.REPLY)
    assert reply is not None
    Reply.objects.filter(pk=reply.pk).update(claimed_at=timezone.now() - timedelta(minutes=5))
    assert outbox.recover_lost() == 1
    outbox.deliver(make_client(), BOT, reply, "reply_after")
    assert x.count("reply") == 0


def test_wrong_keys_are_told_from_a_busy_server(x: FakeX, settings: Any, db: None) -> None:
    settings.TWITTER_API_SECRET = "another"
    wrong = Bot(make_client())
    assert not wrong.round()
    state = BotState.objects.get()
    assert state.last_error == "unauthorized"
    assert state.read_after is not None
    assert state.read_after > timezone.now() + timedelta(minutes=14)


def test_a_token_that_does_not_say_whose_it_is_costs_one_question(x: FakeX, settings: Any, db: None) -> None:
    settings.TWITTER_ACCESS_TOKEN = "opaque"
    x.mention()
    unknown = Bot(make_client())
    assert not unknown.round()
    # The fake knows only the other token; that it was asked is what counts here.
    assert x.count("me") == 1

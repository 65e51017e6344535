"""What DATABASE_URL is read as, and on MongoDB: that what needs no transaction is exact without any."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, connections
from django.db.models import Q
from django.test import Client
from django_q.models import OrmQ

from accounts import limits, tokens
from accounts.ids import new_public_id
from accounts.models import User
from media_analysis import custody, links, notifications, queue_messages, selectors, services
from media_analysis.models import Analysis, Media, Submission
from sentinel_site import databases
from tests.media_analysis.factories import make_analysis, make_done, make_media
from tests.queries import asked

HERE = Path("/somewhere")
on_mongodb = pytest.mark.skipif(connection.vendor != "mongodb", reason="about MongoDB: make test-mongodb")


def read(url: str, seconds: float = 60.0) -> dict[str, Any]:
    return databases.read(url, HERE, seconds)


def test_sqlite_writes_ahead_waits_and_reaches_the_disk() -> None:
    config = read("sqlite:////data/sentinel.sqlite3")
    assert (config["ENGINE"], config["NAME"]) == ("django.db.backends.sqlite3", "/data/sentinel.sqlite3")
    assert config["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in config["OPTIONS"]["init_command"]
    assert config["TEST"] == {"NAME": "/somewhere/test.sqlite3"}
    assert databases.migration_modules(config) == {}
    assert databases.engine_apps(config) == []


def test_postgresql_gives_up_in_time_and_is_told_otherwise_by_the_address() -> None:
    config = read("postgres://asha:secret@db.example.org:5433/sentinel?connect_timeout=2&CONN_MAX_AGE=60")
    assert (config["HOST"], config["PORT"], config["NAME"]) == ("db.example.org", 5433, "sentinel")
    assert (config["USER"], config["PASSWORD"]) == ("asha", "secret")
    assert config["OPTIONS"]["connect_timeout"] == 2
    assert "statement_timeout=60000" in config["OPTIONS"]["options"]
    assert (config["CONN_MAX_AGE"], config["CONN_HEALTH_CHECKS"]) == (60, True)
    assert "statement_timeout=0" in read("postgres://host/name", seconds=0)["OPTIONS"]["options"]


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
def test_mongodb_answers_once_a_write_is_safe_and_brings_its_migrations(scheme: str) -> None:
    config = read(f"{scheme}://asha:secret@db.example.org/sentinel?w=2&replicaSet=rs0")
    assert (config["ENGINE"], config["NAME"]) == (databases.MONGODB, "sentinel")
    assert config["HOST"] == f"{scheme}://asha:secret@db.example.org/sentinel?w=2&replicaSet=rs0"
    assert (config["OPTIONS"]["journal"], config["OPTIONS"]["readPreference"]) == (True, "primary")
    assert "w" not in config["OPTIONS"]
    assert databases.migration_modules(config)["media_analysis"] == "sentinel_site.migrations_mongodb.media_analysis"
    assert databases.engine_apps(config) == ["sentinel_site.mongodb"]
    assert databases.key_field(config).endswith("ObjectIdAutoField")


@pytest.mark.parametrize("url", ["mysql://host/name", "mongodb://host", "mongodb://host:27017/?w=1"])
def test_any_other_address_stops_the_start(url: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        read(url)


def at_once(function: Any, each: Any) -> list[Any]:
    """What the function gives for each, asked by eight threads with connections of their own."""

    def ask(one: Any) -> Any:
        try:
            return function(one)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, each))


@on_mongodb
def test_nothing_in_it_has_an_integer_for_a_key(owner: User) -> None:
    analysis = make_analysis(owner)
    assert len(str(analysis.pk)) == len(str(owner.pk)) == 24
    assert Analysis.objects.get(pk=str(analysis.pk)) == analysis


@on_mongodb
def test_each_analysis_is_claimed_once(owner: User) -> None:
    waiting = [make_analysis(owner, spent=False).pk for _ in range(6)]
    claimed = [each.pk for each in at_once(services.claim_analysis, waiting * 8) if each]
    assert sorted(claimed) == sorted(waiting)


@on_mongodb
def test_the_daily_limit_is_exact(owner: User, settings: Any) -> None:
    settings.SENTINEL_DAILY_LIMIT = 5

    def spend(_number: int) -> bool:
        try:
            limits.spend(owner, new_public_id())
        except limits.DailyLimitReached:
            return False
        return True

    assert sum(at_once(spend, range(24))) == 5
    assert limits.used(owner) == 5


@on_mongodb
def test_a_custody_log_has_every_event_once_and_in_a_chain(owner: User) -> None:
    media = make_media(owner)
    at_once(lambda number: custody.record(media.public_id, custody.Event.VIEWED, what=str(number)), range(40))
    chain = list(custody.events_of(media.public_id))
    assert [event.number for event in chain] == list(range(40))
    assert {event.details["what"] for event in chain} == {str(number) for number in range(40)}
    assert custody.check(chain) == []


@on_mongodb
def test_each_message_of_the_queue_is_taken_once(db: None) -> None:
    for _ in range(30):
        queue_messages.tell("default")
    assert OrmQ.objects.count() == 30
    brokers = [queue_messages.DatabaseBroker("sentinel") for _ in range(8)]
    taken = at_once(lambda number: brokers[number % 8].listen(), range(80))
    ids = [key for found in taken for key, _payload in found]
    assert len(ids) == len(set(ids)) == 30


@on_mongodb
def test_unique_keys_refuse_a_second_row_and_let_several_empty_ones_be(owner: User) -> None:
    media = make_media(owner)
    for _ in range(2):
        Submission.objects.create(media=media, submitted_by=owner, source="web")
    Submission.objects.create(media=media, submitted_by=owner, source="web", idempotency_key="once")
    with pytest.raises(IntegrityError):
        Submission.objects.create(media=media, submitted_by=owner, source="web", idempotency_key="once")


@on_mongodb
def test_what_is_searched_by_a_unique_key_is_found_by_its_index(db: None) -> None:
    database: Any = connection
    for name, columns in (("accounts_user", ["public_id"]), ("media_analysis_media", ["public_id"])):
        indexes = database.database[name].index_information().values()
        [unique] = [index for index in indexes if [key for key, _order in index["key"]] == columns]
        # The server uses no partial index for such a search.
        assert unique["unique"]
        assert "partialFilterExpression" not in unique


@on_mongodb
def test_a_history_reads_its_own_files_and_nobody_elses(owner: User, stranger: User, as_owner: Client) -> None:
    for user in (owner, stranger):
        for _ in range(3):
            make_done(user)
    own = set(Media.objects.filter(owner=owner).values_list("pk", flat=True))
    token = {"authorization": f"Bearer {tokens.log_in(owner).access}"}
    with asked() as commands:
        page = as_owner.get("/analyses/?name=clip")
        listed = as_owner.get("/api/v1/analyses/?state=done&kind=video")
        everything = Client().post("/fetch-history", headers=token)
        notifications.under_way(owner)
        list(notifications.unread_of(owner))
        links.find_earlier(owner, "https://example.org/clip.mp4")
    assert page.content.decode().count("clip.mp4") >= 3
    assert listed.json()["count"] == len(everything.json()["vdata"]) == 3
    reads = [each for each in commands if each.get("aggregate") == "media_analysis_analysis"]
    assert len(reads) >= 5
    for command in reads:
        [keys] = [each["media_id"]["$in"] for each in command["pipeline"][0]["$match"]["$and"] if "media_id" in each]
        assert set(keys) <= own, command
    for command in commands:
        # Joined to what was chosen by columns of its own.
        if "aggregate" in command and any("$lookup" in stage for stage in command["pipeline"]):
            assert "$match" in command["pipeline"][0], command


@on_mongodb
def test_rows_are_chosen_before_others_are_joined_to_them(owner: User) -> None:
    analysis, other = make_analysis(owner), make_analysis(owner)
    with asked() as commands:
        assert selectors.get_analysis(owner, analysis.public_id) == analysis
        found = Analysis.objects.filter(Q(stage="") | Q(stage="reading"), media__owner=owner, status="queued")
        assert set(found.exclude(pk=other.pk)) == {analysis}
    first, second = [each["pipeline"][0]["$match"]["$and"] for each in commands]
    assert {"public_id": analysis.public_id} in first
    assert {"status": "queued"} in second


def count_users(answers: Any) -> None:
    answers.put(User.objects.count())


@on_mongodb
def test_a_forked_process_has_connections_of_its_own(owner: User) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=count_users, args=(answers,)) for _ in range(3)]
    for child in children:
        child.start()
    assert [answers.get(timeout=20) for _ in children] == [1, 1, 1]
    for child in children:
        child.join(10)
    assert User.objects.count() == 1

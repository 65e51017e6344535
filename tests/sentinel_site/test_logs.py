"""Log lines: whose they are, and what is never in them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.template.loader import render_to_string
from django.test import Client

from accounts import correlation
from accounts.correlation import Work, working_on
from accounts.models import User
from sentinel_site import error_reports, logs
from sentinel_site.json_logs import JsonFormatter
from sentinel_site.request_ids import GiveRequestId
from tests.accounts.calls import bearer
from tests.media_analysis.factories import make_done

SECRETS = [
    "Authorization: Bearer abcdefgh12345678",
    "Authorization: Basic b3duZXI6YSBsb25nIGFuZCB1bmxpa2VseSBvbmU=",
    "{'Authorization': 'Token b3duZXI6YSBsb25nIGFuZCB1'}",
    "Cookie: sessionid=b3duZXI6YSBsb25nIGFuZCB1; csrftoken=q",
    "sent Bearer b3duZXI6YSBsb25nIGFuZCB1",
    "eyJhbGciOiJIUzI1NiJ9.b3duZXI6YSBsb25nIGFuZCB1.c2ln",
    "connecting to postgres://sentinel:b3duZXI6YSBsb25nIGFuZCB1@db/sentinel",
    "redis://:b3duZXI6YSBsb25nIGFuZCB1@10.0.0.1/0",
    "GET /bucket/o?X-Amz-Credential=b3duZXI6YSBsb25nIGFuZCB1&X-Amz-Signature=b3duZXI6YSBsb25nIGFuZCB1",
    "/login?password=b3duZXI6YSBsb25nIGFuZCB1&next=/",
    '{"password": "b3duZXI6YSBsb25nIGFuZCB1"}',
    "new_password1=b3duZXI6YSBsb25nIGFuZCB1",
    "refresh_token: b3duZXI6YSBsb25nIGFuZCB1",
    "AWS_SECRET_ACCESS_KEY=b3duZXI6YSBsb25nIGFuZCB1",
    "Not Found: /accounts/password-reset/MQ/b3duZXI6YSBsb25nIGFuZCB1/",
]


@pytest.fixture
def lines() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger with the handler of LOG_FORMAT=json, and what it wrote."""
    yield from _logger(JsonFormatter())


@pytest.fixture
def plain_lines() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """The same of the default."""
    yield from _logger(logs.LineFormatter())


def _logger(formatter: logging.Formatter) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    handler.addFilter(logs.Correlate())
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, written
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_blotted_out_of_messages_arguments_and_tracebacks(
    secret: str, lines: tuple[logging.Logger, io.StringIO], plain_lines: tuple[logging.Logger, io.StringIO]
) -> None:
    logger, _ = lines
    logger.warning(secret)
    logger.warning("It said %r", {"text": secret})
    try:
        raise ValueError(secret)
    except ValueError:
        logger.exception("It broke")
    for written in (lines[1].getvalue(), plain_lines[1].getvalue()):
        assert "It broke" in written
        assert "***" in written
        assert "b3duZXI6" not in written
        assert "abcdefgh12345678" not in written


def test_what_is_no_secret_stays() -> None:
    for text in (
        "Analysis 0123456789abcdef01234567 failed: unreadable_media",
        "Not Found: /analyses/0123456789abcdef01234567/",
        "code: file_too_large, detector sentinel-lite 2.0.0",
        "The link of analysis 0123456789abcdef01234567: not_found https://example.org/watch?v=x",
    ):
        assert logs.scrub(text) == text


def test_a_json_line_says_what_it_is_about(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    with working_on(Work(request_id="a-request-id", analysis="an-analysis")):
        logger.warning("Something\nin two lines")
    logger.warning("Nothing")
    about, nothing = (json.loads(line) for line in written.getvalue().splitlines())
    assert about["message"] == "Something\nin two lines"
    assert (about["request_id"], about["analysis"]) == ("a-request-id", "an-analysis")
    assert {"time", "level", "logger", "host", "process", "thread", "version"} <= set(about)
    assert "request_id" not in nothing


def test_the_readable_line_has_the_ids_in_brackets(plain_lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = plain_lines
    with working_on(Work(request_id="a-request-id", analysis="an-analysis")):
        logger.warning("Something")
    logger.warning("Nothing")
    about, nothing = written.getvalue().splitlines()
    assert about.endswith("WARNING tests.logs [a-request-id an-analysis]: Something")
    assert nothing.endswith("WARNING tests.logs: Nothing")


def test_threads_and_async_views_know_what_is_worked_on() -> None:
    async def view() -> list[str]:
        with working_on(Work(request_id="async")):
            inside = await sync_to_async(correlation.request_id)()
            other = await asyncio.to_thread(correlation.request_id)
            return [inside, other, correlation.request_id()]

    assert asyncio.run(view()) == ["async"] * 3
    with working_on(Work(request_id="mine")), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, correlation.request_id).result() == "mine"
        assert pool.submit(correlation.request_id).result() == ""
    # A process that examines one file at a time does so in threads that inherit nothing.
    found: list[str] = []
    with working_on(Work(analysis="a file"), whole_process=True):
        thread = threading.Thread(target=lambda: found.append(correlation.current().analysis))
        thread.start()
        thread.join()
    assert found == ["a file"]
    assert correlation.current() == Work()


async def _ask(headers: list[tuple[bytes, bytes]], *, trust_proxy: bool) -> tuple[dict[bytes, bytes], dict[str, Any]]:
    seen: dict[str, Any] = {}

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.update(request_id=correlation.request_id(), headers=dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b""})

    entrance = GiveRequestId(application, trust_proxy=trust_proxy)
    asked = ApplicationCommunicator(entrance, {"type": "http", "headers": headers})  # type: ignore[no-untyped-call]
    await asked.send_input({"type": "http.request", "body": b""})  # type: ignore[no-untyped-call]
    start = await asked.receive_output()  # type: ignore[no-untyped-call]
    return dict(start["headers"]), seen


def test_each_request_gets_an_id_that_the_answer_repeats() -> None:
    given = [(b"x-request-id", b"from-a-proxy-1234"), (b"traceparent", b"00-1-2-01")]
    answer, seen = asyncio.run(_ask(given, trust_proxy=False))
    assert answer[b"x-own"] == b"1"
    # Nobody is trusted: neither the id nor the trace.
    assert answer[b"x-request-id"] != b"from-a-proxy-1234"
    assert len(answer[b"x-request-id"]) == 32
    assert seen["request_id"] == answer[b"x-request-id"].decode()
    assert b"traceparent" not in seen["headers"]

    answer, seen = asyncio.run(_ask(given, trust_proxy=True))
    assert answer[b"x-request-id"] == b"from-a-proxy-1234"
    assert seen["headers"][b"traceparent"] == b"00-1-2-01"
    assert correlation.request_id() == ""


@pytest.mark.parametrize("bad", [b"", b"short", b"x" * 65, b"two words 12", b"line\nbreak-1234", b"\xfcmlaut-1234"])
def test_an_id_that_could_break_a_log_line_is_not_taken_from_a_proxy(bad: bytes) -> None:
    answer, _ = asyncio.run(_ask([(b"x-request-id", bad)], trust_proxy=True))
    assert len(answer[b"x-request-id"]) == 32


def test_two_ids_are_none() -> None:
    both = [(b"x-request-id", b"from-a-proxy-1234"), (b"x-request-id", b"from-somebody-else")]
    answer, _ = asyncio.run(_ask(both, trust_proxy=True))
    assert len(answer[b"x-request-id"]) == 32


def test_the_page_of_a_failure_says_the_id() -> None:
    assert "a-request-id" in render_to_string("500.html", {"request_id": "a-request-id"})


def test_what_goes_along_with_an_error_names_nobody() -> None:
    ours = {
        "type": "log",
        "level": "info",
        "category": "media_analysis.tasks",
        "message": "token=abcdef",
        "timestamp": 1,
    }
    assert error_reports.without_secrets_too({**ours}, {}) == {**ours, "message": "token=***"}
    assert error_reports.without_secrets_too({**ours, "category": "axes.handlers"}, {}) is None
    assert error_reports.without_secrets_too({**ours, "type": "http"}, {}) is None
    event: Any = {
        "request": {"method": "POST", "url": "https://site/x?token=1", "cookies": {"a": "b"}, "data": "file"},
        "user": {"ip_address": "203.0.113.9"},
        "extra": {"name": "private"},
        "exception": {"values": [{"value": "postgres://sentinel:secretword@db/x"}]},
    }
    told = error_reports.without_secrets(event, {})
    assert told is not None
    assert told["request"] == {"method": "POST", "url": "https://site/x"}
    assert "user" not in told
    assert "extra" not in told
    assert "secretword" not in str(told)


@pytest.mark.django_db
def test_what_is_refused_to_somebody_is_in_the_log(
    as_stranger: Client, stranger: User, owner: User, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    analysis = make_done(owner)
    page, program = f"/analyses/{analysis.public_id}/", f"/api/v1/analyses/{analysis.public_id}/"
    as_stranger.get(page)
    client.get(program, headers=bearer(stranger), REMOTE_ADDR="192.0.2.7")
    Client().get(page)
    as_stranger.get("/analyses/")
    lines = [record.getMessage() for record in caplog.records if record.name == "accounts.middleware"]
    assert lines == [
        f"User {stranger.public_id} at 127.0.0.1 was refused GET {page}: 404",
        f"User {stranger.public_id} at 192.0.2.7 was refused GET {program}: 404",
    ]

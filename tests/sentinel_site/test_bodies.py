"""What is refused before it is read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from media_analysis.middleware import OVERSIZED_FLAG
from sentinel_site.bodies import SLACK_BYTES, LimitBody

LIMIT = 5 * 1024 * 1024
FORM = b"multipart/form-data; boundary=x"


def send(size: int, content_type: bytes, *, announced: bool = True) -> tuple[str, int]:
    """A body of `size` bytes in pieces; what Django is told of it, and how many of its bytes Django got to see."""
    headers = [(b"content-type", content_type)] + ([(b"content-length", b"%d" % size)] if announced else [])
    pieces = [size // 4, size // 4, size // 4, size - 3 * (size // 4)]
    seen: dict[str, Any] = {"flag": "", "bytes": 0}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * pieces.pop(0), "more_body": bool(pieces)}

    async def application(scope: dict[str, Any], receive: Any, _send: Any) -> None:
        seen["flag"] = scope.get(OVERSIZED_FLAG, "")
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                seen["flag"] = "cut off"
                return
            seen["bytes"] += len(message["body"])
            if not message["more_body"]:
                return

    scope = {"type": "http", "method": "POST", "headers": headers}
    asyncio.run(LimitBody(application, max_upload_bytes=LIMIT)(scope, receive, None))  # type: ignore[arg-type]
    return seen["flag"], seen["bytes"]


@pytest.mark.parametrize(
    ("size", "content_type", "expected"),
    [
        (LIMIT, FORM, ("", LIMIT)),
        (LIMIT + SLACK_BYTES + 1, FORM, ("file", 0)),
        (LIMIT, b"application/offset+octet-stream", ("", LIMIT)),
        (SLACK_BYTES, b"application/json", ("", SLACK_BYTES)),
        (SLACK_BYTES + 1, b"application/json", ("body", 0)),
        (SLACK_BYTES + 1, b"application/x-www-form-urlencoded", ("body", 0)),
        (SLACK_BYTES + 1, b"", ("body", 0)),
    ],
)
def test_only_bodies_that_hold_a_file_may_be_as_large_as_one(
    size: int, content_type: bytes, expected: tuple[str, int]
) -> None:
    assert send(size, content_type) == expected


@pytest.mark.parametrize(("content_type", "limit"), [(FORM, LIMIT + SLACK_BYTES), (b"application/json", SLACK_BYTES)])
def test_a_body_of_unknown_length_is_cut_off_at_the_limit(content_type: bytes, limit: int) -> None:
    flag, received = send(2 * limit, content_type, announced=False)
    assert flag == "cut off"
    assert received <= limit

"""Calling the API in tests: with a token, in each of the three encodings."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from accounts import mails, tokens
from accounts.models import User

ENCODINGS = ["json", "form", "multipart"]


def bearer(user: User, *, device: str = "") -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.log_in(user, device=device).access}"}


def call(client: Client, method: str, path: str, fields: Any = None, *, encoding: str = "json", **options: Any) -> Any:
    body: str | bytes
    match encoding:
        case "json":
            body, content_type = json.dumps(fields), "application/json"
        case "form":
            body, content_type = urlencode(fields), "application/x-www-form-urlencoded"
        case _:
            body, content_type = encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT
    if fields is None:
        return client.generic(method, path, **options)
    return client.generic(method, path, body, content_type=content_type, **options)


def send_mails() -> int:
    """What the worker does all the time; returns how many were due."""
    number = 0
    while mail := mails.claim_due():
        mails.send(mail)
        number += 1
    return number


def post(client: Client, path: str, fields: Any, **options: Any) -> Any:
    return call(client, "POST", path, fields, **options)

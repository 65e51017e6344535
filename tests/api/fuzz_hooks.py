"""Loaded by schemathesis: the requests come from a user who is logged in, again and again, whatever ends the tokens."""

from __future__ import annotations

import os
from typing import Any

import requests
import schemathesis

SITE = os.environ["FUZZ_SITE"]
LOG_IN = {"email": os.environ["FUZZ_EMAIL"], "password": os.environ["FUZZ_PASSWORD"]}


schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


@schemathesis.auth(refresh_interval=2)
class FreshTokens:
    """Some requests end all sessions, so a token is used for two seconds only."""

    def get(self, case: Any, context: Any) -> str:
        answer = requests.post(f"{SITE}/api/v1/tokens/", json=LOG_IN, timeout=120)
        answer.raise_for_status()
        return str(answer.json()["access"])

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}

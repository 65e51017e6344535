"""What all ways in share that are neither forms nor queues."""

from __future__ import annotations

import re

from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.request import Request

from accounts.errors import Code, SentinelError

KEY_HEADER = "Idempotency-Key"
KEY_PATTERN = "[!-~]{1,255}"


def idempotency_key_of(request: HttpRequest | Request) -> str:
    """The client's name for this request, empty without one. Raises ``invalid_field`` unless visible ASCII."""
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return ""
    if not re.fullmatch(KEY_PATTERN, key):
        raise SentinelError(
            Code.INVALID_FIELD, errors={KEY_HEADER: [_("Send 1 to 255 visible ASCII characters, best a random UUID.")]}
        )
    return key

"""System checks: a seal that soon nobody will accept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.checks import CheckMessage, Warning, register
from django.utils import timezone

from reports import seal

WARN_BEFORE = timedelta(days=30)


@register()
def check_certificate(**options: Any) -> list[CheckMessage]:
    ends = seal.identity().certificate.not_valid_after_utc
    if ends - timezone.now() > WARN_BEFORE:
        return []
    return [
        Warning(
            f"The certificate that reports are signed with is valid until {ends:%d %B %Y} only.",
            hint="Set SENTINEL_SIGNING_KEY, or move signing_key.pem away and start anew: docs/integrity.md.",
            id="reports.W001",
        )
    ]

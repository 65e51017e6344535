"""System checks: settings that start, but would do harm or never work."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register()
def check_push_settings(**options: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.SENTINEL_PUSH_ALLOW_PRIVATE:
        found.append(
            Warning(
                "Push messages may go to private addresses: whoever registers a device can reach into this network.",
                hint="Leave SENTINEL_PUSH_ALLOW_PRIVATE to tests.",
                id="media_analysis.W001",
            )
        )
    if not re.match(r"mailto:[^@\s]+@[^@\s]+$|https://\S+$", settings.VAPID_CONTACT):
        found.append(
            Error(
                "VAPID_CONTACT is neither an e-mail nor a web address: push services refuse messages without one.",
                hint="Write it as mailto:somebody@example.org, or set DEFAULT_FROM_EMAIL.",
                id="media_analysis.E001",
            )
        )
    return found


@register()
def check_accel_prefix(**options: Any) -> list[CheckMessage]:
    if not settings.SENTINEL_ACCEL_PREFIX or re.fullmatch(r"/(?:[\w.-]+/)+", settings.SENTINEL_ACCEL_PREFIX):
        return []
    return [
        Error(
            "SENTINEL_ACCEL_PREFIX is no path of its own that begins and ends with a slash: nginx would send nothing.",
            hint="Write it as the `location` of nginx, such as /stored/.",
            id="media_analysis.E002",
        )
    ]

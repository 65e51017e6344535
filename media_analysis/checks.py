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
def check_storage(**options: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.SENTINEL_SCRATCH_BYTES < settings.SENTINEL_MAX_UPLOAD_BYTES:
        found.append(
            Error(
                "SENTINEL_SCRATCH_BYTES is less than SENTINEL_MAX_UPLOAD_BYTES: large files would never be examined.",
                hint="Give it several times as much: each analysis at a time takes one file.",
                id="media_analysis.E003",
            )
        )
    if not settings.MEDIA_STORAGE_URL:
        return found
    # Storage of their own is what makes hosts interchangeable: they come and go, and what one made goes with it.
    if settings.SENTINEL_KEYS_MADE_HERE:
        names = ", ".join(settings.SENTINEL_KEYS_MADE_HERE)
        found.append(
            Error(
                f"{names} must be given when MEDIA_STORAGE_URL is set: keys made on one host are known to no other.",
                hint="Give every host the same, best in files that SECRET_KEY_FILE and so on name: docs/storage.md.",
                id="media_analysis.E004",
            )
        )
    if settings.SENTINEL_ACCEL_PREFIX:
        found.append(
            Error(
                "SENTINEL_ACCEL_PREFIX is for media in a folder, and MEDIA_STORAGE_URL keeps them elsewhere.",
                hint="Leave it out. SENTINEL_MEDIA_LINK_SECONDS has the storage send originals.",
                id="media_analysis.E005",
            )
        )
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        found.append(
            Warning(
                "SQLite is a file of this host: no other host can work on the same analyses.",
                hint="Set DATABASE_URL to a server that all hosts reach.",
                id="media_analysis.W002",
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

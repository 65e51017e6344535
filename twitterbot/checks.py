"""System checks: settings of the bot that start, but would never work or do harm."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

KEYS = ("TWITTER_API_KEY", "TWITTER_API_SECRET", "TWITTER_ACCESS_TOKEN", "TWITTER_ACCESS_TOKEN_SECRET")
ORIGIN = re.compile(r"https?://[\w.-]+(?::\d+)?")


@register()
def check_bot_settings(**options: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    given = [name for name in KEYS if getattr(settings, name)]
    if given and len(given) < len(KEYS):
        found.append(
            Error(
                f"The bot on X has some keys and not others: {', '.join(sorted(set(KEYS) - set(given)))}.",
                hint="Set all four, or none where no bot runs. docs/twitter.md says how to get them.",
                id="twitterbot.E001",
            )
        )
    if wrong := [origin for origin in settings.TWITTER_MEDIA_ORIGINS if not ORIGIN.fullmatch(origin.rstrip("/"))]:
        found.append(
            Error(
                f"TWITTER_MEDIA_ORIGINS holds something else than scheme and host: {', '.join(wrong)}.",
                hint="Write each as https://video.twimg.com.",
                id="twitterbot.E002",
            )
        )
    if given and not settings.TWITTER_API_URL.startswith("https://"):
        found.append(
            Warning(
                "The bot speaks with X without encryption.",
                hint="Leave TWITTER_API_URL to tests.",
                id="twitterbot.W001",
            )
        )
    if given and not settings.SENTINEL_URL:
        found.append(
            Warning(
                "The bot's replies hold no link to the result, since the site's address is not known.",
                hint="Set SENTINEL_URL.",
                id="twitterbot.W002",
            )
        )
    return found

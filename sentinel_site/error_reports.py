"""Errors told to Sentry, or to what speaks its protocol, such as GlitchTip. Imported only where SENTRY_DSN is set.

What goes out is the traceback without the values of its variables, the address without its query, and the ids of
request and analysis, by which the log tells the rest. No bodies, headers, cookies or people.
"""

from __future__ import annotations

from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint

from accounts import correlation
from ml import __version__
from sentinel_site.logs import scrub

# Whose log lines go along. Those of axes and of our accounts name people.
TOLD = ("media_analysis", "reports", "twitterbot", "ml", "sentinel", "django.request", "django-q")
# What is kept of a request.
REQUEST_FIELDS = ("method", "url")


def start() -> None:
    """Tell errors of this process, and of those that it forks, from now on."""
    sentry_sdk.init(**options())


def options() -> dict[str, Any]:
    return {
        "dsn": settings.SENTRY_DSN,
        "release": f"sentinel@{__version__}",
        "send_default_pii": False,
        "max_request_body_size": "never",
        # Variables hold passwords, names of files, whole files.
        "include_local_variables": False,
        "before_send": without_secrets,
        "before_breadcrumb": without_secrets_too,
        # Traces go by OpenTelemetry, if at all.
        "traces_sample_rate": None,
        # Longest that a process waits at its end for somebody to take its last error.
        "shutdown_timeout": 2,
    }


def without_secrets(event: Event, hint: Hint) -> Event | None:
    """The event as it may leave the building."""
    work = correlation.current()
    request = event.pop("request", None) or {}
    for name in ("user", "extra", "modules"):
        event.pop(name, None)  # type: ignore[misc]
    cleaned: Event = clean(event)
    if request:
        kept = {name: clean(request[name]) for name in REQUEST_FIELDS if name in request}
        if "url" in kept:
            kept["url"] = kept["url"].partition("?")[0]
        cleaned["request"] = kept
    tags = {name: value for name, value in (("request_id", work.request_id), ("analysis", work.analysis)) if value}
    cleaned["tags"] = {**dict(cleaned.get("tags") or {}), **tags}
    return cleaned


def without_secrets_too(breadcrumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb | None:
    """A log line on the way to an error, as it may leave. What else is noted holds queries and addresses."""
    if breadcrumb.get("type") != "log" or not str(breadcrumb.get("category")).startswith(TOLD):
        return None
    return {name: clean(breadcrumb[name]) for name in ("type", "level", "category", "message", "timestamp")}


def clean(value: Any) -> Any:
    """The same, however deep, with secrets blotted out of texts."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {name: clean(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    return value

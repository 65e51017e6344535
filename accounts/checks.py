"""What `manage.py check` says of settings about accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from accounts.breached import PREFIX_DIGITS


@register()
def check_breached_passwords(**kwargs: Any) -> list[CheckMessage]:
    """The list of breached passwords is there, if one is named."""
    if not settings.SENTINEL_BREACHED_PASSWORDS_DIR:
        return []
    path = Path(settings.SENTINEL_BREACHED_PASSWORDS_DIR)
    first = path / f"{'0' * PREFIX_DIGITS}.txt"
    if path.is_file() or first.is_file():
        return []
    text = f"SENTINEL_BREACHED_PASSWORDS_DIR names {path}, where there is neither a list nor range files."
    return [Error(text, hint="docs/accounts.md says how to get it.", id="accounts.E001")]


@register()
def check_time_outs(**kwargs: Any) -> list[CheckMessage]:
    """Log-ins last for some time, and those of staff no longer than those of others."""
    hours = {
        name: getattr(settings, f"SENTINEL_{name}_HOURS")
        for name in ("SESSION_IDLE", "SESSION", "STAFF_SESSION_IDLE", "STAFF_SESSION")
    }
    if min(hours.values()) <= 0:
        return [Error("A log-in that lasts no time at all lets nobody in.", id="accounts.E002")]
    if hours["STAFF_SESSION"] > hours["SESSION"] or hours["STAFF_SESSION_IDLE"] > hours["SESSION_IDLE"]:
        text = "Log-ins of staff last longer than those of others (SENTINEL_STAFF_SESSION_HOURS, …_IDLE_HOURS)."
        return [Warning(text, id="accounts.W001")]
    return []

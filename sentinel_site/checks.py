"""System checks: settings that start, but leave the site open to others."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register


@register(Tags.security)
def check_openness(**options: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    public = [host for host in settings.ALLOWED_HOSTS if not is_loopback(host)]
    if public and settings.DEBUG:
        found.append(
            Warning(
                f"DEBUG is on while the site answers to {public[0]}: every error shows settings and code to everybody.",
                hint="Switch DEBUG off.",
                id="sentinel_site.W001",
            )
        )
    if public and not settings.SENTINEL_HTTPS:
        found.append(
            Warning(
                f"The site answers to {public[0]} without HTTPS: passwords and files can be read on the way.",
                hint="Set SENTINEL_URL to its https address, or SENTINEL_HTTPS, behind a proxy that has a certificate.",
                id="sentinel_site.W002",
            )
        )
    if any(host.startswith(("*", ".")) for host in settings.ALLOWED_HOSTS):
        found.append(
            Warning(
                "ALLOWED_HOSTS takes names that anybody can make up: links in mails would lead there.",
                hint="List the names of the site one by one.",
                id="sentinel_site.W003",
            )
        )
    if settings.SENTINEL_URL.startswith("https://") and not settings.SENTINEL_HTTPS:
        found.append(
            Warning(
                "SENTINEL_URL begins with https:// but SENTINEL_HTTPS is off: cookies go out unprotected.",
                hint="Leave SENTINEL_HTTPS out: it follows SENTINEL_URL.",
                id="sentinel_site.W004",
            )
        )
    return found


def is_loopback(host: str) -> bool:
    """Whether a name of ALLOWED_HOSTS is of this machine only."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

"""Where a request comes from."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

MAX_USER_AGENT_LENGTH = 300


def address_of(request: HttpRequest) -> str:
    """The caller's network address; behind a proxy, what the nearest one says it is. Empty if it is not known."""
    address: str = request.META.get("REMOTE_ADDR") or ""
    if settings.REST_FRAMEWORK["NUM_PROXIES"]:
        told: str = request.META.get("HTTP_X_FORWARDED_FOR", "")
        address = told.rpartition(",")[2].strip() or address
    return address[:45]


def user_agent_of(request: HttpRequest) -> str:
    """What the browser or app calls itself."""
    agent: str = request.META.get("HTTP_USER_AGENT", "")
    return agent.replace("\0", "")[:MAX_USER_AGENT_LENGTH]


# The first that is found counts: most browsers also name those that they want to be taken for.
_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "UCBrowser": "UC Browser",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "Chrome": "Chrome",
    "CriOS": "Chrome",
    "Safari": "Safari",
    "okhttp": "okhttp",
    "python-requests": "python-requests",
    "curl": "curl",
}
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def device_name(user_agent: str) -> str:
    """Browser and system in short, such as "Firefox · Windows"; empty where neither is known. Only a hint: anybody
    may send any user agent."""
    found = [next((name for mark, name in names.items() if mark in user_agent), "") for names in (_BROWSERS, _SYSTEMS)]
    return " · ".join(name for name in found if name)

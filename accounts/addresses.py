"""Where a request comes from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest

MAX_USER_AGENT_LENGTH = 300
# Of the 128 bits of an IPv6 address, those that a customer's network is known by: it has all addresses below them.
IPV6_NETWORK_BITS = 64


def address_of(request: HttpRequest) -> str:
    """The caller's network address; behind a proxy, what the nearest one says it is. Empty if it is not known."""
    address: str = request.META.get("REMOTE_ADDR") or ""
    if settings.REST_FRAMEWORK["NUM_PROXIES"]:
        told: str = request.META.get("HTTP_X_FORWARDED_FOR", "")
        address = told.rpartition(",")[2].strip() or address
    return address[:45]


def counted_address(address: str) -> str:
    """What requests of one caller are counted under: the address, of IPv6 its network. Empty for what is no address.

    Whoever has one IPv6 address has 2**64 of them, and would be a new caller with each.
    """
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    rest = 128 - IPV6_NETWORK_BITS
    return str(IPv6Address(int(found) >> rest << rest))


def guarded_address(request: HttpRequest) -> str | None:
    """Where wrong passwords are counted for. None where nobody can tell: all such callers are one."""
    return counted_address(address_of(request)) or None


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

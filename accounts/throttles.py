"""How often a user, or an address that is not logged in, may call the API.

What is counted lies in the cache: with several web processes, one that they share makes the count exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import AnonRateThrottle, SimpleRateThrottle, UserRateThrottle

from accounts.addresses import counted_address


@dataclass(frozen=True, slots=True)
class RateState:
    """Where a caller stands: so many requests in the period, so many left, all again after `reset` seconds."""

    limit: int
    remaining: int
    reset: int


class _Reported(SimpleRateThrottle):
    """Leaves word on the request of where the caller stands, for :class:`accounts.middleware.RateLimitHeaders`."""

    setting: str
    num_requests: int
    duration: int

    def get_ident(self, request: Request) -> str:
        told: str = super().get_ident(request)
        return counted_address(told) or told

    def get_rate(self) -> str | None:
        # Read at each request and not at import, as DRF does, so that tests and settings reach it.
        return getattr(settings, self.setting) or None

    def allow_request(self, request: Request, view: Any) -> bool:
        allowed = super().allow_request(request, view)
        if self.rate is not None and self.key is not None:
            oldest = self.history[-1] if self.history else self.now
            state = RateState(
                limit=self.num_requests,
                remaining=max(self.num_requests - len(self.history), 0),
                reset=max(math.ceil(oldest + self.duration - self.now), 0),
            )
            earlier: RateState | None = getattr(request._request, "rate_state", None)
            if earlier is None or state.remaining < earlier.remaining:
                request._request.rate_state = state  # type: ignore[attr-defined]
        return allowed


class PerUser(_Reported, UserRateThrottle):
    """Requests of one user, from wherever they come. Says nothing about those who are not logged in."""

    setting = "SENTINEL_API_RATE_USER"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return super().get_cache_key(request, view) if request.user and request.user.is_authenticated else None


class PerAddress(_Reported, AnonRateThrottle):
    """Requests from one address that are not logged in."""

    setting = "SENTINEL_API_RATE_ANONYMOUS"


class SignUpPerAddress(_Reported, SimpleRateThrottle):
    """New accounts from one address, by the page and by the API."""

    setting = "SENTINEL_API_RATE_SIGN_UP"
    scope = "sign_up"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class ChecksPerAddress(_Reported, SimpleRateThrottle):
    """Documents that are checked for one address, logged in or not, on the page and by the API."""

    setting = "SENTINEL_CHECK_RATE"
    scope = "check"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class PasswordChecksPerAddress(_Reported, SimpleRateThrottle):
    """How often pages at one address ask, while somebody types a new password, which rules it meets."""

    setting = "SENTINEL_PASSWORD_CHECK_RATE"
    scope = "password_check"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


def hold_to(throttle_class: type[_Reported], request: HttpRequest) -> None:
    """Count a request for a page as the API counts its own. Raises ``rate_limited``."""
    throttle = throttle_class()
    user = request.user
    allowed = throttle.allow_request(Request(request), view=None)
    # Django REST framework knows no session there, and would leave nobody behind in the place of who is logged in.
    request.user = user
    if not allowed:
        # Django REST framework reads this module while that one is being loaded.
        from accounts.api_errors import too_many_requests

        raise too_many_requests(throttle.wait())

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def answer_locked_out(request: HttpRequest, credentials: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
    """After too many failed log-ins: 429, with the time to wait."""
    seconds = int(settings.AXES_COOLOFF_TIME * 3600)
    response = render(request, "accounts/locked_out.html", {"minutes": max(seconds // 60, 1)}, status=429)
    response["Retry-After"] = str(seconds)
    return response

"""Pages for people who are logged in, and where the others come back to once they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import url_has_allowed_host_and_scheme

View = Callable[..., HttpResponseBase]


def signed_in(view: View) -> View:
    """Asks others to log in first, as Django's ``login_required`` does. Whoever sent a form, logged out meanwhile,
    comes back to the page that it stood on: its own address may take nothing but forms.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        return redirect_to_login(_page_of(request))

    return guarded


def _page_of(request: HttpRequest) -> str:
    """The page that a request came from if it sent something, else the one that it asked for; a path of this site."""
    came_from = request.headers.get("Referer", "")
    if request.method in {"GET", "HEAD"} or not url_has_allowed_host_and_scheme(
        came_from, {request.get_host()}, require_https=request.is_secure()
    ):
        return request.get_full_path()
    parts = urlsplit(came_from)
    return parts._replace(scheme="", netloc="", fragment="").geturl()

"""Which language somebody reads: the one of their account, else the browser's cookie, else what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation


def activate_language_of(user: Any) -> None:
    """Go on in the language that this user chose, if they chose one that the site (still) has.

    Django's LocaleMiddleware chooses anew for each request, so this ends with the request.
    """
    if user.language in dict(settings.LANGUAGES):
        translation.activate(user.language)


class AccountLanguageMiddleware:
    """For users of the web session; those with tokens are known later: see :mod:`accounts.authentication`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            activate_language_of(request.user)
            request.LANGUAGE_CODE = translation.get_language() or settings.LANGUAGE_CODE
        return self.get_response(request)

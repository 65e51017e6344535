from __future__ import annotations

from django.http import HttpRequest
from rest_framework import authentication


class SessionAuthentication(authentication.SessionAuthentication):
    """The web session. Says how to authenticate, so that DRF answers 401 and not 403 to those who have not."""

    def authenticate_header(self, request: HttpRequest) -> str:
        return "Session"

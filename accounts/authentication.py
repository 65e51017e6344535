"""Who is asking: by the web session, or by a token of a phone app."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import Token

from accounts import tokens
from accounts.errors import PAGE_OUTDATED_CODE
from accounts.language import activate_language_of
from accounts.models import User


class SessionAuthentication(authentication.SessionAuthentication):
    """The web session. Says how to authenticate, so that DRF answers 401 and not 403 to those who have not."""

    def authenticate_header(self, request: HttpRequest) -> str:
        return "Session"

    def enforce_csrf(self, request: Any) -> None:
        """Raises PermissionDenied with a code of its own, for :mod:`accounts.api_errors`."""
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            raise PermissionDenied(code=PAGE_OUTDATED_CODE) from error


class TokenAuthentication(JWTAuthentication):
    """``Authorization: Bearer`` with an access token whose session has not ended and whose password still holds."""

    def get_user(self, validated_token: Token) -> User:  # type: ignore[override]
        """Raises AuthenticationFailed."""
        user = tokens.user_of(validated_token)
        if user is None:
            raise AuthenticationFailed
        activate_language_of(user)
        return user

    def authenticate_header(self, request: Any) -> str:
        return 'Bearer realm="api"'


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the schema what the session is."""

    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the schema what the token is."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}

"""What the eleven endpoints of the phone apps share, and the two about accounts.

Their paths, fields, codes and texts are a published contract with apps in the field.
"""

from __future__ import annotations

from typing import Any

from rest_framework import parsers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.authentication import TokenAuthentication
from accounts.errors import Code, SentinelError
from accounts.models import User


class MobileView(APIView):
    """Takes a token and nothing else, and bodies in all three encodings."""

    authentication_classes = (TokenAuthentication,)
    permission_classes = (IsAuthenticated,)
    parser_classes = (parsers.JSONParser, parsers.FormParser, parsers.MultiPartParser)


def user_asked_for(request: Request, fields: Any) -> User:
    """The token's user, whom `userId` may name too.

    Raises ``user_not_found`` for an id that nobody has, ``forbidden`` for another user's.
    """
    user: Any = request.user
    named = str(fields.get("userId") or user.public_id)
    if named == user.public_id:
        return user  # type: ignore[no-any-return]
    if User.objects.filter(public_id=named, deleted_at__isnull=True).exists():
        raise SentinelError(Code.FORBIDDEN)
    raise SentinelError(Code.USER_NOT_FOUND)

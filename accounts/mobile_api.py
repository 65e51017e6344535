"""What the eleven endpoints of the phone apps share, and the two about accounts.

Their paths, fields, codes and texts are a published contract with apps in the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import parsers
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import schema, serializers, services
from accounts.authentication import TokenAuthentication
from accounts.errors import Code, SentinelError
from accounts.models import User
from accounts.parsers import JSONParser
from accounts.schema import (
    LOCKED_OUT,
    NO_STORE,
    SECOND_FACTOR,
    TAKEN,
    WITH_BODY,
    WRONG_CREDENTIALS,
    refusals,
    success,
    wrong_field,
)
from accounts.throttles import PerAddress, SignUpPerAddress


class MobileView(APIView):
    """Takes a token and nothing else, and bodies in all three encodings."""

    authentication_classes: Sequence[type[BaseAuthentication]] = (TokenAuthentication,)
    permission_classes: Sequence[type[BasePermission]] = (IsAuthenticated,)
    parser_classes = (JSONParser, parsers.FormParser, parsers.MultiPartParser)


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


class SignUpView(MobileView):
    """Row 1 of the contract."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (PerAddress, SignUpPerAddress)

    @extend_schema(
        summary="Sign up",
        description="Makes an account. Log in next.",
        tags=["mobile"],
        auth=[],
        request=serializers.SignUpInput,
        responses={
            200: success(
                serializers.SignedUpOutput, "Signed up.", {"status": "Registration Successful!", "success": True}
            ),
            **refusals(wrong_field("email", "Enter a valid email address."), TAKEN, *WITH_BODY),
        },
    )
    def post(self, request: Request) -> Response:
        fields, wrong = serializers.text_fields(serializers.SignUpInput, request.data)
        services.sign_up(fields, wrong=wrong)
        return Response({"status": "Registration Successful!", "success": True})


class LogInView(MobileView):
    """Row 2 of the contract."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (PerAddress,)

    @extend_schema(
        summary="Log in",
        description=(
            "Takes the user name, the e-mail address, or both of one account. Who has no account and who has another "
            "password get the same answer. After five failures in a row the name is locked for this address. An "
            "account with a second factor is answered `second_factor_required` until there is a right code in `otp`."
        ),
        tags=["mobile"],
        auth=[],
        request=serializers.LogInInput,
        responses={
            200: success(
                serializers.LoggedInOutput,
                "Logged in.",
                {
                    "status": "Login Successful!",
                    "success": True,
                    "token": schema.ACCESS,
                    "refresh": schema.REFRESH,
                    "userId": schema.MOBILE_USER["id"],
                    "user": schema.MOBILE_USER,
                },
            ),
            **refusals(
                wrong_field("password", "This field is required."),
                WRONG_CREDENTIALS,
                SECOND_FACTOR,
                LOCKED_OUT,
                *WITH_BODY,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        given = serializers.LogInInput(data=request.data)
        given.is_valid(raise_exception=True)
        user, pair = services.log_in(request._request, **given.validated_data)
        answer = {
            "status": "Login Successful!",
            "success": True,
            "token": pair.access,
            "refresh": pair.refresh,
            "userId": user.public_id,
            "user": serializers.MobileUserOutput(user).data,
        }
        return Response(answer, headers=NO_STORE)

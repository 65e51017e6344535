"""/api/v1/: tokens, devices and the account. Each parses, calls one service, and serialises."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import update_session_auth_hash
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts import push, schema, serializers, services, tokens
from accounts.addresses import address_of
from accounts.authentication import SessionAuthentication, TokenAuthentication
from accounts.errors import Code, SentinelError
from accounts.forms import WRONG_PASSWORD
from accounts.models import AppSession, User
from accounts.parsers import JSONParser
from accounts.schema import (
    ALWAYS,
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
from accounts.throttles import SignUpPerAddress


def user_of(request: Request) -> User:
    """Who asks; only behind a permission that lets in nobody else."""
    user: Any = request.user
    return user  # type: ignore[no-any-return]


def session_id_of(request: Request) -> str | None:
    """The device that asks; None for the web session."""
    token: Any = request.auth
    return token[tokens.SESSION_CLAIM] if token else None


class TokensView(APIView):
    """Logging in on a device."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="Log in on a device",
        description=(
            "Takes the user name, the e-mail address, or both of one account. Who has no account and who has another "
            "password get the same answer. After five failures in a row the name is locked for this address. An "
            "account with a second factor is answered `second_factor_required` until there is a right code in `otp`."
        ),
        tags=["tokens"],
        auth=[],
        request=serializers.LogInInput,
        responses={
            200: success(serializers.TokensOutput, "Logged in.", schema.TOKENS),
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
        _, pair = services.log_in(request._request, **given.validated_data)
        return Response(serializers.TokensOutput(pair).data, headers=NO_STORE)


class RefreshView(APIView):
    """Going on on a device after its access token ran out."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="Exchange a refresh token for new tokens",
        description=(
            "A refresh token works once. Keep the new one in its place. One that comes a second time, later than a few "
            "seconds after the first, logs the device out, since somebody else may have it."
        ),
        tags=["tokens"],
        auth=[],
        request=serializers.RefreshInput,
        responses={
            200: success(serializers.TokensOutput, "New tokens.", schema.TOKENS),
            **refusals(wrong_field("refresh", "This field is required."), Code.NOT_AUTHENTICATED, *WITH_BODY),
        },
    )
    def post(self, request: Request) -> Response:
        given = serializers.RefreshInput(data=request.data)
        given.is_valid(raise_exception=True)
        pair = tokens.refresh(given.validated_data["refresh"])
        return Response(serializers.TokensOutput(pair).data, headers=NO_STORE)


class RevokeView(APIView):
    """Logging out on a device: also when its access token ran out, which the refresh token in the body is for."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Any) -> str:
        return TokenAuthentication().authenticate_header(request)

    @extend_schema(
        summary="Log out on this device",
        description="All tokens of the device named by the refresh token, or by the bearer token, end at once.",
        tags=["tokens"],
        auth=[{"token": []}, {}],  # type: ignore[list-item]
        request=serializers.RevokeInput,
        responses={
            204: None,
            **refusals(wrong_field("refresh", "Not a valid string."), Code.NOT_AUTHENTICATED, *WITH_BODY),
        },
    )
    def post(self, request: Request) -> Response:
        given = serializers.RevokeInput(data=request.data)
        given.is_valid(raise_exception=True)
        if refresh := given.validated_data.get("refresh"):
            tokens.revoke(refresh)
        elif found := TokenAuthentication().authenticate(request):
            tokens.end_session(found[1][tokens.SESSION_CLAIM])
        else:
            raise NotAuthenticated
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionsView(APIView):
    """The devices that somebody is logged in on with tokens."""

    @extend_schema(
        operation_id="sessions_list",
        summary="The devices you are logged in on",
        description="The one last used first. Browsers are not among them.",
        tags=["tokens"],
        responses={
            200: success(serializers.SessionOutput, "Your devices.", schema.SESSION, listed=True),
            **refusals(Code.NOT_AUTHENTICATED, *ALWAYS),
        },
    )
    def get(self, request: Request) -> Response:
        sessions = tokens.sessions_of(user_of(request))
        context = {"current": session_id_of(request)}
        return Response(serializers.SessionOutput(sessions, many=True, context=context).data)

    @extend_schema(
        operation_id="sessions_destroy_all",
        summary="Log out on all devices",
        description="On this one too, if it is among them.",
        tags=["tokens"],
        responses={204: None, **refusals(Code.NOT_AUTHENTICATED, *ALWAYS)},
    )
    def delete(self, request: Request) -> Response:
        tokens.end_all_sessions(user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionView(APIView):
    """One device."""

    @extend_schema(
        summary="Log out on one device",
        description="All its tokens end at once.",
        tags=["tokens"],
        responses={204: None, **refusals(Code.NOT_AUTHENTICATED, Code.NOT_FOUND, *ALWAYS)},
    )
    def delete(self, request: Request, public_id: str) -> Response:
        try:
            session = tokens.sessions_of(user_of(request)).get(public_id=public_id)
        except AppSession.DoesNotExist as error:
            raise SentinelError(Code.NOT_FOUND) from error
        tokens.end_session(session.public_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class AccountView(APIView):
    """One's account. To make one, nobody has to be logged in."""

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [] if self._is_sign_up() else super().get_authenticators()

    def get_permissions(self) -> list[BasePermission]:
        return [AllowAny()] if self._is_sign_up() else super().get_permissions()  # type: ignore[return-value]

    def get_throttles(self) -> list[BaseThrottle]:
        return [*super().get_throttles(), *([SignUpPerAddress()] if self._is_sign_up() else [])]

    def _is_sign_up(self) -> bool:
        return self.request is not None and self.request.method == "POST"

    @extend_schema(
        summary="Sign up",
        description="Makes an account and logs in on this device.",
        tags=["account"],
        auth=[],
        request=serializers.AccountInput,
        responses={
            201: success(serializers.SignedUpAccountOutput, "Signed up.", {**schema.TOKENS, "account": schema.PROFILE}),
            **refusals(wrong_field("email", "Enter a valid email address."), TAKEN, *WITH_BODY),
        },
    )
    def post(self, request: Request) -> Response:
        fields, wrong = serializers.text_fields(serializers.AccountInput, request.data)
        user = services.sign_up(fields, wrong=wrong)
        pair = tokens.log_in(user, device=fields.get("device", ""), address=address_of(request._request))
        answer = {
            **serializers.TokensOutput(pair).data,
            "account": serializers.ProfileOutput(user).data,
        }
        return Response(answer, status=status.HTTP_201_CREATED, headers=NO_STORE)

    @extend_schema(
        summary="Your account, and how much of today's limit is left",
        description="The limit is new at the time said by `limits.resets_at`.",
        tags=["account"],
        responses={
            200: success(serializers.ProfileOutput, "Your account.", schema.PROFILE),
            **refusals(Code.NOT_AUTHENTICATED, *ALWAYS),
        },
    )
    def get(self, request: Request) -> Response:
        return Response(serializers.ProfileOutput(user_of(request)).data)

    @extend_schema(
        summary="Change your name, e-mail address or language",
        description="What is absent stays as it is. A new e-mail address needs `current_password`.",
        tags=["account"],
        request=serializers.ProfileInput,
        responses={
            200: success(serializers.ProfileOutput, "Your account, changed.", schema.PROFILE),
            **refusals(
                wrong_field("current_password", "This is not your password."),
                Code.NOT_AUTHENTICATED,
                SentinelError(Code.ALREADY_EXISTS, errors={"email": ["There is an account with this e-mail address."]}),
                LOCKED_OUT,
                *WITH_BODY,
            ),
        },
    )
    def patch(self, request: Request) -> Response:
        fields, wrong = serializers.text_fields(serializers.ProfileInput, request.data)
        user = services.change_profile(request._request, user_of(request), fields, wrong=wrong)
        return Response(serializers.ProfileOutput(user).data)


class PasswordView(APIView):
    """One's password."""

    @extend_schema(
        summary="Change your password",
        description="Logs out all devices. The answer holds new tokens for this one.",
        tags=["account"],
        request=serializers.PasswordInput,
        responses={
            200: success(serializers.TokensOutput, "Changed; new tokens.", schema.TOKENS),
            **refusals(
                wrong_field("new_password", "This password is too common."),
                Code.NOT_AUTHENTICATED,
                LOCKED_OUT,
                *WITH_BODY,
            ),
        },
    )
    def put(self, request: Request) -> Response:
        user = user_of(request)
        given = serializers.PasswordInput(data=request.data)
        given.is_valid(raise_exception=True)
        here = AppSession.objects.filter(public_id=session_id_of(request)).first()
        services.change_password(
            request._request,
            user,
            old=given.validated_data["old_password"],
            new=given.validated_data["new_password"],
        )
        if isinstance(request.successful_authenticator, SessionAuthentication):
            update_session_auth_hash(request._request, user)
        pair = tokens.log_in(user, device=here.device if here else "", address=address_of(request._request))
        return Response(serializers.TokensOutput(pair).data, headers=NO_STORE)


class DeleteAccountView(APIView):
    """Leaving for good."""

    @extend_schema(
        summary="Delete your account with everything in it",
        description=(
            "Nobody can log in any more from now on; all files, results, devices and the account itself are removed "
            "within moments. There is no way back."
        ),
        tags=["account"],
        request=serializers.DeleteAccountInput,
        responses={
            204: None,
            **refusals(
                wrong_field("password", "This is not your password."), Code.NOT_AUTHENTICATED, LOCKED_OUT, *WITH_BODY
            ),
        },
    )
    def post(self, request: Request) -> Response:
        user = user_of(request)
        given = serializers.DeleteAccountInput(data=request.data)
        given.is_valid(raise_exception=True)
        if not services.is_password_of(request._request, user, given.validated_data["password"]):
            raise SentinelError(Code.INVALID_FIELD, errors={"password": [str(WRONG_PASSWORD)]})
        services.close_account(user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PushDevicesView(APIView):
    """Where push messages go."""

    parser_classes = (JSONParser,)

    @extend_schema(
        operation_id="push_devices_list",
        summary="Your registered push devices",
        description="Newest first, without their keys.",
        tags=["account"],
        responses={
            200: success(serializers.PushDeviceOutput, "Your push devices.", schema.PUSH_DEVICE, listed=True),
            **refusals(Code.NOT_AUTHENTICATED, *ALWAYS),
        },
    )
    def get(self, request: Request) -> Response:
        return Response(serializers.PushDeviceOutput(push.devices_of(user_of(request)), many=True).data)

    @extend_schema(
        summary="Register a push device",
        description=(
            "Takes a Web Push subscription as browsers give it. The same endpoint again changes what is registered. "
            "Twenty devices a user."
        ),
        tags=["account"],
        request=serializers.PushDeviceInput,
        responses={
            200: success(serializers.PushDeviceOutput, "Changed.", schema.PUSH_DEVICE),
            201: success(serializers.PushDeviceOutput, "Registered.", schema.PUSH_DEVICE),
            **refusals(
                wrong_field("keys.auth", "This is no secret of a push subscription."),
                Code.NOT_AUTHENTICATED,
                *WITH_BODY,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        given = serializers.PushDeviceInput(data=request.data)
        given.is_valid(raise_exception=True)
        fields = given.validated_data
        device, is_new = push.register(
            user_of(request), endpoint=fields["endpoint"], name=fields.get("name", ""), **fields["keys"]
        )
        answer = serializers.PushDeviceOutput(device).data
        return Response(answer, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


class PushDeviceView(APIView):
    """One push device."""

    @extend_schema(
        summary="Remove a push device",
        description="It gets no more messages.",
        tags=["account"],
        responses={204: None, **refusals(Code.NOT_AUTHENTICATED, Code.NOT_FOUND, *ALWAYS)},
    )
    def delete(self, request: Request, public_id: str) -> Response:
        removed, _ = push.devices_of(user_of(request)).filter(public_id=public_id).delete()
        if not removed:
            raise SentinelError(Code.NOT_FOUND)
        return Response(status=status.HTTP_204_NO_CONTENT)

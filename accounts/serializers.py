"""What the API takes and gives about accounts. The rules for accounts are the forms'; here are names and types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from accounts import limits, password_rules
from accounts.api_errors import field_errors
from accounts.models import AppSession, PushDevice, User
from accounts.push import validate_auth, validate_endpoint, validate_point
from accounts.times import RowSerializer
from accounts.tokens import MAX_DEVICE_LENGTH, TokenPair

MAX_LOG_IN_LENGTH = 254
MAX_PASSWORD_LENGTH = 4096
MAX_TOKEN_LENGTH = 4096
USERNAME_RULES = (
    "Letters and digits of one script, with their vowel signs, and . + - _ only. Nobody else's, in whatever case or "
    "Unicode form: those are one name."
)


class TextField(serializers.CharField):
    """Text as it is given: numbers are not turned into text, and no blank is cut off unless asked for."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("trim_whitespace", False)
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


def password_field(help_text: str, **options: Any) -> TextField:
    """One that somebody has already: it may be longer than new ones can be."""
    return TextField(max_length=MAX_PASSWORD_LENGTH, help_text=help_text, **options)


def new_password_field(help_text: str) -> TextField:
    return TextField(max_length=password_rules.MAX_LENGTH, help_text=help_text)


def text_fields(shape: type[serializers.Serializer[Any]], data: Any) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Those fields of a body that have the shape's types, and what is wrong with the others.

    What is right goes on to a form, so that everything that is wrong can be said at once.
    """
    checked = shape(data=data)
    wrong = {} if checked.is_valid() else field_errors(checked.errors)
    if not isinstance(data, Mapping):
        return {}, wrong
    return {name: data[name] for name in checked.get_fields() if name in data and name not in wrong}, wrong


class ErrorOutput(serializers.Serializer[None]):
    code = serializers.IntegerField(help_text="The HTTP status.")
    message = serializers.CharField(help_text="A text for the user, in the language asked for.")
    success = serializers.BooleanField(help_text="Always false.")
    error = serializers.CharField(help_text="The machine name of the error.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="What is wrong with which field, where fields are to blame: texts for the user by field name.",
    )


class SignUpInput(serializers.Serializer[None]):
    username = TextField(max_length=150, help_text=USERNAME_RULES)
    email = TextField(max_length=254, help_text="An e-mail address that no other account has.")
    password = new_password_field("12 to 128 characters, not a common password, not digits alone, not like the name.")


class AccountInput(SignUpInput):
    language = TextField(
        max_length=10,
        required=False,
        allow_blank=True,
        help_text="A language code of this site; empty or absent to follow the request's `Accept-Language`.",
    )
    device = TextField(
        max_length=MAX_DEVICE_LENGTH, required=False, allow_blank=True, help_text="What the device is called."
    )


class LogInInput(serializers.Serializer[None]):
    username = TextField(
        max_length=MAX_LOG_IN_LENGTH,
        required=False,
        allow_blank=True,
        help_text="The user name, or the e-mail address.",
    )
    email = TextField(
        max_length=MAX_LOG_IN_LENGTH,
        required=False,
        allow_blank=True,
        help_text="The e-mail address. Beside `username` it has to be of the same account.",
    )
    password = password_field("The password.")
    device = TextField(
        max_length=MAX_DEVICE_LENGTH,
        required=False,
        allow_blank=True,
        help_text="What the device is called, for the list of devices.",
    )
    otp = TextField(
        max_length=40,
        required=False,
        allow_blank=True,
        help_text="For accounts with a second factor: the six digits that the code app shows, or a recovery code.",
    )

    def validate(self, given: dict[str, str]) -> dict[str, str]:
        if not given.get("username") and not given.get("email"):
            raise serializers.ValidationError({"username": _("Give the user name or the e-mail address.")})
        return given


class MobileUserOutput(serializers.ModelSerializer[User]):
    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    language = serializers.CharField(help_text="The language chosen in the account; empty for the device's.")
    remaining = serializers.SerializerMethodField(help_text="Classifications left today.")
    createdAt = serializers.DateTimeField(
        source="date_joined", format="%Y-%m-%dT%H:%M:%SZ", default_timezone=UTC, help_text="Time of sign-up, in UTC."
    )

    class Meta:
        model = User
        fields = ("id", "username", "email", "language", "remaining", "createdAt")
        extra_kwargs = {
            "username": {"help_text": "The user name."},
            "email": {"help_text": "The e-mail address, in lower case."},
        }

    def get_remaining(self, user: User) -> int:
        return limits.remaining(user)


class SignedUpOutput(serializers.Serializer[None]):
    status = serializers.CharField(help_text="Always `Registration Successful!`.")
    success = serializers.BooleanField(help_text="Always true.")


class LoggedInOutput(serializers.Serializer[None]):
    status = serializers.CharField(help_text="Always `Login Successful!`.")
    success = serializers.BooleanField(help_text="Always true.")
    token = serializers.CharField(help_text="The access token, for an hour: `Authorization: Bearer <token>`.")
    refresh = serializers.CharField(help_text="Exchange it once for new tokens at `/api/v1/tokens/refresh/`.")
    userId = serializers.CharField(help_text="24 hexadecimal characters.")
    user = MobileUserOutput(help_text="Who logged in.")


class TokensOutput(serializers.Serializer[TokenPair]):
    access = serializers.CharField(help_text="Send it as `Authorization: Bearer <access>`.")
    refresh = serializers.CharField(help_text="Exchange it once for new tokens; it lasts two weeks.")
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lasts.")


class RefreshInput(serializers.Serializer[None]):
    refresh = TextField(max_length=MAX_TOKEN_LENGTH, help_text="The refresh token received last.")


class RevokeInput(serializers.Serializer[None]):
    refresh = TextField(
        max_length=MAX_TOKEN_LENGTH,
        required=False,
        allow_blank=True,
        help_text="A refresh token of the device. Without one, the bearer token says which device.",
    )


class SessionOutput(RowSerializer[AppSession]):
    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    current = serializers.SerializerMethodField(help_text="Whether the request came from this device.")

    class Meta:
        model = AppSession
        fields = ("id", "device", "created_at", "last_used_at", "current")
        extra_kwargs = {
            "device": {"help_text": "What the device called itself; may be empty."},
            "created_at": {"help_text": "When it logged in."},
            "last_used_at": {"help_text": "When it was last seen, to within five minutes."},
        }

    def get_current(self, session: AppSession) -> bool:
        return session.public_id == self.context.get("current")


class LimitsOutput(serializers.Serializer[User]):
    daily = serializers.SerializerMethodField(help_text="Classifications a day.")
    used = serializers.SerializerMethodField(help_text="How many of today's are used.")
    remaining = serializers.SerializerMethodField(help_text="How many are left today.")
    resets_at = serializers.SerializerMethodField(help_text="When there are new ones.")

    def get_daily(self, user: User) -> int:
        return limits.limit_of(user)

    def get_used(self, user: User) -> int:
        return limits.used(user)

    def get_remaining(self, user: User) -> int:
        return limits.remaining(user)

    def get_resets_at(self, user: User) -> datetime:
        return limits.next_reset().astimezone(UTC)


class ProfileOutput(RowSerializer[User]):
    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    limits = LimitsOutput(source="*", help_text="How many files may be examined.")

    class Meta:
        model = User
        fields = ("id", "username", "email", "first_name", "last_name", "language", "date_joined", "limits")
        extra_kwargs = {
            "username": {"help_text": "The user name. It can't be changed."},
            "email": {"help_text": "The e-mail address, in lower case."},
            "first_name": {"help_text": "May be empty."},
            "last_name": {"help_text": "May be empty."},
            "language": {"help_text": "The language chosen; empty to follow `Accept-Language`."},
            "date_joined": {"help_text": "Time of sign-up."},
        }


class SignedUpAccountOutput(TokensOutput):
    account = ProfileOutput(help_text="The new account.")


class ProfileInput(serializers.Serializer[None]):
    """All fields may be absent: what is absent stays as it is."""

    first_name = TextField(max_length=150, required=False, allow_blank=True, help_text="Empty to remove it.")
    last_name = TextField(max_length=150, required=False, allow_blank=True, help_text="Empty to remove it.")
    email = TextField(max_length=254, required=False, help_text="A new address needs `current_password` beside it.")
    language = TextField(
        max_length=10,
        required=False,
        allow_blank=True,
        help_text="A language code of this site; empty to follow the device.",
    )
    current_password = password_field("Needed for a new e-mail address only.", required=False, allow_blank=True)


class PasswordInput(serializers.Serializer[None]):
    old_password = password_field("The password so far.")
    new_password = new_password_field("The new password, by the rules of sign-up.")


class DeleteAccountInput(serializers.Serializer[None]):
    password = password_field("The password, to be sure that it is you.")


class PushKeys(serializers.Serializer[None]):
    p256dh = TextField(
        max_length=100,
        validators=[validate_point],
        help_text="The device's public key: an uncompressed point on P-256, 65 bytes in base64url.",
    )
    auth = TextField(max_length=30, validators=[validate_auth], help_text="The shared secret: 16 bytes in base64url.")


class PushDeviceInput(serializers.Serializer[None]):
    """As the browser's `PushSubscription.toJSON()` gives it."""

    endpoint = TextField(
        max_length=500,
        validators=[validate_endpoint],
        help_text="The push service's address for the device, https only.",
    )
    keys = PushKeys(help_text="The subscription's keys.")
    name = TextField(max_length=200, required=False, allow_blank=True, help_text="What the device is called.")


class PushDeviceOutput(RowSerializer[PushDevice]):
    """Without the keys, which only the sender needs."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")

    class Meta:
        model = PushDevice
        fields = ("id", "name", "endpoint", "created_at")
        extra_kwargs = {
            "name": {"help_text": "What the device is called; may be empty."},
            "endpoint": {"help_text": "The push service's address for the device."},
            "created_at": {"help_text": "When it was registered."},
        }

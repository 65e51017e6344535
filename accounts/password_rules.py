"""The rules for new passwords, which stand in AUTH_PASSWORD_VALIDATORS, and which of them a password meets so far."""

from __future__ import annotations

from django.contrib.auth.password_validation import UserAttributeSimilarityValidator, get_default_password_validators
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User

# Of the standard (ASVS 2.1.2). Longer ones that somebody has are good still.
MAX_LENGTH = 128


class MaximumLengthValidator:
    """Refuses new passwords of more than :data:`MAX_LENGTH` characters."""

    def validate(self, password: str, user: object = None) -> None:
        if len(password) > MAX_LENGTH:
            raise ValidationError(
                ngettext(
                    "This password is too long. It can have at most %(count)d character.",
                    "This password is too long. It can have at most %(count)d characters.",
                    MAX_LENGTH,
                )
                % {"count": MAX_LENGTH},
                code="password_too_long",
            )

    def get_help_text(self) -> str:
        return _("Your password can have at most %(count)d characters.") % {"count": MAX_LENGTH}


def rules_met(password: str, user: User | None) -> list[bool | None]:
    """For each rule, in the order of their texts beside the field, whether a password meets it. None where nobody can
    tell yet: whether it is like the names of a `user` who is not known."""
    met: list[bool | None] = []
    for rule in get_default_password_validators():
        if user is None and isinstance(rule, UserAttributeSimilarityValidator):
            met.append(None)
            continue
        try:
            rule.validate(password, user)
        except ValidationError:
            met.append(False)
        else:
            met.append(True)
    return met

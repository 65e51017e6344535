"""User names: which there may be, and which are one and the same. docs/accounts.md says it for people.

New names follow the profile UsernameCasePreserved of RFC 8265: letters of all scripts with their vowel signs and
viramas, which Django's own rule refuses. Besides punctuation, which stays as it was, a name is narrower than that in
three ways: it is normalised by NFKC, as Django does wherever it reads one; its letters and digits are of one script;
and it begins with no mark and piles up no more than any language needs.

Names are found by a key, in which those that look alike in case, width or spelling are one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _
from precis_i18n import get_profile

from accounts.texts import JOINERS, is_of_one_script

if TYPE_CHECKING:
    from accounts.models import User

MAX_LENGTH = 150
PUNCTUATION = ".+-_"
# A consonant has a nukta, a vowel sign and a nasal sign at most.
MOST_MARKS = 4
# More of them are no accident.
MOST_IDLE_JOINERS = 8
# What every name made before this rule fits, and the longer names that programs and administrators make with an "@".
EARLIER = re.compile(r"[\w.@+-]+")
NOT_ALLOWED = _("Use letters, digits and . + - _ only.")
TAKEN = _("This user name is taken.")

_PROFILE = get_profile("UsernameCasePreserved")
# Letters that have two spellings: one character, or a consonant with virama and joiner, as older keyboards write it.
_OLD_SPELLINGS = {
    **{"ൺ": "ണ്", "ൻ": "ന്", "ർ": "ര്", "ൽ": "ല്", "ൾ": "ള്", "ൿ": "ക്", "ൔ": "മ്", "ൕ": "യ്", "ൖ": "ഴ്"},
    "ৎ": "ত্",
}
_TO_KEY = str.maketrans({**_OLD_SPELLINGS, **dict.fromkeys(JOINERS)})
# Begins the key of a name whose key somebody had before there were keys. No name has it.
_EXACT = "="


def clean(name: str) -> str:
    """A new name as it is kept. Raises ValidationError, in words for whoever chose it."""
    name = unicodedata.normalize("NFKC", name)
    if any(letter.isascii() and not letter.isalnum() and letter not in PUNCTUATION for letter in name):
        raise ValidationError(NOT_ALLOWED)
    name = _enforce(name)
    # An "a" of another script looks like ours: nobody shall pass for somebody else.
    if not is_of_one_script(name):
        raise ValidationError(_("Use letters and digits of one script only."))
    marks = "".join("m" if unicodedata.category(letter).startswith("M") else "." for letter in name)
    if marks.startswith("m") or "m" * (MOST_MARKS + 1) in marks:
        raise ValidationError(NOT_ALLOWED)
    return name


def validate(name: str) -> None:
    """For the column: what was a name before there was this rule is one still."""
    if not EARLIER.fullmatch(name) and clean(without_at := name.replace("@", "")) != without_at:
        raise ValidationError(NOT_ALLOWED)


def key_of(name: str) -> str:
    """What a name is found by: the same for names in upper and lower case, full width, either normal form, with or
    without joiners, and in an older spelling."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded.translate(_TO_KEY)


def exact_key_of(name: str) -> str:
    """The key of a name that is found only as it is written, since :func:`key_of` it is another account's."""
    return _EXACT + name


class UsernameKeyField(models.CharField[str | None, str | None]):
    """The key of an account's name, written with it. Null in rows that an older version wrote during an upgrade: they
    are found by the name as it is written, until they get theirs at the next log-in."""

    def __init__(self, **options: object) -> None:
        # Folding makes three letters of one at most.
        options.update(max_length=3 * MAX_LENGTH + 1, unique=True, null=True, editable=False)
        super().__init__(**options)  # type: ignore[arg-type]

    def deconstruct(self):  # type: ignore[no-untyped-def]
        name, path, args, options = super().deconstruct()
        for key in ("max_length", "unique", "null", "editable"):
            options.pop(key, None)
        return name, path, args, options

    def pre_save(self, model_instance: models.Model, add: bool) -> str | None:
        user: User = model_instance  # type: ignore[assignment]
        key, exact = key_of(user.username), exact_key_of(user.username)
        if user.username_key is None and not add and type(user)._base_manager.filter(username_key=key).exists():
            user.username_key = exact
        elif user.username_key != exact:
            user.username_key = key
        return user.username_key


def _enforce(name: str) -> str:
    """`name` by RFC 8265, without joiners that join nothing: keyboards leave them behind, and nobody sees them."""
    for _joiner in range(MOST_IDLE_JOINERS + 1):
        try:
            return _PROFILE.enforce(name)
        except UnicodeEncodeError as error:
            if error.reason == "DISALLOWED/bidi_rule":
                text = _("Where letters go from right to left, begin with a letter, and end with a letter or digit.")
                raise ValidationError(text) from error
            if error.object[error.start : error.start + 1] not in set(JOINERS):
                raise ValidationError(NOT_ALLOWED) from error
            name = error.object[: error.start] + error.object[error.end :]
    raise ValidationError(NOT_ALLOWED)

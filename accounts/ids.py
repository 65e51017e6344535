"""Public ids: what users, URLs and the API see of an object, the same on every database."""

from __future__ import annotations

import secrets

from django.core.validators import RegexValidator
from django.db import models
from django.urls import register_converter
from django.utils.translation import gettext_lazy as _

PUBLIC_ID_LENGTH = 24
PUBLIC_ID_PATTERN = "[0-9a-f]{24}"


def new_public_id() -> str:
    """24 lowercase hexadecimal characters from 96 random bits."""
    return secrets.token_hex(PUBLIC_ID_LENGTH // 2)


class PublicIdField(models.CharField[str, str]):
    """A unique, unguessable, unchangeable id of 24 hexadecimal characters."""

    def __init__(self, **options: object) -> None:
        options.update(
            max_length=PUBLIC_ID_LENGTH,
            unique=True,
            editable=False,
            default=new_public_id,
            validators=[RegexValidator(f"^{PUBLIC_ID_PATTERN}$")],
        )
        options.setdefault("verbose_name", _("public id"))
        super().__init__(**options)  # type: ignore[arg-type]

    def deconstruct(self):  # type: ignore[no-untyped-def]
        name, path, args, options = super().deconstruct()
        for key in ("max_length", "unique", "editable", "default", "validators"):
            options.pop(key, None)
        return name, path, args, options


class PublicIdConverter:
    """A path segment ``<public_id:name>``; anything else is a 404 without a look-up."""

    regex = PUBLIC_ID_PATTERN

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(PublicIdConverter, "public_id")

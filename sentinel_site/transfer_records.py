"""Rows as text that every database can take in, and digests by which one knows them again.

A row is written with the keys of its own database; a digest is taken of what a row says, with whatever it refers to
named by what is unique of it, so that it is the same wherever the row is and whichever keys it has there.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.duration import duration_microseconds

from accounts.ids import PublicIdField

Row = dict[str, Any]

# Rows that are read, and sent, at a time. The largest, finished analyses, have some hundred kilobytes.
BATCH = 200
# The queue's messages name keys of the old database; workers write them anew when they start. Nor is last week's list
# of finished jobs, or the last word of a worker, of any use elsewhere. A mail that waited when a backup was made was
# sent since.
LEFT_OUT_APPS = {"django_q"}
LEFT_OUT = {"accounts.accountmail", "media_analysis.workerstate"}
# Django makes these by itself in every database: they are found there, not moved.
MATCHED = {"contenttypes.contenttype", "auth.permission"}
SESSION, LOG_ENTRY = "sessions.session", "admin.logentry"
USER_IN_SESSION = "_auth_user_id"
# Holds a key too: whoever proved a second factor does it once more.
SECOND_FACTOR_IN_SESSION = "otp_device_id"


class TransferError(Exception):
    """Something cannot be moved. The text says what and why, in English, for whoever runs the site."""


@dataclass(frozen=True, slots=True)
class Digest:
    """How many rows a table has, and one SHA-256 over what they say, in whichever order."""

    rows: int
    sha256: str


def models_to_move() -> list[type[models.Model]]:
    """Every table of the site, each after those that it refers to."""
    waiting = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
        and not model._meta.proxy
        and model._meta.app_label not in LEFT_OUT_APPS
        and model._meta.label_lower not in LEFT_OUT
    ]
    ordered: list[type[models.Model]] = []
    while waiting:
        ready = [model for model in waiting if not (set(targets_of(model)) & set(waiting))]
        if not ready:
            raise TransferError(f"tables refer to each other in a ring: {', '.join(map(label_of, waiting))}")
        ordered += ready
        waiting = [model for model in waiting if model not in ready]
    return ordered


def label_of(model: type[models.Model]) -> str:
    return model._meta.label_lower


def fields_of(model: type[models.Model]) -> list[Any]:
    """The columns of a table, its key among them."""
    return [field for field in model._meta.concrete_fields if not getattr(field, "generated", False)]


def target_of(field: Any) -> type[models.Model] | None:
    """The table whose key a column holds, None for one that holds something of its own."""
    if field.remote_field is None or not field.target_field.primary_key:
        return None
    return field.remote_field.model._meta.concrete_model  # type: ignore[no-any-return]


def targets_of(model: type[models.Model]) -> list[type[models.Model]]:
    return [target for field in fields_of(model) if (target := target_of(field))]


def key_kind(model: type[models.Model]) -> str:
    """How a table's keys come about: ``number`` and ``object_id`` are given by the database, ``reference`` is the key
    of another table, ``own`` says something by itself.
    """
    key: Any = model._meta.pk
    if target_of(key):
        return "reference"
    if not isinstance(key, models.AutoField | models.BigAutoField | models.SmallAutoField):
        return "own"
    return "object_id" if key.get_internal_type() == "ObjectIdAutoField" else "number"


def read_batches(model: type[models.Model], after: Any = None) -> Iterator[list[Any]]:
    """All rows in the order of their keys, from behind the key `after` on; no more than BATCH are held at a time."""
    rows = model._base_manager.order_by("pk")
    while batch := list((rows if after is None else rows.filter(pk__gt=after))[:BATCH]):
        yield batch
        after = batch[-1].pk


def write_row(model: type[models.Model], row: models.Model) -> Row:
    """Its columns by their names, as JSON can hold them."""
    return {field.attname: write_value(field, field.value_from_object(row)) for field in fields_of(model)}


def write_value(field: Any, value: Any) -> Any:
    """Raises TransferError for a kind of value that this module does not know."""
    written: Any
    if value is None or isinstance(field, models.JSONField):
        written = value
    elif isinstance(field, models.FileField):
        written = str(value)
    elif isinstance(value, bool | int | float | str):
        written = value
    elif isinstance(value, datetime):
        written = value.astimezone(UTC).isoformat()
    elif isinstance(value, date | time):
        written = value.isoformat()
    elif isinstance(value, timedelta):
        written = duration_microseconds(value)
    elif isinstance(value, bytes | bytearray | memoryview):
        written = b64encode(bytes(value)).decode()
    elif isinstance(value, Decimal | UUID) or type(value).__name__ == "ObjectId":
        written = str(value)
    else:
        raise TransferError(f"{field} holds a {type(value).__name__}, which cannot be moved")
    return written


def read_value(field: Any, written: Any) -> Any:
    """The inverse of :func:`write_value`; of a column that refers to another table, the key as written."""
    if written is None or isinstance(field, models.JSONField):
        return written
    if isinstance(field, models.BinaryField):
        return b64decode(written)
    if isinstance(field, models.DurationField):
        return timedelta(microseconds=written)
    if field.remote_field is not None:
        return read_value(field.target_field, written)
    return field.to_python(written)


def read_session(data: str) -> dict[str, Any] | None:
    """What a session holds; None of one that is signed with another key and so worth nothing."""
    try:
        found: dict[str, Any] = signing.loads(data, salt=SessionStore().key_salt, serializer=SessionStore().serializer)
    except signing.BadSignature:
        return None
    return found


# Digests


def digest(model: type[models.Model]) -> Digest:
    """Of all rows of a table as it is now."""
    rows, total = 0, 0
    for batch in read_batches(model):
        for text in canonical(model, batch):
            total += int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        rows += len(batch)
    return Digest(rows, f"{total % (1 << 256):064x}")


def digest_all() -> dict[str, Digest]:
    """Of all tables that are moved, by their labels."""
    return {label_of(model): digest(model) for model in models_to_move() if label_of(model) not in MATCHED}


def canonical(model: type[models.Model], rows: Sequence[Any]) -> list[str]:
    """What each of these rows says, the same on every database: without keys, and with times to the millisecond, which
    is what MongoDB keeps.
    """
    fields = fields_of(model)
    if key_kind(model) in {"number", "object_id"}:
        fields = [field for field in fields if not field.primary_key]
    named = {field.attname: _names_in(field, rows) for field in fields if target_of(field)}
    texts = []
    special = _special(model, rows)
    for number, row in enumerate(rows):
        told = {}
        for field in fields:
            value = field.value_from_object(row)
            if field.attname in named:
                told[field.attname] = None if value is None else named[field.attname].get(value)
            else:
                told[field.attname] = _same_everywhere(field, value)
        told.update(special[number] if special else {})
        texts.append(json.dumps(told, sort_keys=True, ensure_ascii=False))
    return texts


def _names_in(field: Any, rows: Sequence[Any]) -> dict[Any, str]:
    target = target_of(field)
    assert target is not None  # noqa: S101 -- asked only of columns that have one
    return names(target, {value for row in rows if (value := field.value_from_object(row)) is not None})


def names(model: type[models.Model], keys: Iterable[Any]) -> dict[Any, str]:
    """By what is unique of them, rows of a table, by their keys. One that is not there has no name."""
    found = list(model._base_manager.filter(pk__in=list(keys)))
    fields = [model._meta.get_field(name) for name in identity(model)]
    named = {field.attname: _names_in(field, found) for field in fields if target_of(field)}  # type: ignore[union-attr]
    told = {}
    for row in found:
        values: list[Any] = []
        for field in fields:
            value = field.value_from_object(row)  # type: ignore[union-attr]
            attname = field.attname  # type: ignore[union-attr]
            values.append(named[attname].get(value) if attname in named else _same_everywhere(field, value))
        told[row.pk] = json.dumps(values, ensure_ascii=False)
    return told


@cache
def identity(model: type[models.Model]) -> tuple[str, ...]:
    """The columns that tell a row from all others on any database; all of them where none are said to."""
    fields = [field for field in fields_of(model) if not field.null]
    if key_kind(model) in {"own", "reference"}:
        return (model._meta.pk.name,)
    fields = [field for field in fields if not field.primary_key]
    unique = [field for field in fields if field.unique]
    for field in unique:
        if isinstance(field, PublicIdField):
            return (field.name,)
    if unique:
        return (unique[0].name,)
    required = {field.name for field in fields}
    together = [tuple(names) for names in model._meta.unique_together]
    together += [
        tuple(constraint.fields)
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields and constraint.condition is None
    ]
    for names_together in together:
        if set(names_together) <= required:
            return names_together
    return tuple(field.name for field in fields_of(model) if not field.primary_key)


def _same_everywhere(field: Any, value: Any) -> Any:
    if isinstance(value, datetime | time):
        value = value.replace(microsecond=value.microsecond // 1000 * 1000)
    return _plain(write_value(field, value))


def _plain(value: Any) -> Any:
    """Numbers as they are after every database: some return 1 for 1.0, and 0 for -0.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _special(model: type[models.Model], rows: Sequence[Any]) -> list[dict[str, Any]]:
    """For columns with a key in their text: what to say of them instead."""
    if label_of(model) == SESSION:
        return [_session_told(row) for row in rows]
    if label_of(model) == LOG_ENTRY:
        return [_log_entry_told(row) for row in rows]
    return []


def _session_told(row: Any) -> dict[str, Any]:
    content = read_session(row.session_data)
    if content is None:
        return {}
    user = content.pop(USER_IN_SESSION, None)
    content.pop(SECOND_FACTOR_IN_SESSION, None)
    known = _names_of_texts(apps.get_model("accounts", "User"), [user])
    return {"session_data": {"user": known.get(user), **content}}


def _log_entry_told(row: Any) -> dict[str, Any]:
    model = row.content_type.model_class() if row.content_type_id is not None else None
    if model is None or key_kind(model) not in {"number", "object_id"}:
        return {}
    # Of an object that is gone, its old key says nothing any more.
    return {"object_id": _names_of_texts(model, [row.object_id]).get(row.object_id)}


def _names_of_texts(model: type[models.Model], texts: Iterable[str | None]) -> dict[str | None, str]:
    """As :func:`names`, by keys written as text."""
    keys = {}
    for text in texts:
        try:
            keys[text] = model._meta.pk.to_python(text)
        except ValidationError:
            # No key of this table.
            continue
    found = names(model, [key for key in keys.values() if key is not None])
    return {text: found[key] for text, key in keys.items() if key in found}

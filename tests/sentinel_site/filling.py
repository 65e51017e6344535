"""Rows in every table there is, whatever its columns: for tests of what happens to all of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import models

# Beyond what any real row says: all scripts, what JSON escapes, and what looks like something else.
TEXTS = ("राम", "a 'quoted' \"text\"\n", "é\u202e\U0001f600", "null", "1.0", "\\u0000", "  ")
NUMBERS = itertools.count(1)


def fill(
    tables: Sequence[type[models.Model]], rows: int = 3, given: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Add so many rows to each of these tables, which come after those that they refer to.

    `given` are values for columns that have to be real, by label and name.
    """
    for table in tables:
        for number in range(rows):
            values = {}
            for field in table._meta.concrete_fields:
                if isinstance(field, models.AutoField):
                    continue
                values[field.attname] = value_for(field, number)
            values.update((given or {}).get(table._meta.label_lower, {}))
            # As it is, without a word from `save` or a column that fills itself.
            made: Any = table(**values)
            made.save_base(raw=True, force_insert=True)


def value_for(field: Any, number: int) -> Any:  # noqa: PLR0911 -- one for each kind of column
    """Something that fits the column, other than before where the column holds each once."""
    counted = next(NUMBERS)
    if field.remote_field is not None:
        keys = list(field.remote_field.model._base_manager.order_by("pk").values_list("pk", flat=True))
        if field.null and number == 0:
            return None
        # The newest of all where each may be had once only; the others in turn.
        return keys[number % len(keys)]
    if field.null and number == 0 and not field.primary_key:
        return None
    if field.name == "password":
        return f"argon2$argon2id$v=19$m=102400,t=2,p=8${counted}$"
    if field.choices:
        choices = [value for value, _label in field.flatchoices]
        return choices[number % len(choices)]
    moment = datetime(2026, 1, 1, 12, 30, 15, 123456, UTC) + timedelta(days=counted, microseconds=counted)
    simple: dict[type[Any], Any] = {
        models.BooleanField: number % 2 == 0,
        models.DateTimeField: moment,
        models.DateField: date(2026, 1, 1) + timedelta(days=counted),
        models.TimeField: time(1, 2, 3, 4000),
        models.DurationField: timedelta(days=1, microseconds=counted * 1000),
        models.FloatField: [0.1 + counted, -0.0, 1e22, 100000.0][number % 4],
        models.DecimalField: Decimal("1.5"),
        models.UUIDField: UUID(int=counted),
        models.BinaryField: bytes([0, 255, counted % 256]),
        models.JSONField: [
            {"text": TEXTS[number % len(TEXTS)], "numbers": [1, 1.0, 0.5, -0.0, 1e22, 2**53 + 1, 1e-7], "none": None},
            [],
            {},
        ][number % 3],
        models.GenericIPAddressField: f"10.0.{counted // 256 % 256}.{counted % 256}",
        models.PositiveSmallIntegerField: counted,
        models.SmallIntegerField: -counted,
        models.BigIntegerField: 2**40 + counted,
        models.IntegerField: counted,
    }
    for kind in type(field).__mro__:
        if kind in simple:
            return simple[kind]
    return _text(field, counted, number)


def _text(field: Any, counted: int, number: int) -> str:
    longest = field.max_length or 500
    if type(field).__name__ == "PublicIdField":
        return f"{counted:024x}"
    if isinstance(field, models.EmailField):
        return f"someone{counted}@example.org"
    if isinstance(field, models.URLField):
        return f"https://example.org/{counted}"[:longest]
    if longest <= 12:
        return f"{counted}"
    return f"{counted} {TEXTS[number % len(TEXTS)]}"[:longest]

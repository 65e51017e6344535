"""Times in the answers of /api/v1/: in UTC, with a Z, wherever the site is."""

from __future__ import annotations

from datetime import UTC
from typing import ClassVar, TypeVar

from django.db import models
from rest_framework import serializers

Row = TypeVar("Row", bound=models.Model)


class UtcField(serializers.DateTimeField):
    timezone = UTC


# No docstring: the schema would describe every row by it.
class RowSerializer(serializers.ModelSerializer[Row]):
    serializer_field_mapping: ClassVar = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: UtcField,
    }

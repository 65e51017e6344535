"""Times in the answers of the API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from importlib import import_module
from typing import Any

from rest_framework import serializers

APPS = ("accounts.", "media_analysis.", "reports.")


def classes_below(base: type[Any]) -> Iterator[type[Any]]:
    for each in base.__subclasses__():
        yield each
        yield from classes_below(each)


def test_all_times_are_told_in_utc() -> None:
    # Imports every module of the API.
    import_module("sentinel_site.urls")
    outputs = {each for each in classes_below(serializers.Serializer) if each.__name__.endswith("Output")}
    told = [
        (f"{output.__name__}.{name}", getattr(field, "timezone", None))
        for output in outputs
        if output.__module__.startswith(APPS)
        for name, field in output().fields.items()
        if isinstance(field, serializers.DateTimeField)
    ]
    assert len(told) > 20
    assert [name for name, zone in told if zone is not UTC] == []

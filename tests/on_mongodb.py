"""Tests on MongoDB, which has no transaction that a test could be rolled back with.

Emptying everything after each test, as Django does then, would take longer than most tests: only what was written to is
emptied, and what ``migrate`` fills stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.test import TransactionTestCase
from pymongo import monitoring

WRITES = {"insert", "update", "findAndModify"}
READS = {"aggregate", "find", "count", "distinct"}
# Filled once, after migrating, and looked up by everything.
KEPT = {"django_migrations", "django_content_type", "auth_permission"}


class Written(monitoring.CommandListener):
    """Collections that any connection of this process wrote to, and what was asked of any while somebody listened."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.listeners: list[list[dict[str, Any]]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in WRITES:
            self.names.add(str(event.command[event.command_name]))
        if event.command_name in WRITES | READS:
            for commands in self.listeners:
                commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


written = Written()


@contextmanager
def listening() -> Iterator[list[dict[str, Any]]]:
    """The commands that are sent inside by this process."""
    commands: list[dict[str, Any]] = []
    written.listeners.append(commands)
    try:
        yield commands
    finally:
        written.listeners.remove(commands)


def empty_quickly() -> None:
    """Have tests leave an empty database."""
    monitoring.register(written)

    def tear_down(self: Any) -> None:
        names, written.names = written.names - KEPT, set()
        for name in names:
            connection.database[name].delete_many({})  # type: ignore[attr-defined]

    TransactionTestCase._fixture_teardown = tear_down  # type: ignore[attr-defined]

"""The pipeline's commands as commands of the site: the same arguments, the same work, the same exit code."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ml.training.dfdc import commands


class TrainingCommand(BaseCommand):
    """``name`` is that of a command in :mod:`ml.training.dfdc.commands`."""

    name: str
    # They read no database and answer no request: nothing of the site needs to be in order.
    requires_system_checks: list[str] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = commands.COMMANDS[self.name].help

    def add_arguments(self, parser: CommandParser) -> None:
        commands.COMMANDS[self.name].add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code = commands.run(self.name, argparse.Namespace(**options), self._write)
        if code:
            sys.exit(code)

    def _write(self, text: str) -> None:
        self.stdout.write(text, ending="")

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml.training import commands


class Command(BaseCommand):
    help = "Measure a detector on labelled media: figures by kind of fake with intervals, and false alarms."

    def add_arguments(self, parser: CommandParser) -> None:
        commands.add_evaluate_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            commands.evaluate(options, write=self._write)
        except commands.UNUSABLE as error:
            raise CommandError(commands.told(error), returncode=commands.EXIT_UNUSABLE) from error

    def _write(self, text: str) -> None:
        self.stdout.write(text, ending="")

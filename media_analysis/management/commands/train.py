from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml.training import commands


class Command(BaseCommand):
    help = "Train a detector, or go on training, and write its folder."

    def add_arguments(self, parser: CommandParser) -> None:
        commands.add_train_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            commands.configure_logging(options["work"])
            commands.train(
                options["data"],
                options["work"],
                options["config"],
                start_from=options["start_from"],
                start_weights=dict(options["start_weights"]),
                export=options["export"],
                write=self._write,
            )
        except commands.UNUSABLE as error:
            raise CommandError(commands.told(error), returncode=commands.EXIT_UNUSABLE) from error

    def _write(self, text: str) -> None:
        self.stdout.write(text, ending="")

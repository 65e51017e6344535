from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from ml import batch


class Command(BaseCommand):
    help = "Judge videos and photos, of any length, without server or account. Exit code 1 if a file failed."
    # It reads no database and answers no request: nothing of the site needs to be in order.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        batch.add_arguments(parser)
        parser.set_defaults(
            detector=settings.SENTINEL_DETECTOR,
            weights=[Path(path) for path in settings.SENTINEL_DETECTOR_WEIGHTS],
        )

    def handle(self, *args: Any, **options: Any) -> None:
        code = batch.run(argparse.Namespace(**options), Unchanged(self.stdout), sys.stderr)
        if code:
            sys.exit(code)


class Unchanged:
    """Writes to Django's wrapper without the line end that it would add to every piece."""

    def __init__(self, output: Any) -> None:
        self._output = output

    def write(self, text: str, /) -> None:
        self._output.write(text, ending="")

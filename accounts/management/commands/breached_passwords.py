"""Make, update and check the local list of passwords known from break-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import breached

TELL_EVERY = 65_536


class Command(BaseCommand):
    help = "Makes range files of a downloaded list of breached passwords, or checks a list: see docs/accounts.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder",
            nargs="?",
            type=Path,
            default=settings.SENTINEL_BREACHED_PASSWORDS_DIR or None,
            help="folder or file of the list; by default SENTINEL_BREACHED_PASSWORDS_DIR",
        )
        parser.add_argument(
            "--from", dest="source", type=Path, help="one sorted file, of which range files are made in the folder"
        )

    def handle(self, *args: Any, folder: Path | None, source: Path | None, **options: Any) -> None:
        if folder is None:
            raise CommandError("Name a folder, or set SENTINEL_BREACHED_PASSWORDS_DIR.")
        try:
            if source is not None:
                passwords = breached.split(source, Path(folder), progress=self._tell)
                self.stdout.write(f"{passwords} passwords written to {folder}")
            self.stdout.write(f"{breached.check(Path(folder), progress=self._tell)} passwords: the list is complete.")
        except (OSError, breached.BrokenList) as error:
            raise CommandError(str(error)) from error

    def _tell(self, done: int) -> None:
        if done % TELL_EVERY == 0:
            self.stderr.write(f"{done} of {breached.RANGES} range files")

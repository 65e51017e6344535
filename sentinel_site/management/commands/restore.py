from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sentinel_site.backup import BackupError
from sentinel_site.management.commands.backup import read_passphrase
from sentinel_site.management.commands.transfer_data import check_custody_log
from sentinel_site.restore import restore, verify
from sentinel_site.transfer_records import TransferError


class Command(BaseCommand):
    help = (
        "Put everything from a backup into this site: into its database, of whichever kind, and its storage of media. "
        "Stop workers, web servers and the bot first. Interrupted, it goes on when it is called again. docs/backup.md"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", type=Path, help="the file that `manage.py backup` wrote")
        parser.add_argument("--overwrite", action="store_true", help="replace what is here")
        parser.add_argument(
            "--with-keys", action="store_true", help="the keys in it too; their passphrase as for `backup`"
        )
        parser.add_argument(
            "--verify", action="store_true", help="only compare it with its checksums, and touch nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["backup"]
        try:
            if options["verify"]:
                found = verify(path)
            else:
                found = restore(
                    path,
                    overwrite=options["overwrite"],
                    passphrase=read_passphrase(twice=False) if options["with_keys"] else "",
                    tell=self.stdout.write,
                )
        except (BackupError, TransferError, OSError) as error:
            raise CommandError(f"{path}: {error}") from error
        rows = sum(rows for rows, _sha256 in found.tables.values())
        self.stdout.write(f"{rows} rows and {found.files} files of {found.made_at}, made by version {found.software}.")
        if options["verify"]:
            self.stdout.write(self.style.SUCCESS("The backup is whole."))
            return
        self.stdout.write(f"Custody log: {check_custody_log()}")
        self.stdout.write(self.style.SUCCESS("Restored. Start web servers and workers anew."))

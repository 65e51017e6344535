from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from sentinel_site.backup import BackupError, write_backup
from sentinel_site.environment import read_given_secret
from sentinel_site.transfer_records import TransferError

PASSPHRASE = "SENTINEL_BACKUP_PASSPHRASE"  # noqa: S105 -- the name of the variable
SHORTEST = 12


class Command(BaseCommand):
    help = (
        "Write everything into one file: database and media, of one moment, while the site runs. Ends with 1 if a file "
        "was missing or damaged; the backup is whole otherwise. See docs/backup.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "target", type=Path, help="a new file, or a folder to put one into that is named by the time"
        )
        parser.add_argument(
            "--with-keys",
            action="store_true",
            help=f"the site's keys too, encrypted; the passphrase is in {PASSPHRASE}, {PASSPHRASE}_FILE, or asked for",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        target: Path = options["target"]
        if target.is_dir():
            target /= f"sentinel-{timezone.now():%Y%m%dT%H%M%SZ}.tar"
        passphrase = read_passphrase(twice=True) if options["with_keys"] else ""
        try:
            made = write_backup(target, passphrase=passphrase, tell=self.stdout.write)
        except (BackupError, TransferError, OSError) as error:
            raise CommandError(str(error)) from error
        rows = sum(rows for rows, _sha256 in made.tables.values())
        self.stdout.write(f"{target}: {rows} rows, {made.files} files, {filesizeformat(made.bytes)}")
        if not made.consistent:
            self.stdout.write("This database has no snapshots: rows are of the moments at which each table was read.")
        if not made.has_keys:
            self.stdout.write(
                "The keys are NOT in it (SECRET_KEY, VAPID_PRIVATE_KEY, SENTINEL_SIGNING_KEY). Keep copies of them, or "
                "back up --with-keys. Without the first, everybody has to log in anew and second factors are lost."
            )
        if made.deleted:
            self.stdout.write(f"{len(made.deleted)} files were deleted meanwhile, and go again when it is restored.")
        gone = set(made.deleted)
        missing = [name for name in made.missing if name.split("/")[1] not in gone]
        for name in missing:
            self.stderr.write(f"{name} is missing in the storage")
        for name in made.damaged:
            self.stderr.write(f"{name} is not what it should be: its SHA-256 is another")
        if missing or made.damaged:
            sys.exit(1)


def read_passphrase(*, twice: bool) -> str:
    """From the environment, or from whoever sits there. Raises CommandError."""
    if given := read_given_secret(PASSPHRASE):
        passphrase = given
    elif sys.stdin.isatty():
        passphrase = getpass("Passphrase of the keys: ")
        if twice and getpass("Once more: ") != passphrase:
            raise CommandError("these were two different ones")
    else:
        raise CommandError(f"set {PASSPHRASE} or {PASSPHRASE}_FILE")
    if twice and len(passphrase) < SHORTEST:
        raise CommandError(f"a passphrase of {SHORTEST} characters at least, please")
    return passphrase

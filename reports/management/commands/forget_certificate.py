from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from reports import seal


class Command(BaseCommand):
    help = "Trust a certificate of the seal no longer, after its key was stolen: docs/integrity.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("fingerprint", help="SHA-256 of the certificate: 64 hexadecimal digits")

    def handle(self, *args: Any, **options: Any) -> None:
        fingerprint = options["fingerprint"].replace(":", "").lower()
        if fingerprint == seal.certificate_fingerprint():
            raise CommandError("This is the key that signs now: set another one first.")
        if not seal.forget(fingerprint):
            raise CommandError("This certificate is not known here.")
        self.stdout.write("Forgotten: what it signed and what is not in the list of documents is of another key now.")

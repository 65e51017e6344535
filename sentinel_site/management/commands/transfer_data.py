from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from media_analysis import health
from sentinel_site import transfer
from sentinel_site.transfer_records import TransferError, digest_all

STOP_FIRST = (
    "{alive} worker(s) run on this database. Stop all workers, web servers and the bot first, on every host, so that "
    "nothing is written while it is moved. One that was killed counts as running for half a minute."
)


class Command(BaseCommand):
    """This process reads; another of the same command, with the other database in its settings, writes.

    They speak in lines of JSON. The writer says how far it is, is sent the rest, says what it has then, and is told
    whether that is what the reader has too.
    """

    help = (
        "Move everything from the database of DATABASE_URL into another, empty one: PostgreSQL, MongoDB or SQLite. "
        "Interrupted, it goes on when it is called again. Media files stay where they are. See docs/backup.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        way = parser.add_mutually_exclusive_group(required=True)
        way.add_argument(
            "--to",
            metavar="DATABASE_URL",
            help="where to, as DATABASE_URL has it, or @FILE with that in its first line",
        )
        way.add_argument("--receive", action="store_true", help="the writing side; started by the command itself")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["receive"]:
                receive(sys.stdin, sys.stdout)
            else:
                self._send(_read_url(options["to"]))
        except TransferError as error:
            raise CommandError(str(error)) from error

    def _send(self, url: str) -> None:
        transfer.require_migrated()
        if transfer.is_under_way():
            raise TransferError("the database to move holds an incomplete transfer itself")
        if alive := health.workers_state().alive:
            raise TransferError(STOP_FIRST.format(alive=alive))
        writer = subprocess.Popen(  # noqa: S603 -- this very command
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "transfer_data", "--receive"],
            env={**os.environ, "DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdin is not None and writer.stdout is not None  # noqa: S101, PT018 -- asked for above
        try:
            self._speak(writer.stdin, writer.stdout)
        except BrokenPipeError as error:
            raise TransferError("the writing side broke off; it says why above. Call this again to go on.") from error
        finally:
            # It may not take any more.
            with suppress(BrokenPipeError):
                writer.stdin.close()
            writer.wait()
        if writer.returncode:
            raise TransferError("the writing side could not finish")

    def _speak(self, writer: IO[str], answers: IO[str]) -> None:
        writer.write(transfer.describe_source().to_json() + "\n")
        writer.flush()
        after = _answer(answers)["after"]
        if after:
            self.stdout.write("Going on with a transfer that was interrupted.")
        for label, rows in transfer.read_rows(after):
            writer.write(json.dumps({"label": label, "rows": rows}) + "\n")
        writer.write(json.dumps({"end": True}) + "\n")
        writer.flush()
        digests, custody_log = digest_all(), check_custody_log()
        there = _answer(answers)
        different = [
            f"{label}: {here.rows} rows here and {there['digests'][label][0]} there"
            for label, here in digests.items()
            if [here.rows, here.sha256] != there["digests"][label]
        ]
        if different:
            raise TransferError(
                "what is there is not what is here: " + "; ".join(different) + ". Something was written meanwhile, or "
                "the target is at fault: stop everything, empty the target, and begin again."
            )
        if there["custody_log"] != custody_log:
            raise TransferError(f"the custody log there is not as it is here: {there['custody_log']}")
        writer.write(json.dumps({"complete": True}) + "\n")
        writer.flush()
        _answer(answers)
        for label, here in digests.items():
            if here.rows:
                self.stdout.write(f"{here.rows:>9}  {here.sha256[:16]}  {label}")
        self.stdout.write(f"Custody log: {custody_log}")
        total = sum(here.rows for here in digests.values())
        self.stdout.write(
            self.style.SUCCESS(f"{total} rows moved and compared. Set DATABASE_URL to the new database and start.")
        )


def receive(lines: IO[str], answers: IO[str]) -> None:
    """The writing side. Raises TransferError."""

    def say(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    header = transfer.read_header(lines.readline())
    if not transfer.is_under_way():
        transfer.require_empty()
    call_command("migrate", interactive=False, verbosity=0)
    loader = transfer.Loader(header)
    say({"after": loader.begin()})
    for line in lines:
        message = json.loads(line)
        if "rows" in message:
            loader.load(message["label"], message["rows"])
        elif "end" in message:
            loader.finish()
            digests = {label: [digest.rows, digest.sha256] for label, digest in digest_all().items()}
            say({"digests": digests, "custody_log": check_custody_log()})
        elif "complete" in message:
            transfer.forget_state()
            say({"complete": True})


def check_custody_log() -> str:
    """What `manage.py check_custody_log` says."""
    said = StringIO()
    # It ends so where something is wrong, and has written what.
    with suppress(SystemExit):
        call_command("check_custody_log", stdout=said, stderr=said)
    return said.getvalue().strip()


def _answer(answers: IO[str]) -> dict[str, Any]:
    line = answers.readline()
    if not line:
        raise TransferError("the writing side broke off; it says why above. Call this again to go on.")
    content: dict[str, Any] = json.loads(line)
    return content


def _read_url(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"{given[1:]} cannot be read: {error}") from error

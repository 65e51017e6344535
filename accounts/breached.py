"""Passwords that are known from break-ins elsewhere, looked up in a local copy of Pwned Passwords: no network, and
nothing of a password leaves this machine.

Two layouts, told apart by whether the path is a folder:

- range files as the official downloader writes them: ``ABCDE.txt`` for the first five hexadecimal digits of the
  SHA-1, each line the other 35 and ``:COUNT``, sorted;
- one file of all 40 digits and ``:COUNT``, sorted by them. It is searched by halving: some thirty seeks in 40 GB.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

logger = logging.getLogger(__name__)

PREFIX_DIGITS = 5
RANGES = 16**PREFIX_DIGITS
_FULL = re.compile(rb"([0-9A-F]{40}):(\d+)\r?\n?")
_REST = re.compile(rb"([0-9A-F]{35}):(\d+)\r?\n?")
# Lines are 42 to 53 bytes long; one that has no end within this is none of ours.
_LONGEST_LINE = 100


class BrokenList(Exception):
    """A list of breached passwords that is not as it should be. The text says where, for operators."""


class BreachedPasswordValidator:
    """Refuses passwords in the list of SENTINEL_BREACHED_PASSWORDS_DIR. Without the setting it refuses none.

    A list that cannot be read refuses none either, and the log says so: nobody can help it who signs up.
    """

    def validate(self, password: str, user: object = None) -> None:
        path = settings.SENTINEL_BREACHED_PASSWORDS_DIR
        if not path:
            return
        try:
            known = count(password, Path(path))
        except (OSError, BrokenList):
            logger.exception("The list of breached passwords cannot be read; see docs/accounts.md")
            return
        if known:
            raise ValidationError(
                _("This password is known from a break-in at another site. Choose another one."),
                code="password_breached",
            )

    def get_help_text(self) -> str:
        return _("Your password can’t be one that is known from a break-in at another site.")


def count(password: str, path: Path) -> int:
    """How often a password is in the list at `path`. Raises OSError and BrokenList."""
    digest = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper()
    if path.is_dir():
        file_name = path / f"{digest[:PREFIX_DIGITS]}.txt"
        with file_name.open("rb") as file:
            return _find(file, digest[PREFIX_DIGITS:].encode(), _REST)
    with path.open("rb") as file:
        return _find(file, digest.encode(), _FULL)


def split(source: Path, folder: Path, *, progress: Callable[[int], None] = lambda done: None) -> int:
    """Make range files in `folder` of one sorted file; returns how many passwords there are.

    Each range file replaces the one before it in one step, so that a site may use the folder meanwhile. Interrupted,
    it can be run again. Raises BrokenList for a line that is none or out of order, before its range is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    passwords = written = 0
    prefix, lines = b"", list[bytes]()
    with source.open("rb") as file:
        for digest, line in _lines(file, _FULL, source):
            if digest[:PREFIX_DIGITS] != prefix:
                written += _write(folder, prefix, lines)
                progress(written)
                prefix, lines = digest[:PREFIX_DIGITS], []
            lines.append(line[PREFIX_DIGITS:].rstrip() + b"\n")
            passwords += 1
    _write(folder, prefix, lines)
    return passwords


def check(path: Path, *, progress: Callable[[int], None] = lambda done: None) -> int:
    """Read the whole list; returns how many passwords it has. Raises BrokenList, OSError."""
    if not path.is_dir():
        with path.open("rb") as file:
            return sum(1 for _ in _lines(file, _FULL, path))
    passwords = 0
    for number in range(RANGES):
        file_name = path / f"{number:05X}.txt"
        if not file_name.is_file():
            raise BrokenList(f"{file_name} is missing: the list is not complete")
        with file_name.open("rb") as file:
            passwords += sum(1 for _ in _lines(file, _REST, file_name))
        progress(number + 1)
    return passwords


def _find(file: IO[bytes], digest: bytes, line_format: re.Pattern[bytes]) -> int:
    """Halve the file until the line is found: `low` is always at the beginning of a line."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while low < high:
        # The line that begins at or before the middle.
        middle = max(low, (low + high) // 2 - _LONGEST_LINE)
        file.seek(middle)
        if middle > low:
            file.readline(_LONGEST_LINE)
        if file.tell() >= high:
            middle = low
            file.seek(low)
        line = file.readline(_LONGEST_LINE)
        found = line_format.fullmatch(line)
        if found is None:
            raise BrokenList(f"{file.name}: no line of a list of passwords near byte {middle}")
        if found[1] == digest:
            return int(found[2])
        if found[1] < digest:
            low = file.tell()
        else:
            high = file.tell() - len(line)
    return 0


def _lines(file: IO[bytes], line_format: re.Pattern[bytes], path: Path) -> Iterator[tuple[bytes, bytes]]:
    before = b""
    for number, line in enumerate(file, start=1):
        found = line_format.fullmatch(line)
        if found is None:
            raise BrokenList(f"{path}, line {number}: not a digest and a count")
        if found[1] <= before:
            raise BrokenList(f"{path}, line {number}: not sorted by digest")
        before = found[1]
        yield before, line


def _write(folder: Path, prefix: bytes, lines: list[bytes]) -> int:
    if not prefix:
        return 0
    name = prefix.decode()
    draft = folder / f"{name}.txt.part"
    draft.write_bytes(b"".join(lines))
    draft.replace(folder / f"{name}.txt")
    return 1

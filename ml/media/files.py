"""How the decoders get at a file: by its path, or by a descriptor that was handed over for that path.

Where a file is read in a process that may open nothing (:mod:`ml.media.sandbox`), its descriptor is given before.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, cast

_given: dict[Path, int] = {}


def give(path: Path, descriptor: int) -> None:
    """From now on `path` is read through an open `descriptor`, whatever lies there."""
    _given[path] = descriptor


def open_file(path: Path) -> BinaryIO:
    """A file for reading, from its first byte. Raises OSError."""
    if path in _given:
        return cast(BinaryIO, io.BufferedReader(_Positioned(_given[path])))
    return path.open("rb")


def stat_file(path: Path) -> os.stat_result:
    """Raises OSError, and ValueError for paths that cannot be."""
    return os.fstat(_given[path]) if path in _given else path.stat()


class _Positioned(io.RawIOBase):
    """Reads a descriptor at a place of its own, so that several readers of one do not meet. Leaves it open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        count = os.preadv(self._descriptor, [buffer], self._position)  # type: ignore[list-item]
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        if start + offset < 0:
            raise ValueError("before the first byte")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

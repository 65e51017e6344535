"""Where media lie: in a folder of this machine (here), or with an S3-compatible server (`object_storage`).

Both are Django storages with a few methods more, so that nothing is ever read or written whole. Whatever touches media
goes through :func:`media_storage` or Django's `default_storage`, which are the same. docs/storage.md is for operators.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage

from accounts.errors import Code, SentinelError, is_disk_full

# What a client is told to wait.
RETRY_SECONDS = 60
# A folder that others still write into is emptied so often before that is an error.
REMOVE_TRIES = 5


class StorageTrouble(SentinelError):
    """Something is wrong with where files lie, not with the file: it may be over at any moment."""


class StorageAway(StorageTrouble):
    """The storage does not answer, or not in time."""

    def __init__(self) -> None:
        super().__init__(Code.STORAGE_AWAY, headers={"Retry-After": str(RETRY_SECONDS)})


class StorageFull(StorageTrouble):
    """A disk has no room left, or only its reserve."""

    def __init__(self) -> None:
        super().__init__(Code.STORAGE_FULL, headers={"Retry-After": str(RETRY_SECONDS)})


class Part(Protocol):
    """Bytes to be read once, from the first to the last."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end. Raises OSError, and :class:`StorageAway`."""

    def close(self) -> None: ...


class MediaStorage(Protocol):
    """What a storage of media does beside what every Django storage does.

    All methods raise :class:`StorageAway` and :class:`StorageFull`.
    """

    # Whether files lie on a disk of this machine, where `path` says.
    on_disk: bool

    def path(self, name: str) -> str: ...

    def exists(self, name: str) -> bool: ...

    def size(self, name: str) -> int:
        """In bytes. Raises FileNotFoundError."""

    def put_file(self, name: str, path: Path, sha256: str) -> str:
        """Take over the file at `path`, which hashes to `sha256`; returns its name. Durable when it returns."""

    def open_part(self, name: str, start: int, length: int) -> Part:
        """`length` bytes from byte `start` on. Raises FileNotFoundError."""

    def list_folders(self, folder: str, *, after: str, limit: int) -> list[str]:
        """Names of at most `limit` folders in `folder` that come behind the name `after`, in order."""

    def remove_folder(self, folder: str) -> None:
        """Delete a folder with everything in it, if it is there."""


def media_storage() -> MediaStorage:
    return cast(MediaStorage, default_storage)


class FolderStorage(FileSystemStorage):
    """Media in a folder of this machine. A file that could not be written whole is removed."""

    on_disk = True

    def _save(self, name: str, content: File[Any]) -> str:
        try:
            return super()._save(name, content)  # type: ignore[misc, no-any-return]
        except OSError as error:
            if is_disk_full(error):
                with suppress(OSError):
                    os.unlink(self.path(name))
                raise StorageFull from error
            raise

    def put_file(self, name: str, path: Path, sha256: str) -> str:
        # It is moved with its time, and what is old and has no row is swept. One that came in pieces may have been
        # whole for hours, and its row is written only now.
        os.utime(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            # A File with a temporary_file_path is moved, not copied.
            stored: str = self.save(name, _Movable(file, path))
        _sync(self.path(stored))
        return stored

    def open_part(self, name: str, start: int, length: int) -> Part:
        file: BinaryIO = open(self.path(name), "rb")  # noqa: SIM115 -- handed to the caller
        file.seek(start)
        return _FilePart(file, length)

    def list_folders(self, folder: str, *, after: str, limit: int) -> list[str]:
        try:
            with os.scandir(self.path(folder)) as entries:
                names = [entry.name for entry in entries if entry.name > after and entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return sorted(names)[:limit]

    def remove_folder(self, folder: str) -> None:
        def already_gone(_call: Any, _path: str, raised: Any) -> None:
            if not issubclass(raised[0], FileNotFoundError):
                raise raised[1]

        for left in reversed(range(REMOVE_TRIES)):
            try:
                shutil.rmtree(self.path(folder), onerror=already_gone)
            except OSError as error:
                # A worker that has not heard yet that its file is deleted has just put another picture there.
                if error.errno != errno.ENOTEMPTY or not left:
                    raise
            else:
                return


class _Movable(File):  # type: ignore[type-arg]
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = str(path)

    def temporary_file_path(self) -> str:
        return self._path


class _FilePart:
    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(content)
        return content

    def close(self) -> None:
        self._file.close()


def _sync(path: str) -> None:
    """Have a new file, and the names that lead to it, survive a loss of power."""
    for each in (path, os.path.dirname(path), os.path.dirname(os.path.dirname(path))):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Originals on this machine's disk while they are examined, where media lie elsewhere.

All processes of a host share the folder and its budget (SENTINEL_SCRATCH_BYTES). Each original is a file whose name
says how many bytes it may take, locked by the process that fetched it: the kernel lets go of the lock when that ends,
however it ends, and whoever comes next removes what nobody holds. So nothing has to be counted or kept in step.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from accounts.errors import Code, SentinelError, is_disk_full
from accounts.ids import new_public_id
from media_analysis.models import Media
from media_analysis.storage import StorageFull, media_storage

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
LOCK_NAME = "lock"
NAME = re.compile(r"[0-9a-f]{24}\.([0-9]{1,18})")


class NoScratchRoom(StorageFull):
    """Other originals take the budget, or the disk is nearly full."""


@contextmanager
def local_file(media: Media) -> Iterator[Path]:
    """Where the original lies on a disk of this machine, for as long as this is entered.

    Raises :class:`NoScratchRoom`, :class:`StorageAway`, and ``stored_file_damaged`` for one that is not there or not
    as it was received.
    """
    storage = media_storage()
    if storage.on_disk:
        yield Path(storage.path(str(media.file)))
        return
    path, descriptor = _reserve(media.size)
    try:
        _fetch(media, descriptor)
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def sweep() -> int:
    """Remove what killed processes left; returns how many files."""
    if media_storage().on_disk or not _folder().is_dir():
        return 0
    with _counting():
        return _sweep()[1]


def _folder() -> Path:
    return Path(settings.SENTINEL_SCRATCH_DIR)


@contextmanager
def _counting() -> Iterator[None]:
    """One process of this host at a time."""
    with (_folder() / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _reserve(size: int) -> tuple[Path, int]:
    """An empty locked file with room for `size` bytes; its path and open descriptor."""
    if size > settings.SENTINEL_SCRATCH_BYTES:
        raise RuntimeError(f"a file of {size} bytes, and SENTINEL_SCRATCH_BYTES is {settings.SENTINEL_SCRATCH_BYTES}")
    _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    with _counting():
        taken, _swept = _sweep()
        if taken + size > settings.SENTINEL_SCRATCH_BYTES:
            raise NoScratchRoom
        if shutil.disk_usage(_folder()).free < size + settings.SENTINEL_MIN_FREE_BYTES:
            raise NoScratchRoom
        path = _folder() / f"{new_public_id()}.{size}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if size:
                # The disk's word for it, not a guess.
                os.posix_fallocate(descriptor, 0, size)
        except BaseException as error:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            if is_disk_full(error):
                raise NoScratchRoom from error
            raise
    return path, descriptor


def _sweep() -> tuple[int, int]:
    """Remove what nobody holds. Returns how many bytes the rest may take, and how many files went."""
    taken = swept = 0
    for path in _folder().iterdir():
        named = NAME.fullmatch(path.name)
        if named is None:
            continue
        # Gone in between, if its owner just finished.
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
                swept += 1
            except BlockingIOError:
                taken += int(named[1])
            finally:
                os.close(descriptor)
    if swept:
        logger.warning("Removed %s originals that a killed process had left", swept)
    return taken, swept


def _fetch(media: Media, descriptor: int) -> None:
    """Copy the original into the file, and see whether it is the one that was received."""
    digest, done = hashlib.sha256(), 0
    try:
        part = media_storage().open_part(str(media.file), 0, media.size)
    except FileNotFoundError as error:
        logger.error("The original of media %s is not in the storage", media.public_id)
        raise SentinelError(Code.FILE_DAMAGED) from error
    try:
        while done < media.size and (content := part.read(min(PIECE_BYTES, media.size - done))):
            digest.update(content)
            while content:
                written = os.pwrite(descriptor, content, done)
                done, content = done + written, content[written:]
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull from error
        raise
    finally:
        part.close()
    if (done, digest.hexdigest()) != (media.size, media.sha256):
        logger.error("The original of media %s has %s bytes with SHA-256 %s", media.public_id, done, digest.hexdigest())
        raise SentinelError(Code.FILE_DAMAGED)

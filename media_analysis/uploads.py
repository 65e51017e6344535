"""Taking in a file: streamed to disk and hashed as it comes, never held in memory."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from accounts.errors import Code, SentinelError, is_disk_full
from accounts.texts import JOINERS
from media_analysis.storage import StorageFull

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A complete file waiting at the door: where it lies, its name as received, size in bytes and digests.

    ``size`` counts every byte that came, also those beyond the limit, which were not kept.
    """

    path: Path
    name: str
    size: int
    sha256: str
    md5: str


class HashedUploadedFile(TemporaryUploadedFile):
    """An upload on disk, with the digests of its bytes as received. Its temporary file goes when it is closed."""

    sha256: str = ""
    md5: str = ""
    # The disk had no room for all of it: what came is gone.
    cut_off: bool = False


class HashingUploadHandler(FileUploadHandler):
    """Writes each uploaded file to FILE_UPLOAD_TEMP_DIR and computes SHA-256 and MD5 on the way.

    Bytes beyond the size limit are counted but not written: the file is refused by its size later, with the same answer
    as any other refusal, and never fills the disk. The same goes for what the disk has no room for.
    """

    chunk_size = 256 * 1024

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        # A fixed name: Django would put the extension sent, however long, into the temporary file's name.
        self._file = HashedUploadedFile("file", self.content_type, 0, self.charset, self.content_type_extra)
        self._file.name = self.file_name
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.SENTINEL_MAX_UPLOAD_BYTES:
            return
        if self._file.cut_off:
            return
        self._sha256.update(raw_data)
        self._md5.update(raw_data)
        try:
            self._file.write(raw_data)
        except OSError as error:
            if not is_disk_full(error):
                raise
            logger.error("There was no room for an upload of at least %s bytes", start)
            self._give_up()

    def _give_up(self) -> None:
        self._file.cut_off = True
        # Room for the others at once. What is still buffered has nowhere to go.
        with suppress(OSError):
            self._file.truncate(0)

    def file_complete(self, file_size: int) -> HashedUploadedFile:
        try:
            # Writes what is buffered.
            self._file.seek(0)
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._give_up()
        self._file.size = file_size
        self._file.sha256 = self._sha256.hexdigest()
        self._file.md5 = self._md5.hexdigest()
        return self._file

    def upload_interrupted(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def stage_upload(upload: Any) -> StagedFile:
    """What the form or the API received as its file, if it did. Raises ``file_missing``, ``storage_full``."""
    if not isinstance(upload, HashedUploadedFile):
        raise SentinelError(Code.FILE_MISSING)
    if upload.cut_off:
        raise StorageFull
    upload.flush()
    return StagedFile(
        path=Path(upload.temporary_file_path()),
        name=clean_name(upload.name or ""),
        size=upload.size or 0,
        sha256=upload.sha256,
        md5=upload.md5,
    )


def clean_name(name: str) -> str:
    """A name fit to be shown: no folders, no control or direction-changing characters, at most 255 characters.

    The joiners stay, without which words of some Indian scripts are spelled wrongly. It is only ever displayed; files
    are stored under names made here.
    """
    base = os.path.basename(name.replace("\\", "/"))
    visible = "".join(character for character in base if character.isprintable() or character in JOINERS)
    return visible.strip(JOINERS)[:MAX_NAME_LENGTH] or "file"


def name_of(title: str) -> str:
    """The title that a video has on its site as the name of a file: a slash in it parts no folders."""
    return clean_name(title.replace("/", "-").replace("\\", "-"))

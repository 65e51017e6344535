"""Taking in a file to be checked: hashed as it comes, and kept nowhere."""

from __future__ import annotations

import hashlib
import re
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.utils.translation import gettext_lazy as _

from accounts.errors import Code, SentinelError
from reports.checking import MOST_PDF_BYTES, Finding, check_content, check_digest

# As tools print it, whatever stands around it.
DIGEST = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")


class CheckedFile(UploadedFile[bytes]):
    """A file to be checked: its digest and size, and its bytes in memory where it is no larger than a report may be."""

    def __init__(self, name: str, content: bytes | None, sha256: str, size: int) -> None:
        super().__init__(file=BytesIO(content or b""), name=name, size=size)
        self.content = content
        self.sha256 = sha256


class CheckUploadHandler(FileUploadHandler):
    """Computes SHA-256 as the bytes pass, and holds those of one small file for as long as the request lasts."""

    chunk_size = 256 * 1024

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self._taken = False

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self._taken:
            raise SkipFile
        self._taken = True
        self._sha256 = hashlib.sha256()
        self._content: bytearray | None = bytearray()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._sha256.update(raw_data)
        if self._content is None or len(self._content) + len(raw_data) > MOST_PDF_BYTES:
            self._content = None
        else:
            self._content += raw_data

    def file_complete(self, file_size: int) -> CheckedFile:
        content = None if self._content is None else bytes(self._content)
        return CheckedFile(self.file_name or "", content, self._sha256.hexdigest(), file_size)


def check_given(file: Any, sha256: str) -> Finding:
    """What was sent, the file before the digest. Raises ``file_missing``, ``file_too_large`` or ``invalid_field``."""
    if isinstance(file, CheckedFile):
        if (file.size or 0) > settings.SENTINEL_MAX_UPLOAD_BYTES:
            raise SentinelError(Code.FILE_TOO_LARGE)
        return check_digest(file.sha256) if file.content is None else check_content(file.sha256, file.content)
    if not sha256.strip():
        raise SentinelError(Code.FILE_MISSING, text=_("Choose a document first, or enter its SHA-256."))
    found = DIGEST.search(sha256)
    if not found:
        text = _("A SHA-256 has 64 digits from 0 to 9 and letters from a to f.")
        raise SentinelError(Code.INVALID_FIELD, errors={"sha256": [str(text)]})
    return check_digest(found[0])

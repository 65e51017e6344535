"""Uploads that come in pieces: each an (unfinished) file on disk and a row that says whose it is and what it will be.

How far an upload is, is how long its file is, so that nothing that is killed can leave the two at odds. Whoever changes
an upload holds the lock on its file; the kernel lets go of it when the process ends, however that happens.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import Code, SentinelError, is_disk_full
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.models import User
from media_analysis import services
from media_analysis.models import Analysis, Media, ResumableUpload, Submission
from media_analysis.storage import StorageFull
from media_analysis.uploads import StagedFile, clean_name

CHECKSUM_ALGORITHMS = ("sha1", "sha256", "md5")
PIECE_BYTES = 256 * 1024
# How long the making of an analysis waits for another request that is at work on the same upload.
PATIENCE_SECONDS = 20.0
# A file without a row is left alone for so long: nothing that is being made is this old.
ORPHAN_AFTER = timedelta(hours=1)

FILE_PATTERN = re.compile(rf"({PUBLIC_ID_PATTERN})\.(part|piece|staged)")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece must hash to."""

    algorithm: str
    digest: bytes

    def __post_init__(self) -> None:
        if self.algorithm not in CHECKSUM_ALGORITHMS:
            raise SentinelError(Code.INVALID_FIELD)


def folder() -> Path:
    """Where the files lie: on the disk of the accepted ones, so that becoming one takes no copying."""
    return Path(settings.FILE_UPLOAD_TEMP_DIR) / "resumable"


def list_uploads(user: User) -> list[ResumableUpload]:
    """The user's open uploads, newest first."""
    return [upload for upload in _open(user) if _part(upload.public_id).exists()]


def get_upload(user: User, public_id: str) -> ResumableUpload:
    """Raises ``not_found`` for one that expired, became an analysis, is a stranger's, or never was."""
    upload = _open(user).filter(public_id=public_id).first()
    if upload is None or not _part(public_id).exists():
        raise SentinelError(Code.NOT_FOUND)
    return upload


def offset_of(upload: ResumableUpload) -> int:
    """How many bytes have come. Raises ``not_found`` if the upload is gone."""
    try:
        return _part(upload.public_id).stat().st_size
    except FileNotFoundError:
        raise SentinelError(Code.NOT_FOUND) from None


def begin_upload(*, owner: User, size: int, metadata: str = "") -> ResumableUpload:
    """Make room for a file of `size` bytes. `metadata` is the `Upload-Metadata` header; the name is its `filename`.

    Raises ``upload_too_large``, ``too_many_uploads``, ``storage_full``, or ``invalid_field`` for metadata that cannot
    be read.
    """
    if size > settings.SENTINEL_MAX_UPLOAD_BYTES:
        raise SentinelError(Code.UPLOAD_TOO_LARGE)
    name = clean_name(parse_metadata(metadata).get("filename", ""))
    with transaction.atomic():
        # One at a time for each user: otherwise two requests would both see the last free place.
        User.objects.select_for_update().get(pk=owner.pk)
        if _open(owner).count() >= settings.SENTINEL_MAX_UPLOADS:
            raise SentinelError(Code.TOO_MANY_UPLOADS)
        upload = ResumableUpload.objects.create(
            owner=owner,
            name=name,
            metadata=metadata,
            size=size,
            expires_at=timezone.now() + timedelta(hours=settings.SENTINEL_UPLOAD_EXPIRY_HOURS),
        )
        # Where nothing is locked, others may have come at the same time.
        if _open(owner).count() > settings.SENTINEL_MAX_UPLOADS:
            upload.delete()
            raise SentinelError(Code.TOO_MANY_UPLOADS)
    try:
        with _told_as_full():
            folder().mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(_part(upload.public_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            _sync_folder()
    except BaseException:
        upload.delete()
        raise
    return upload


def append(
    upload: ResumableUpload, *, offset: int, read: Callable[[int], bytes], checksum: Checksum | None = None
) -> int:
    """Add what `read` gives to the upload; returns how many bytes it has now, all of them safe on disk.

    With a checksum, nothing is added unless all of it hashes to that. Without one, whatever came before an
    interruption counts.
    Raises ``upload_locked``, ``not_found``, ``upload_conflict`` if the upload is not `offset` bytes long,
    ``upload_too_large`` for more than the upload lacks (of which nothing is kept), ``checksum_mismatch``, or
    ``storage_full``: then what was written before the disk was full counts.
    """
    with _told_as_full(), _locked(upload) as part:
        if os.fstat(part.fileno()).st_size != offset:
            raise SentinelError(Code.UPLOAD_CONFLICT)
        room = upload.size - offset
        if checksum is None:
            try:
                _copy(read, part, room)
            except SentinelError:
                part.truncate(offset)
                raise
        else:
            _append_checked(upload, part, read, room, checksum)
        part.flush()
        os.fsync(part.fileno())
        return os.fstat(part.fileno()).st_size


def end_upload(upload: ResumableUpload) -> None:
    """Delete an upload, finished or not. Raises ``upload_locked`` or ``not_found``."""
    with _locked(upload):
        _remove(upload)


def submit_upload(
    *,
    owner: User,
    source: Submission.Source,
    upload_id: str,
    idempotency_key: str = "",
    case_details: Mapping[str, Any] | None = None,
    detector: str = "",
) -> Analysis:
    """Have a finished upload examined. The file gets the upload's id, so asking again gives the same analysis.

    Raises what :func:`media_analysis.services.submit_media` raises, and then the upload stays; ``upload_unfinished``;
    ``upload_locked`` if another request is at work on it for long; ``not_found``.
    """
    try:
        upload = get_upload(owner, upload_id)
        with _locked(upload, patience=PATIENCE_SECONDS) as part:
            analysis = _made_of(owner, upload_id, idempotency_key)
            if analysis is None:
                _undo_interrupted(owner, upload_id)
                staged = _stage(upload, part)
                try:
                    analysis = services.submit_media(
                        owner=owner,
                        source=source,
                        staged=staged,
                        idempotency_key=idempotency_key,
                        case_details=case_details,
                        media_id=upload_id,
                        detector=detector,
                    )
                finally:
                    staged.path.unlink(missing_ok=True)
            _remove(upload)
            return analysis
    except SentinelError as error:
        made = _made_of(owner, upload_id, idempotency_key) if error.code is Code.NOT_FOUND else None
        if made is None:
            raise
        return made


def sweep_uploads() -> int:
    """Delete uploads that expired, and files that belong to none; returns how many of either."""
    swept = 0
    for upload in ResumableUpload.objects.filter(expires_at__lt=timezone.now()):
        try:
            with _locked(upload):
                _remove(upload)
        except SentinelError as error:
            if error.code is Code.UPLOAD_LOCKED:
                continue
            _remove(upload)
        swept += 1
    if not folder().is_dir():
        return swept
    known = set(ResumableUpload.objects.values_list("public_id", flat=True))
    before = time.time() - ORPHAN_AFTER.total_seconds()
    for path in folder().iterdir():
        named = FILE_PATTERN.fullmatch(path.name)
        try:
            if named and named[1] not in known and path.stat().st_mtime < before:
                path.unlink()
                swept += 1
        except FileNotFoundError:
            continue
    return swept


def parse_metadata(header: str) -> dict[str, str]:
    """The texts of an `Upload-Metadata` header: `key base64,key base64`, where a value may be missing.

    Raises ``invalid_field``.
    """
    texts: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            texts[key] = base64.b64decode(value, validate=True).decode("utf-8", errors="replace")
        except (binascii.Error, ValueError):
            raise SentinelError(Code.INVALID_FIELD) from None
        if not key:
            raise SentinelError(Code.INVALID_FIELD)
    return texts


def _open(user: User) -> QuerySet[ResumableUpload]:
    return ResumableUpload.objects.filter(owner=user, expires_at__gt=timezone.now())


@contextmanager
def _locked(upload: ResumableUpload, *, patience: float = 0.0) -> Iterator[BinaryIO]:
    """The file of an upload, opened at its end, with nobody else at work on it for as long.

    Raises ``upload_locked`` after `patience` seconds, ``not_found``.
    """
    try:
        part = _part(upload.public_id).open("r+b")  # Unlike "ab", makes no file where there is none.
    except FileNotFoundError:
        raise SentinelError(Code.NOT_FOUND) from None
    with part:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise SentinelError(Code.UPLOAD_LOCKED) from None
                time.sleep(0.05)
        # Whoever had the lock before may have deleted it.
        if not ResumableUpload.objects.filter(pk=upload.pk).exists():
            raise SentinelError(Code.NOT_FOUND)
        part.seek(0, os.SEEK_END)
        yield part


def _append_checked(
    upload: ResumableUpload, part: BinaryIO, read: Callable[[int], bytes], room: int, checksum: Checksum
) -> None:
    # First beside the file: what a killed process leaves in the file counts, and must have been checked.
    aside = _part(upload.public_id).with_suffix(".piece")
    try:
        with aside.open("w+b") as piece:
            digest = hashlib.new(checksum.algorithm, usedforsecurity=False)
            _copy(read, piece, room, digest.update)
            if digest.digest() != checksum.digest:
                raise SentinelError(Code.CHECKSUM_MISMATCH)
            piece.seek(0)
            shutil.copyfileobj(piece, part, PIECE_BYTES)
    finally:
        aside.unlink(missing_ok=True)


def _copy(
    read: Callable[[int], bytes], to: BinaryIO, room: int, also: Callable[[bytes], object] = lambda content: None
) -> None:
    while content := read(PIECE_BYTES):
        room -= len(content)
        if room < 0:
            raise SentinelError(Code.UPLOAD_TOO_LARGE)
        to.write(content)
        also(content)


def _stage(upload: ResumableUpload, part: BinaryIO) -> StagedFile:
    """The complete file as the door wants it, under a second name (a hard link): the first stays if it is refused."""
    path = _part(upload.public_id)
    if os.fstat(part.fileno()).st_size != upload.size:
        raise SentinelError(Code.UPLOAD_UNFINISHED)
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while content := file.read(PIECE_BYTES):
            sha256.update(content)
            md5.update(content)
    staged = path.with_suffix(".staged")
    staged.unlink(missing_ok=True)
    os.link(path, staged)
    return StagedFile(path=staged, name=upload.name, size=upload.size, sha256=sha256.hexdigest(), md5=md5.hexdigest())


def _made_of(owner: User, upload_id: str, idempotency_key: str) -> Analysis | None:
    """The analysis that an upload has become. Raises ``idempotency_key_reused`` if the key is of another file."""
    media = Media.objects.filter(owner=owner, public_id=upload_id, deleted_at__isnull=True).first()
    if media is None:
        return None
    if idempotency_key:
        under_key = Submission.objects.filter(submitted_by=owner, idempotency_key=idempotency_key)
        if under_key.exclude(media__sha256=media.sha256).exists():
            raise SentinelError(Code.KEY_REUSED)
    return media.analyses.select_related("media").order_by("created_at").first()


def _undo_interrupted(owner: User, upload_id: str) -> None:
    """Where transactions mean nothing, a killed request may have begun to submit this upload. With the lock on its
    file, nobody goes on with that.
    """
    for media in Media.objects.filter(owner=owner, public_id=upload_id, deleted_at__isnull=True):
        services.undo_submission(media)


def _remove(upload: ResumableUpload) -> None:
    # The row first: a file without a row is swept, while a row without its file would look like an upload for a day.
    ResumableUpload.objects.filter(pk=upload.pk).delete()
    for suffix in (".part", ".piece", ".staged"):
        _part(upload.public_id).with_suffix(suffix).unlink(missing_ok=True)


def _part(public_id: str) -> Path:
    return folder() / f"{public_id}.part"


@contextmanager
def _told_as_full() -> Iterator[None]:
    """Raises ``storage_full`` where the disk has no room, also for what was still buffered when the file is closed."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull from error
        raise


def _sync_folder() -> None:
    """Have the name of a new file survive a loss of power, as its bytes will."""
    descriptor = os.open(folder(), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

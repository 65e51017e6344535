"""Writing everything that a site has into one file: its database, its media, and, if wished, its keys, encrypted.

The file is a tar archive that is written and read from front to end, so that nothing has to fit into memory:

1. ``database.jsonl.gz``: the rows, as :mod:`sentinel_site.transfer` sends them, of one moment;
2. ``files/…``: what the storage holds, under its names there: what the rows of that moment name, and nothing else;
3. ``keys.encrypted``, if wished;
4. ``SHA256SUMS`` of all of these, in their order, as sha256sum writes and checks them;
5. ``manifest.json``, which holds the digest of that list, the digests of all tables, and what was deleted meanwhile.

The site may run on. The rows are of one moment, since they are read in one snapshot; files never change once they are
stored, so those named by the rows are the right ones whenever they are read. A file that is deleted while the backup
runs is named in the manifest, and goes again when the backup is restored. MongoDB without replicas has no snapshots:
there the manifest says so, and rows that refer to none are left out when it is restored.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.utils import timezone

from media_analysis.models import Analysis, Media
from ml import __version__
from reports.models import Report
from sentinel_site import transfer
from sentinel_site.transfer_records import digest_all

FORMAT = 1
DATABASE, FILES, KEYS, SUMS, MANIFEST = "database.jsonl.gz", "files/", "keys.encrypted", "SHA256SUMS", "manifest.json"
PIECE_BYTES = 1 << 20
CHUNK = 500
# RFC 7914's parameters for a secret that is kept for long: a guess takes 128 MB and half a second.
SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}
SALT_BYTES, NONCE_BYTES = 16, 12

Tell = Callable[[str], None]


class BackupError(Exception):
    """A backup cannot be made or restored. The text says why, in English, for whoever runs the site."""


@dataclass(slots=True)
class Manifest:
    """What a backup says of itself."""

    format: int
    made_at: str
    software: str
    engine: str
    # Whether all rows are of one moment.
    consistent: bool
    sums_sha256: str = ""
    files: int = 0
    bytes: int = 0
    has_keys: bool = False
    # By the label of the table: number of rows, and digest.
    tables: dict[str, list[Any]] = field(default_factory=dict)
    # Public ids of files that went while the backup was made.
    deleted: list[str] = field(default_factory=list)
    # Names in the storage that rows speak of and that are not there, and of those that are not what the rows say.
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def write_backup(target: Path, *, passphrase: str = "", tell: Tell) -> Manifest:
    """Write a backup to a file that is not there yet; it is there wholly, or not at all.

    With a `passphrase`, the site's keys are in it, encrypted with that. Raises BackupError and OSError.
    """
    if target.exists():
        raise BackupError(f"{target} is there already")
    transfer.require_migrated()
    draft = target.with_name(f"{target.name}.partial")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            manifest = _write(file, target.parent, passphrase, tell)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return manifest


@contextmanager
def snapshot() -> Iterator[bool]:
    """Inside, all that is read of the database is of one moment, while others write; whether that is so."""
    if connection.in_atomic_block:
        yield True
    elif connection.vendor == "sqlite":
        # Not by `atomic`, which takes the lock of writers: readers need none.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield True
            finally:
                cursor.execute("ROLLBACK")
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield True
    else:
        yield False


class Archive:
    """A tar archive that is written from front to end, with a list of what is in it."""

    def __init__(self, file: IO[bytes], scratch: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 -- closed below
        self._sums = scratch
        self.files, self.bytes = 0, 0

    def add(self, name: str, content: IO[bytes], size: int, *, listed: bool = True) -> str:
        """Returns the SHA-256 of what was written. Raises OSError if there are fewer bytes than `size`."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(timezone.now().timestamp())
        reader = _Hashing(content)
        self._tar.addfile(info, reader)
        if listed:
            self._sums.write(f"{reader.sha256.hexdigest()}  {name}\n".encode())
            self.files += 1
            self.bytes += size
        return reader.sha256.hexdigest()

    def add_sums(self) -> str:
        """The list itself; returns its SHA-256."""
        size = self._sums.tell()
        self._sums.seek(0)
        return self.add(SUMS, self._sums, size, listed=False)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        # What broke off goes away as a whole: whether its end could be written does not matter.
        with suppress(OSError) if kind else nullcontext():
            self._tar.close()


class _Hashing:
    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self.sha256.update(piece)
        return piece


def _write(file: IO[bytes], folder: Path, passphrase: str, tell: Tell) -> Manifest:
    def scratch() -> IO[bytes]:
        # Beside the backup, where there is room for it; gone with the process.
        return tempfile.TemporaryFile(dir=folder)

    with scratch() as rows, scratch() as names, scratch() as sums:
        with snapshot() as consistent:
            manifest = Manifest(
                format=FORMAT,
                made_at=timezone.now().isoformat(),
                software=__version__,
                engine=connection.vendor,
                consistent=consistent,
            )
            tell("Reading the database …")
            _write_rows(rows)
            _write_names(names)
            manifest.tables = {label: [found.rows, found.sha256] for label, found in digest_all().items()}
        with Archive(file, sums) as archive:
            size = rows.tell()
            rows.seek(0)
            archive.add(DATABASE, rows, size)
            tell("Copying the files …")
            names.seek(0)
            for line in names:
                _copy(archive, manifest, *json.loads(line))
            if passphrase:
                content = encrypt(json.dumps(keys_of_site()).encode(), passphrase)
                archive.add(KEYS, io.BytesIO(content), len(content))
                manifest.has_keys = True
            names.seek(0)
            manifest.deleted = _gone({json.loads(line)[0] for line in names})
            manifest.files, manifest.bytes = archive.files, archive.bytes
            manifest.sums_sha256 = archive.add_sums()
            content = json.dumps(asdict(manifest), indent=1).encode()
            archive.add(MANIFEST, io.BytesIO(content), len(content), listed=False)
    return manifest


def _write_rows(target: IO[bytes]) -> None:
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=5, mtime=0) as packed:
        packed.write(transfer.describe_source("backup").to_json().encode() + b"\n")
        for label, rows in transfer.read_rows():
            packed.write(json.dumps({"label": label, "rows": rows}).encode() + b"\n")


def _write_names(target: IO[bytes]) -> None:
    """What the rows speak of: whose file it belongs to, its name in the storage, and its SHA-256 where it is known."""

    def note(media_id: str, name: str, sha256: str = "") -> None:
        target.write(json.dumps([media_id, name, sha256]).encode() + b"\n")

    # What is being deleted is completed after a restore, as it would be here.
    here = Media.objects.filter(deleted_at__isnull=True).exclude(file="")
    for media_id, name, sha256 in here.order_by("pk").values_list("public_id", "file", "sha256").iterator():
        note(media_id, name, sha256)
    analyses = Analysis.objects.filter(media__deleted_at__isnull=True).order_by("pk")
    for media_id, evidence in analyses.values_list("media__public_id", "evidence").iterator():
        for name in evidence:
            note(media_id, name)
    reports = Report.objects.filter(analysis__media__deleted_at__isnull=True).order_by("pk")
    for media_id, name, sha256 in reports.values_list("analysis__media__public_id", "file", "sha256").iterator():
        note(media_id, name, sha256)


def _copy(archive: Archive, manifest: Manifest, media_id: str, name: str, sha256: str) -> None:
    try:
        size = default_storage.size(name)
        content = default_storage.open(name)
    except FileNotFoundError:
        manifest.missing.append(name)
        return
    with content:
        found = archive.add(f"{FILES}{name}", content, size)
    if sha256 and found != sha256:
        manifest.damaged.append(name)


def _gone(media_ids: set[str]) -> list[str]:
    """Which of these files were deleted since, by now."""
    ids = sorted(media_ids)
    here: set[str] = set()
    for start in range(0, len(ids), CHUNK):
        chunk = Media.objects.filter(public_id__in=ids[start : start + CHUNK], deleted_at__isnull=True)
        here.update(chunk.values_list("public_id", flat=True))
    return [media_id for media_id in ids if media_id not in here]


# Keys


def keys_of_site() -> dict[str, str]:
    """Every secret that documents, sessions or subscriptions depend on, by the name of its setting."""
    return {
        "SECRET_KEY": settings.SECRET_KEY,
        "VAPID_PRIVATE_KEY": settings.VAPID_PRIVATE_KEY,
        "SENTINEL_SIGNING_KEY": b64encode(settings.SENTINEL_SIGNING_KEY).decode(),
        "SENTINEL_SIGNING_KEY_PASSPHRASE": settings.SENTINEL_SIGNING_KEY_PASSPHRASE,
    }


def encrypt(content: bytes, passphrase: str) -> bytes:
    """AES-256-GCM with a key made of the passphrase by scrypt: salt, nonce, then what it gives."""
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    return salt + nonce + AESGCM(_key_from(passphrase, salt)).encrypt(nonce, content, None)


def decrypt(content: bytes, passphrase: str) -> bytes:
    """Raises BackupError for another passphrase."""
    salt, nonce = content[:SALT_BYTES], content[SALT_BYTES : SALT_BYTES + NONCE_BYTES]
    try:
        return AESGCM(_key_from(passphrase, salt)).decrypt(nonce, content[SALT_BYTES + NONCE_BYTES :], None)
    except (InvalidTag, ValueError) as error:
        raise BackupError("the passphrase is wrong") from error


def _key_from(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **SCRYPT).derive(passphrase.encode())


def write_keys(keys: dict[str, str], tell: Tell) -> None:
    """Put the keys of a backup where this site keeps those that it makes itself; what was there is kept beside."""
    places = {
        "SECRET_KEY": ("secret_key", keys["SECRET_KEY"].encode()),
        "VAPID_PRIVATE_KEY": ("vapid_private_key", keys["VAPID_PRIVATE_KEY"].encode()),
        "SENTINEL_SIGNING_KEY": ("signing_key.pem", b64decode(keys["SENTINEL_SIGNING_KEY"])),
    }
    for name, (file_name, content) in places.items():
        if os.environ.get(name) or os.environ.get(f"{name}_FILE"):
            tell(f"{name} is given to this site from outside and was left as it is.")
            continue
        path = Path(settings.DATA_DIR) / file_name
        if path.exists() and path.read_bytes().strip() == content.strip():
            continue
        if path.exists():
            path.rename(path.with_name(f"{file_name}.replaced-{timezone.now():%Y%m%dT%H%M%S}"))
        draft = path.with_name(f"{file_name}.restored")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        tell(f"{name} was restored to {path}.")
    if keys["SENTINEL_SIGNING_KEY_PASSPHRASE"] and not settings.SENTINEL_SIGNING_KEY_PASSPHRASE:
        tell("The signing key has a passphrase: set SENTINEL_SIGNING_KEY_PASSPHRASE as it was.")

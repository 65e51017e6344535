"""Reading a backup (:mod:`sentinel_site.backup`) back into a site.

Everything is compared with its checksums before anything is touched. A restore that is killed goes on when it is called
again: rows that are there are passed over, files are written anew.

What was deleted stays deleted: files that went while the backup was made, and those of which the custody log of the
replaced database says that they were deleted since, go again, with a receipt. So do numbers of documents that were
issued since: they are kept, so that whoever holds one can still have it checked.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.apps import apps
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection

from media_analysis import health, services
from media_analysis.models import Analysis, CustodyEvent, Delivery, Media, WorkerState
from media_analysis.storage import media_storage
from reports.models import IssuedDocument, Report
from sentinel_site import transfer
from sentinel_site.backup import (
    DATABASE,
    FILES,
    FORMAT,
    KEYS,
    MANIFEST,
    PIECE_BYTES,
    SUMS,
    BackupError,
    Manifest,
    Tell,
    decrypt,
    write_keys,
)
from sentinel_site.transfer_records import (
    LEFT_OUT,
    LEFT_OUT_APPS,
    MATCHED,
    SESSION,
    digest_all,
    label_of,
    models_to_move,
)
from twitterbot.models import BotState

# Names that the site gives to files in its storage, and no others.
STORED = re.compile(r"(?:media|analyses)/[0-9a-f]{24}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*){1,3}")
# What is deleted again says so in the custody log.
RULE = "restore"
# What has to outlive the database that is replaced, until the restore is complete.
KEPT_FILE = "restore_kept.json"
FOLDERS = 1000
MOST_BYTES_OF_MANIFEST = 256 << 20


def verify(path: Path) -> Manifest:
    """Compare everything in a backup with its checksums. Raises BackupError for one that is damaged or cut off."""
    with _as_backup_error(), tempfile.TemporaryFile() as computed, tempfile.TemporaryFile() as listed:
        manifest_bytes, names = b"", set()
        sums_sha256 = hashlib.sha256()
        for name, content in _members(path):
            if name in names or manifest_bytes:
                raise BackupError(f"{name} is where nothing should be")
            names.add(name)
            if name == MANIFEST:
                manifest_bytes = content.read(MOST_BYTES_OF_MANIFEST)
                continue
            digest = hashlib.sha256()
            while piece := content.read(PIECE_BYTES):
                digest.update(piece)
                if name == SUMS:
                    listed.write(piece)
                    sums_sha256.update(piece)
            if name != SUMS:
                computed.write(f"{digest.hexdigest()}  {name}\n".encode())
        if not manifest_bytes:
            raise BackupError("its end is missing: it was cut off, or never complete")
        manifest = _read_manifest(manifest_bytes)
        if manifest.sums_sha256 != sums_sha256.hexdigest() or DATABASE not in names:
            raise BackupError(f"{SUMS} was changed")
        computed.seek(0)
        listed.seek(0)
        for line in listed:
            if computed.readline() != line:
                raise BackupError(f"{line.decode().split('  ')[-1].strip()} was changed")
        if computed.readline():
            raise BackupError("something was added to it")
    return manifest


def restore(path: Path, *, overwrite: bool = False, passphrase: str = "", tell: Tell) -> Manifest:
    """Put a site back as it was. With a `passphrase`, its keys too.

    Raises BackupError, with nothing touched, if the backup is damaged, workers run, or there is anything here and
    `overwrite` was not asked for; and TransferError.
    """
    tell("Comparing the backup with its checksums …")
    manifest = verify(path)
    keys = _read_keys(path, manifest, passphrase) if passphrase else None
    if keys:
        # What is signed and encrypted in the rows belongs to this key.
        settings.SECRET_KEY = keys["SECRET_KEY"]
    kept = _make_room(manifest, overwrite=overwrite, tell=tell)
    deleted = {*manifest.deleted, *kept["deleted"]}
    # What follows changes rows: once it has begun, they are not those of the backup any more.
    if not (transfer.is_under_way() and transfer.is_compared()):
        tell("Writing files and rows …")
        _write_all(path, manifest, deleted, has_keys=keys is not None, tell=tell)
        transfer.note_compared()
    _delete_again(deleted, tell)
    _keep_issued(kept["issued"])
    _repair(manifest, tell)
    _quieten(tell)
    _remove_strangers()
    if keys:
        write_keys(keys, tell)
    transfer.forget_state()
    _kept_path().unlink(missing_ok=True)
    return manifest


def _write_all(path: Path, manifest: Manifest, deleted: set[str], *, has_keys: bool, tell: Tell) -> None:
    loader = None
    with _as_backup_error():
        for name, content in _members(path):
            if name == DATABASE:
                loader = _load_rows(content, manifest)
            elif name.startswith(FILES):
                _store(name.removeprefix(FILES), content, deleted)
    assert loader is not None  # noqa: S101 -- verify has seen it
    loader.finish()
    _compare(manifest, loader, has_keys=has_keys, tell=tell)


@contextmanager
def _as_backup_error() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"it is no backup, or was cut off ({error})") from error


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """What is in a backup, in order, each to be read before the next."""
    with tarfile.open(path, mode="r|") as tar:
        for info in tar:
            stored = info.name.removeprefix(FILES) if info.name.startswith(FILES) else ""
            known = info.name in {DATABASE, KEYS, SUMS, MANIFEST} or STORED.fullmatch(stored)
            content = tar.extractfile(info) if info.isreg() and known else None
            if content is None:
                raise BackupError(f"it holds {info.name!r:.100}, which no backup does")
            yield info.name, content


def _read_manifest(content: bytes) -> Manifest:
    try:
        told = json.loads(content)
        if told["format"] != FORMAT:
            raise BackupError(f"it has form {told['format']!r:.20}, and this software knows form {FORMAT}")
        return Manifest(**told)
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{MANIFEST} is not as backups have it ({error})") from error


def _read_keys(path: Path, manifest: Manifest, passphrase: str) -> dict[str, str]:
    if not manifest.has_keys:
        raise BackupError("there are no keys in it: restore it without them")
    with _as_backup_error():
        for name, content in _members(path):
            if name == KEYS:
                keys: dict[str, str] = json.loads(decrypt(content.read(), passphrase))
                return keys
    raise BackupError("there are no keys in it")


def _make_room(manifest: Manifest, *, overwrite: bool, tell: Tell) -> dict[str, Any]:
    """See to it that nothing is here; returns what outlives what was."""
    tables = set(connection.introspection.table_names())
    if WorkerState._meta.db_table in tables and (alive := health.workers_state().alive):
        raise BackupError(
            f"{alive} worker(s) run here. Stop all workers, web servers and the bot first, on every host."
        )
    source = _source_of(manifest)
    if transfer.is_under_way(source):
        tell("Going on with a restore that was interrupted.")
        return _read_kept()
    if not overwrite and (filled := transfer.tables_with_rows()):
        raise BackupError(f"there is data here, in {', '.join(filled)}. With --overwrite, it is replaced.")
    if not overwrite and _has_files():
        raise BackupError("there are files here, in the storage of media. With --overwrite, they are replaced.")
    call_command("migrate", interactive=False, verbosity=0)
    kept = _read_kept()
    kept["deleted"] = sorted({*kept["deleted"], *_deleted_here()})
    kept["issued"] += list(IssuedDocument.objects.values_list("public_id", "kind", "sha256", "issued_at"))
    _write_kept(kept)
    if transfer.is_under_way():
        transfer.forget_state()
    for model in reversed([model for model in apps.get_models(include_auto_created=True) if _is_emptied(model)]):
        model._base_manager.all()._raw_delete(connection.alias)
    for model in reversed(models_to_move()):
        if label_of(model) not in MATCHED:
            model._base_manager.all()._raw_delete(connection.alias)
    return kept


def _is_emptied(model: Any) -> bool:
    """Tables that no backup has: the queue's messages, which speak of rows that will be others."""
    left_out = model._meta.app_label in LEFT_OUT_APPS or label_of(model) in LEFT_OUT
    return left_out and model._meta.managed and not model._meta.proxy


def _source_of(manifest: Manifest) -> str:
    return f"backup {manifest.sums_sha256}"


def _has_files() -> bool:
    storage = media_storage()
    return any(storage.list_folders(folder, after="", limit=1) for folder in ("media", "analyses"))


def _deleted_here() -> set[str]:
    deleted = CustodyEvent.objects.filter(event=CustodyEvent.Event.DELETED)
    return set(deleted.values_list("media_id", flat=True))


def _kept_path() -> Path:
    return Path(settings.DATA_DIR) / KEPT_FILE


def _read_kept() -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(_kept_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"deleted": [], "issued": []}
    return kept


def _write_kept(kept: dict[str, Any]) -> None:
    path = _kept_path()
    draft = path.with_name(f"{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(kept, file, default=lambda moment: moment.isoformat())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _load_rows(content: IO[bytes], manifest: Manifest) -> transfer.Loader:
    with gzip.GzipFile(fileobj=content) as lines:
        header = transfer.read_header(lines.readline().decode())
        named = transfer.Header(header.format, _source_of(manifest), header.keys, header.columns)
        loader = transfer.Loader(named, repair=not manifest.consistent)
        loader.begin()
        for line in lines:
            message = json.loads(line)
            loader.load(message["label"], message["rows"])
    return loader


def _store(name: str, content: IO[bytes], deleted: set[str]) -> None:
    """Put one file where its row says that it is."""
    if name.split("/")[1] in deleted:
        return
    sha256 = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR, delete=False) as draft:
        try:
            while piece := content.read(PIECE_BYTES):
                draft.write(piece)
                sha256.update(piece)
            draft.flush()
            if default_storage.exists(name):
                default_storage.delete(name)
            stored = media_storage().put_file(name, Path(draft.name), sha256.hexdigest())
        finally:
            Path(draft.name).unlink(missing_ok=True)
    if stored != name:
        raise BackupError(f"{name} could only be stored as {stored}")


def _compare(manifest: Manifest, loader: transfer.Loader, *, has_keys: bool, tell: Tell) -> None:
    for label, rows in loader.repaired.items():
        tell(f"{rows} rows of {label} referred to others that were gone when they were read, and were left out.")
    if not manifest.consistent:
        return
    here = {label: [digest.rows, digest.sha256] for label, digest in digest_all().items()}
    different = {label for label, told in manifest.tables.items() if here.get(label) != told}
    if different == {SESSION} and not has_keys:
        # Signed with a key that is not here: they are read otherwise, and worth nothing.
        tell("Nobody stays logged in: this site has another SECRET_KEY than the one in the backup had.")
        different = set()
    if different:
        raise BackupError(f"what was written is not what was read, in {', '.join(sorted(different))}")


def _delete_again(media_ids: set[str], tell: Tell) -> None:
    ids, again = sorted(media_ids), 0
    for start in range(0, len(ids), FOLDERS):
        for media in Media.objects.filter(public_id__in=ids[start : start + FOLDERS]):
            services.delete_media(media, rule=RULE)
            again += 1
    if again:
        tell(f"{again} files that were deleted since are deleted again.")


def _keep_issued(issued: list[list[Any]]) -> None:
    for public_id, kind, sha256, issued_at in issued:
        moment = datetime.fromisoformat(issued_at) if isinstance(issued_at, str) else issued_at
        IssuedDocument.objects.get_or_create(
            sha256=sha256, defaults={"public_id": public_id, "kind": kind, "issued_at": moment}
        )


def _repair(manifest: Manifest, tell: Tell) -> None:
    """Rows whose files were gone already when the backup was made: what can be made anew is, the rest is told."""
    missing = [name for name in manifest.missing if not default_storage.exists(name)]
    for name in missing:
        folder, public_id, *_rest = name.split("/")
        if folder == "media":
            if Media.objects.filter(public_id=public_id).exists():
                tell(f"{name} was missing when the backup was made: its result is here, the file itself is not.")
        elif not Report.objects.filter(file=name).delete()[0]:
            for analysis in Analysis.objects.filter(public_id=public_id):
                analysis.evidence = [stored for stored in analysis.evidence if stored != name]
                analysis.save(update_fields=["evidence"])
                tell(f"{name} was missing when the backup was made: the result goes without that picture.")
        else:
            tell(f"{name} was missing when the backup was made: the report is made anew when it is asked for.")
    for name in manifest.damaged:
        tell(f"{name} was not what it should be when the backup was made.")


def _quieten(tell: Tell) -> None:
    """Nothing is sent a second time that was sent after the backup was made."""
    states = Delivery.Status
    unsent = Delivery.objects.filter(status__in=[states.WAITING, states.SENDING])
    dropped = unsent.update(status=states.DROPPED, claim_token="")
    if dropped:
        tell(f"{dropped} e-mails and push messages that waited are not sent: they may have been since.")
    if BotState.objects.filter(paused=False).update(paused=True):
        tell("The bot on X is paused: it may have answered since. Look at its answers in the admin, then let it go on.")


def _remove_strangers() -> None:
    """Files that belong to no row of here."""
    storage = media_storage()
    tables: tuple[tuple[str, Callable[[list[str]], Any]], ...] = (
        ("media", lambda found: Media.objects.filter(public_id__in=found)),
        ("analyses", lambda found: Analysis.objects.filter(public_id__in=found)),
    )
    for folder, rows_of in tables:
        after = ""
        while found := storage.list_folders(folder, after=after, limit=FOLDERS):
            known = set(rows_of(found).values_list("public_id", flat=True))
            for public_id in found:
                if public_id not in known:
                    storage.remove_folder(f"{folder}/{public_id}")
            after = found[-1]

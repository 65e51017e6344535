"""What has to be looked after all the time: lost analyses, interrupted deletions, files that belong to nothing."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, connections
from django.utils import timezone

from accounts import mails
from accounts.outages import is_outage
from media_analysis import (
    account_deletion,
    deliveries,
    downloads,
    evidence,
    half_made,
    health,
    links,
    live,
    notifications,
    resumable,
    retention,
    scheduling,
    scratch,
    services,
)
from media_analysis.models import Analysis, Media
from media_analysis.storage import StorageTrouble, media_storage

logger = logging.getLogger(__name__)

# Longer than any upload takes, so that nothing in use is swept away.
ABANDONED_AFTER = timedelta(hours=1)
# A process that has loaded its detector claims what it is told of at once.
STUCK_AFTER = timedelta(seconds=60)


# So many folders of the storage are looked at in one round: the next goes on behind them.
FOLDERS_A_ROUND = 1000
SWEEP_SECONDS = 600.0


def sweep_abandoned_files() -> int:
    """Delete what killed processes left, on this host's disks and in the storage; returns the number of files.

    Half uploads, copies of originals, files whose row was never written, pictures whose row is gone or that a killed
    try left; the pictures of one try count as one. Every host does it: each has disks that no other sees, and of the
    storage, which they share, only some folders are looked at in each round.
    """
    swept = sum(map(_attempt, (sweep_incoming, scratch.sweep, _orphaned_pictures.sweep, _orphaned_originals.sweep)))
    if swept:
        logger.warning("Deleted %s abandoned files", swept)
    return swept


def sweep_incoming() -> int:
    """Delete half uploads and half fetched links of this host; returns how many."""
    swept = 0
    before = time.time() - ABANDONED_AFTER.total_seconds()
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir():
        try:
            if path.stat().st_mtime >= before:
                continue
        except FileNotFoundError:
            continue
        if path.is_file():
            path.unlink(missing_ok=True)
            swept += 1
        elif path.name.startswith(downloads.FOLDER_PREFIX):
            shutil.rmtree(path, ignore_errors=True)
            swept += 1
    return swept


class FolderSweep:
    """Goes through the folders in a folder of the storage, some in each round, and begins anew at the end."""

    def __init__(self, folder: str, discard: Callable[[list[str]], int]) -> None:
        self._folder = folder
        self._discard = discard
        self._after = ""

    def sweep(self) -> int:
        """One round; returns how many it discarded. Raises ``storage_unavailable``."""
        found = media_storage().list_folders(self._folder, after=self._after, limit=FOLDERS_A_ROUND)
        self._after = found[-1] if len(found) == FOLDERS_A_ROUND else ""
        return self._discard(found)


def _discard_originals(folders: list[str]) -> int:
    known = set(Media.objects.filter(public_id__in=folders).values_list("public_id", flat=True))
    swept = 0
    for public_id in folders:
        if public_id in known:
            continue
        folder = f"media/{public_id}"
        # Somebody else may be removing it at this moment.
        with suppress(FileNotFoundError):
            names = default_storage.listdir(folder)[1]
            made = [default_storage.get_modified_time(f"{folder}/{name}") for name in names]
            # Without a row as yet: it may just be coming in.
            if made and max(made) < timezone.now() - ABANDONED_AFTER:
                media_storage().remove_folder(folder)
                swept += len(made)
    return swept


def _discard_pictures(folders: list[str]) -> int:
    orphans = evidence.discard_orphans(folders)
    return orphans + evidence.discard_dead_tries(folders, ended_before=timezone.now() - ABANDONED_AFTER)


_orphaned_pictures = FolderSweep(evidence.FOLDER, _discard_pictures)
_orphaned_originals = FolderSweep("media", _discard_originals)


@cache
def keep_swept() -> None:
    """Have abandoned uploads of this host swept from now on: called by web processes, whose host may have no worker."""
    UploadSweeper().start()


class UploadSweeper(threading.Thread):
    """Sweeps the uploads of this host now and then, for as long as the process lives."""

    def __init__(self) -> None:
        super().__init__(name="sweeper", daemon=True)

    def run(self) -> None:
        while True:
            try:
                swept = sweep_incoming() + resumable.sweep_uploads()
                if swept:
                    logger.warning("Deleted %s abandoned uploads", swept)
            except (DatabaseError, OSError):
                logger.exception("Abandoned uploads could not be swept")
            finally:
                # This thread's own connection: nobody else would close it.
                connections.close_all()
            time.sleep(SWEEP_SECONDS)


class IdleWatch:
    """Notices workers that no longer take what waits.

    A worker that is killed while it waits for work takes with it the lock of the queue that it shares with the
    others: then only a new start of them all helps.
    """

    def __init__(self) -> None:
        self._fine_at = time.monotonic()

    def is_stuck(self) -> bool:
        """Whether analyses that this worker can do have waited for longer than any start takes, and it did none."""
        if not self._nobody_works():
            self._fine_at = time.monotonic()
        return time.monotonic() - self._fine_at > STUCK_AFTER.total_seconds()

    @staticmethod
    def _nobody_works() -> bool:
        states = Analysis.Status
        ability = scheduling.own_ability()
        ours = Analysis.objects.filter(worker__startswith=health.worker_name())
        lately = timezone.now() - STUCK_AFTER
        return (
            scheduling.something_waits(ability)
            and not ours.filter(status=states.RUNNING).exists()
            and not ours.filter(
                status__in=[states.DONE, states.FAILED], lane__in=ability.lanes, finished_at__gte=lately
            ).exists()
            # A large network takes minutes to load, and what waits waits for it.
            and not health.is_starting()
        )


_quiet_until = 0.0


def database_was_away() -> None:
    """Let heartbeats come again before anybody is missed: while the database is away, nobody can be heard."""
    global _quiet_until  # noqa: PLW0603 -- one for each process
    _quiet_until = time.monotonic() + settings.SENTINEL_STALLED_AFTER_SECONDS


def tidy_up() -> None:
    """One round of what has to be done every few seconds."""
    heard = time.monotonic() >= _quiet_until
    for step in (
        *((services.requeue_stalled, links.recover_lost) if heard else ()),
        services.complete_deletions,
        account_deletion.erase_closed_accounts,
        notifications.announce_missed,
        deliveries.recover_lost,
        mails.recover_lost,
        live.discard_finished,
    ):
        _attempt(step)


def sweep_expired() -> None:
    """Delete what is kept for a time only: resumable uploads, the last words of workers that are gone, and files, where
    the site says so.
    """
    for step in (resumable.sweep_uploads, health.sweep_workers, retention.apply):
        _attempt(step)
    if not connection.features.supports_transactions:
        _attempt(half_made.repair)


def _attempt(step: Callable[[], int]) -> int:
    """What this step of housekeeping returns; 0 where it broke off, for a later round.

    Neither the other steps nor the worker, with all that it examines, end for one row or file that something is wrong
    with. Raises :class:`django.db.Error` while the database is away, which concerns them all.
    """
    try:
        return step()
    except StorageTrouble as error:
        logger.warning("%s waits for the storage: %s", step.__qualname__, error)
    except Exception as error:
        if is_outage(error):
            raise
        logger.exception("%s broke off", step.__qualname__)
    return 0

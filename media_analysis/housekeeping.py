"""What has to be looked after all the time: lost analyses, interrupted deletions, files that belong to nothing."""

from __future__ import annotations

import logging
import shutil
import time
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from media_analysis import (
    account_deletion,
    deliveries,
    downloads,
    evidence,
    health,
    links,
    live,
    notifications,
    resumable,
    services,
)
from media_analysis.models import Analysis, Media

logger = logging.getLogger(__name__)

# Longer than any upload takes, so that nothing in use is swept away.
ABANDONED_AFTER = timedelta(hours=1)
# A process that has loaded its detector claims what it is told of at once.
STUCK_AFTER = timedelta(seconds=60)


def sweep_abandoned_files() -> int:
    """Delete what killed processes left: half uploads, files whose row was never written, pictures whose row is gone.

    Returns the number of files deleted, the pictures of one analysis counted as one.
    """
    swept = evidence.discard_orphans()
    before = time.time() - ABANDONED_AFTER.total_seconds()
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir():
        if path.stat().st_mtime >= before:
            continue
        if path.is_file():
            path.unlink(missing_ok=True)
            swept += 1
        elif path.name.startswith(downloads.FOLDER_PREFIX):
            shutil.rmtree(path, ignore_errors=True)
            swept += 1
    try:
        folders, _ = default_storage.listdir("media")
    except FileNotFoundError:
        return swept
    known = set(Media.objects.values_list("public_id", flat=True))
    for public_id in folders:
        name = f"media/{public_id}/original"
        if public_id in known or not default_storage.exists(name):
            continue
        if default_storage.get_modified_time(name) < timezone.now() - ABANDONED_AFTER:
            default_storage.delete(name)
            swept += 1
    if swept:
        logger.warning("Deleted %s abandoned files", swept)
    return swept


class IdleWatch:
    """Notices workers that no longer take what waits.

    A worker that is killed while it waits for work takes with it the lock of the queue that it shares with the
    others: then only a new start of them all helps.
    """

    def __init__(self) -> None:
        self._fine_at = time.monotonic()

    def is_stuck(self) -> bool:
        """Whether analyses have waited, with none running or finished, for longer than any start takes."""
        if not self._nobody_works():
            self._fine_at = time.monotonic()
        return time.monotonic() - self._fine_at > STUCK_AFTER.total_seconds()

    @staticmethod
    def _nobody_works() -> bool:
        states = Analysis.Status
        return (
            Analysis.objects.filter(status=states.QUEUED).exclude(stage=Analysis.Stage.FETCHING).exists()
            and not Analysis.objects.filter(status=states.RUNNING).exists()
            and not Analysis.objects.filter(finished_at__gte=timezone.now() - STUCK_AFTER).exists()
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
    if time.monotonic() >= _quiet_until:
        services.requeue_stalled()
        links.recover_lost()
    services.complete_deletions()
    account_deletion.erase_closed_accounts()
    notifications.announce_missed()
    deliveries.recover_lost()
    live.discard_finished()


def sweep_expired() -> None:
    """Delete what is kept for a time only: resumable uploads, and the last words of workers that are gone."""
    resumable.sweep_uploads()
    health.sweep_workers()

"""What has to be looked after all the time: lost analyses, interrupted deletions, files that belong to nothing."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from media_analysis import services
from media_analysis.models import Analysis, Media

logger = logging.getLogger(__name__)

# Longer than any upload takes, so that nothing in use is swept away.
ABANDONED_AFTER = timedelta(hours=1)


def sweep_abandoned_files() -> int:
    """Delete what a killed web process left: half uploads, and stored files whose row was never written.

    Returns the number of files deleted.
    """
    swept = 0
    before = time.time() - ABANDONED_AFTER.total_seconds()
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir():
        if path.is_file() and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
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


def workers_are_stuck() -> bool:
    """Whether analyses wait although nobody works, for longer than any start takes.

    That happens when a worker is killed while it holds the lock of the queue that it shares with the others: only
    a new start of them all helps.
    """
    if Analysis.objects.filter(status=Analysis.Status.RUNNING).exists():
        return False
    now = timezone.now()
    since = now - timedelta(seconds=settings.SENTINEL_STALLED_AFTER_SECONDS * 2)
    if not Analysis.objects.filter(status=Analysis.Status.QUEUED, enqueued_at__lt=since).exists():
        return False
    return not Analysis.objects.filter(finished_at__gte=since).exists()


def tidy_up() -> None:
    """One round of what has to be done every few seconds."""
    services.requeue_stalled()
    services.complete_deletions()

"""Files that are kept for so many days only, where the site says so; their owners are told some days before.

The rule: a file goes ``SENTINEL_RETENTION_DAYS`` after it was received, but never before its owner has been told for
``SENTINEL_RETENTION_NOTICE_DAYS``, never while it is examined, and, unless the settings say otherwise, never while a
case that it is in is open: what the police work with is not for a clock to take away.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from media_analysis import notifications, selectors, services
from media_analysis.models import Analysis, Case, CaseMedia, Media, Notification

logger = logging.getLogger(__name__)

RULE = "retention"
UNFINISHED = (Analysis.Status.QUEUED, Analysis.Status.RUNNING)
CHUNK = 200
# Each takes its pictures and reports with it. Housekeeping comes again in ten minutes.
MOST_AT_ONCE = 200


def is_on() -> bool:
    return bool(settings.SENTINEL_RETENTION_DAYS > 0)


def deletes_at(media: Media) -> datetime | None:
    """When this file will be deleted; None if it is kept, as things are."""
    if not is_on() or media.deleted_at is not None or _in_open_cases([media]):
        return None
    told = _told([media]).get(media.pk)
    return max(_due(media), (told.created_at if told else timezone.now()) + _notice())


def is_kept_for_case(media: Media) -> bool:
    """Whether only a case that is open keeps this file from being deleted."""
    return is_on() and bool(_in_open_cases([media]))


def apply() -> int:
    """Tell the owners of files that will go soon, and delete those whose time has come; returns how many went."""
    if not is_on():
        return 0
    now, gone = timezone.now(), 0
    for chunk in _in_chunks(_soon_due(now)):
        spared, told = _in_open_cases(chunk), _told(chunk)
        # When the case is closed, their owners are told anew.
        _withdraw(spared)
        for media in chunk:
            if media.pk in spared:
                continue
            if media.pk not in told:
                _tell(media)
            elif (
                _due(media) <= now
                and told[media.pk].created_at + _notice() <= now
                and gone < MOST_AT_ONCE
                and not media.analyses.filter(status__in=UNFINISHED).exists()
                # Asked again: those before it took their time, and somebody may have put it into a case.
                and not _in_open_cases([media])
            ):
                gone += _delete(media)
    if gone:
        logger.info("Deleted %s files after %s days", gone, settings.SENTINEL_RETENTION_DAYS)
    return gone


def _notice() -> timedelta:
    return timedelta(days=min(settings.SENTINEL_RETENTION_NOTICE_DAYS, settings.SENTINEL_RETENTION_DAYS))


def _due(media: Media) -> datetime:
    """To the millisecond, as every database gives it back."""
    due = media.created_at + timedelta(days=settings.SENTINEL_RETENTION_DAYS)
    return due.replace(microsecond=due.microsecond // 1000 * 1000)


def _soon_due(now: datetime) -> QuerySet[Media]:
    """The files whose owners are to be told by now, the oldest first."""
    received = now - timedelta(days=settings.SENTINEL_RETENTION_DAYS) + _notice()
    return Media.objects.filter(deleted_at__isnull=True, created_at__lte=received).order_by("created_at")


def _in_chunks(found: QuerySet[Media]) -> Iterator[list[Media]]:
    rows = found.iterator(chunk_size=CHUNK)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _in_open_cases(files: Iterable[Media]) -> set[int]:
    """The keys of those that an open case keeps."""
    if not settings.SENTINEL_RETENTION_SPARES_OPEN_CASES:
        return set()
    kept = CaseMedia.objects.filter(media__in=[media.pk for media in files], case__status=Case.Status.OPEN)
    return {pk for pk in kept.values_list("media_id", flat=True) if pk is not None}


def _told(files: Iterable[Media]) -> dict[int, Notification]:
    """By the key of the file, that its owner was told of the day that counts now."""
    by_key = {media.pk: media for media in files}
    notices = Notification.objects.filter(
        kind=Notification.Kind.EXPIRING, analysis__media__in=list(by_key)
    ).select_related("analysis")
    return {
        notice.analysis.media_id: notice
        for notice in notices
        if notice.finished_at == _due(by_key[notice.analysis.media_id])
    }


def _tell(media: Media) -> None:
    analysis = selectors.standing(media.analyses.all()).order_by("-created_at").first()
    if analysis is not None:
        notifications.announce_deletion(analysis, _due(media))


def _withdraw(keys: Collection[int]) -> None:
    if keys:
        Notification.objects.filter(kind=Notification.Kind.EXPIRING, analysis__media__in=keys).delete()


def _delete(media: Media) -> bool:
    try:
        services.delete_media(media, rule=RULE)
    except OSError:
        # It is hidden, and tried again: one that cannot be removed here keeps no other.
        logger.exception("Media %s could not be deleted after its time", media.public_id)
        return False
    return True

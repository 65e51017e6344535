"""What a killed process leaves half written where transactions mean nothing, as on MongoDB, and how it is made whole.

Everything that belongs together is written in an order that leaves no doubt: an analysis is the last row of a
submission, so a file without one was never accepted, and the log says which analysis a file was received for, so what
was spent on one that never was can be told from what was spent on one that is deleted. docs/databases.md has the list.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db.models import CASCADE, Exists, ForeignKey, OuterRef
from django.utils import timezone

from accounts import limits
from accounts.models import UsageEntry
from media_analysis import custody, services
from media_analysis.models import Analysis, Case, CustodyEvent, DeletionReceipt, Media
from media_analysis.storage import StorageTrouble

logger = logging.getLogger(__name__)

# Nothing older is looked for: this is done every few minutes.
LOOK_BACK = timedelta(days=1)
OURS = ("accounts", "media_analysis", "reports", "twitterbot")


def repair() -> int:
    """Complete or undo everything that was interrupted; returns how many rows were touched."""
    touched = give_back_spent() + remove_cases()
    try:
        touched += remove_files() + remove_orphans()
    except StorageTrouble as error:
        # In a later round: what a row names is removed before the row.
        logger.warning("Files that were never accepted wait for the storage: %s", error)
    if touched:
        logger.warning("Made %s rows whole that something interrupted", touched)
    return touched


def remove_files() -> int:
    """Files whose submission broke off before its analysis: nobody was told that they were accepted."""
    older, newer = _times()
    half = Media.objects.filter(created_at__lt=older, created_at__gte=newer, analyses__isnull=True)
    found = list(half.filter(deleted_at__isnull=True))
    for media in found:
        services.undo_submission(media)
    return len(found)


def give_back_spent() -> int:
    """What was spent on analyses that never were, since their submission broke off right after."""
    older, newer = _times()
    entries = UsageEntry.objects.filter(created_at__lt=older, created_at__gte=newer).select_related("user")
    spent = {entry.reference: entry for entry in entries}
    there = set(Analysis.objects.filter(public_id__in=list(spent)).values_list("public_id", flat=True))
    given_back = 0
    for reference, entry in spent.items():
        if reference in there or reference in _asked_for(entry):
            continue
        limits.give_back(reference)
        given_back += 1
    return given_back


def remove_cases() -> int:
    """Cases without members: the owner's membership was to follow."""
    older, _newer = _times()
    half = list(Case.objects.filter(created_at__lt=older, members__isnull=True))
    for case in half:
        case.delete()
    return len(half)


def remove_orphans() -> int:
    """Rows that came while what they belong to was deleted, where no foreign key refuses them."""
    removed = 0
    for model in apps.get_models():
        if model._meta.app_label not in OURS:
            continue
        for field in model._meta.concrete_fields:
            if not isinstance(field, ForeignKey) or field.remote_field.on_delete is not CASCADE:
                continue
            removed += _remove_orphans_of(model, field)
    return removed


def _remove_orphans_of(model: Any, field: Any) -> int:
    target = field.remote_field.model._default_manager.filter(pk=OuterRef(field.attname))
    orphans = model._default_manager.filter(~Exists(target), **{f"{field.attname}__isnull": False})
    keys = list(orphans.values_list("pk", flat=True)[:1000])
    if not keys:
        return 0
    found = model._default_manager.filter(pk__in=keys)
    if model is Media:
        for media in found:
            services.discard_stored(media)
    found.delete()
    return len(keys)


def _times() -> tuple[datetime, datetime]:
    now = timezone.now()
    return now - services.UNDER_WAY, now - LOOK_BACK


def _asked_for(entry: UsageEntry) -> set[str]:
    """The analyses that the log names for what this user submitted around the time that this was spent, and for what
    they deleted since: one that failed and was tried again had come long before.
    """
    received = CustodyEvent.objects.filter(event=custody.Event.RECEIVED)
    around = received.filter(
        actor=entry.user.public_id,
        at__gte=entry.created_at - services.UNDER_WAY,
        at__lt=entry.created_at + services.UNDER_WAY,
    )
    since = DeletionReceipt.objects.filter(owner=entry.user, deleted_at__gte=entry.created_at - services.UNDER_WAY)
    deleted = received.filter(media_id__in=list(since.values_list("media_public_id", flat=True)))
    return {str(event.details.get("analysis", "")) for event in (*around, *deleted)}

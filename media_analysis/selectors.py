"""Reading, always through the eyes of somebody: what a user may not see does not exist.

A user sees their own files and those of the cases that they are a member of. What only the owner of a file may do goes
through the selectors with "own" in their names.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.errors import Code, SentinelError
from accounts.models import User
from accounts.texts import spellings_of
from media_analysis.models import Analysis, CaseMedia, DeletionReceipt, Feedback, Media


def media_visible_to(user: User) -> QuerySet[Media]:
    """Their own, and those of their cases."""
    shared = CaseMedia.objects.filter(media_id=OuterRef("pk"), case__members__user=user)
    return Media.objects.filter(Q(owner=user) | Exists(shared), deleted_at__isnull=True)


def analyses_visible_to(user: User) -> QuerySet[Analysis]:
    """Of their own files, and of those of their cases."""
    shared = CaseMedia.objects.filter(media_id=OuterRef("media_id"), case__members__user=user)
    seen = Analysis.objects.filter(Q(media__owner=user) | Exists(shared), media__deleted_at__isnull=True)
    return seen.select_related("media__link")


def own_analyses(user: User) -> QuerySet[Analysis]:
    """Of their own files, newest first, without everything found, which may be megabytes a page."""
    seen = Analysis.objects.filter(of_own_files(user)).select_related("media__link").defer("result", "evidence")
    # By the file's time, which an index holds for each owner: the analysis's own would mean sorting all of theirs.
    return seen.order_by("-media__created_at", "-media_id", "-id")


def standing(analyses: QuerySet[Analysis]) -> QuerySet[Analysis]:
    """Without those by which a file is examined again, as long as there is no result: until then, and if that fails,
    the result that the file has stands.
    """
    unfinished = [Analysis.Status.QUEUED, Analysis.Status.RUNNING, Analysis.Status.FAILED]
    return analyses.exclude(priority=Analysis.Priority.AGAIN, status__in=unfinished)


def of_own_files(user: User) -> Q:
    """That an analysis is of a file of theirs which is not deleted.

    MongoDB looks the file of each analysis up before it knows whose it is. So that it reads theirs and nobody else's,
    it is given the keys of their files.
    """
    if connection.vendor != "mongodb":
        return Q(media__owner=user, media__deleted_at__isnull=True)
    return Q(media__in=read_keys(Media.objects.filter(owner=user, deleted_at__isnull=True)))


def read_keys(rows: QuerySet[Any]) -> list[Any]:
    """The keys of a few, to find others by with ``__in``.

    In a query of its own: as a part of the other, MongoDB would run it for each row there, and SQLite begin with those.
    """
    return list(rows.order_by().values_list("pk", flat=True))


def get_analysis(user: User, public_id: str) -> Analysis:
    """Raises ``not_found`` for a stranger's exactly as for one that never was."""
    analysis = analyses_visible_to(user).filter(public_id=public_id).first()
    if analysis is None:
        raise SentinelError(Code.NOT_FOUND)
    return analysis


def get_media(user: User, public_id: str) -> Media:
    """Raises ``not_found`` for a stranger's exactly as for one that never was."""
    media = media_visible_to(user).filter(public_id=public_id).first()
    if media is None:
        raise SentinelError(Code.NOT_FOUND)
    return media


def get_own_analysis(user: User, public_id: str) -> Analysis:
    """For what only the owner of its file may do. Raises ``forbidden`` for one that they may only look at, and
    ``not_found`` for any other.
    """
    analysis = get_analysis(user, public_id)
    if analysis.media.owner_id != user.pk:
        raise SentinelError(Code.FORBIDDEN)
    return analysis


def get_own_media(user: User, public_id: str) -> Media:
    """For what only its owner may do. Raises as :func:`get_own_analysis` does."""
    media = get_media(user, public_id)
    if media.owner_id != user.pk:
        raise SentinelError(Code.FORBIDDEN)
    return media


def filter_analyses(
    analyses: QuerySet[Analysis],
    *,
    state: str = "",
    name: str = "",
    kind: str = "",
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> QuerySet[Analysis]:
    """Narrow down by a status or outcome (an unknown one changes nothing), by part of the file's name, by its kind, and
    by when it was received: at `created_after` or later, before `created_before`.
    """
    # "iexact" keeps SQLite from the index on the status, by which it would read everybody's analyses.
    if state in Analysis.Status.values:
        analyses = analyses.filter(status__iexact=state)
    elif state in Analysis.Outcome.values:
        analyses = analyses.filter(status__iexact=Analysis.Status.DONE, outcome=state)
    if name:
        named = (Q(media__original_name__icontains=spelling) for spelling in sorted(spellings_of(name)))
        analyses = analyses.filter(reduce(or_, named))
    if kind:
        analyses = analyses.filter(media__kind=kind)
    if created_after is not None:
        analyses = analyses.filter(media__created_at__gte=created_after)
    if created_before is not None:
        analyses = analyses.filter(media__created_at__lt=created_before)
    return analyses


def receipts_of(user: User) -> QuerySet[DeletionReceipt]:
    return DeletionReceipt.objects.filter(owner=user)


def seconds_running(analysis: Analysis) -> float | None:
    """Seconds since the running try began; None when it does not run."""
    if analysis.status != Analysis.Status.RUNNING or analysis.started_at is None:
        return None
    return (timezone.now() - analysis.started_at).total_seconds()


def get_feedback(user: User, analysis: Analysis) -> Feedback | None:
    """What this user said about an analysis; None if nothing yet."""
    return Feedback.objects.filter(analysis=analysis, given_by=user).first()


def all_feedback() -> QuerySet[Feedback]:
    """Everybody's feedback on files that are still here: for reviewers and exports, never for users."""
    return Feedback.objects.filter(analysis__media__deleted_at__isnull=True).select_related("analysis__media")

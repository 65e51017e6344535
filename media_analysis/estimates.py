"""How long those who wait have to wait, judged by what happened so far and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from django.utils import timezone

from media_analysis.models import Analysis, Media

# What is typical is the median of so many of the latest analyses.
LATEST = 20
# Below this progress in percent, a try's own pace says little.
PACE_FROM = 15


@dataclass(frozen=True, slots=True)
class Outlook:
    """``position`` is how many analyses are before this one, 0 once it runs; ``seconds_left`` until its result.

    None where nothing is known that would allow an estimate.
    """

    position: int
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class _Unfinished:
    pk: int
    running: bool
    progress: int
    started_at: datetime | None
    kind: str


def outlooks() -> dict[int, Outlook]:
    """The outlook of every analysis that waits or runs, by its key."""
    states = Analysis.Status
    rows = (
        Analysis.objects.filter(status__in=[states.QUEUED, states.RUNNING], media__deleted_at__isnull=True)
        # Nobody knows when the file of a link comes; it holds up nobody until then.
        .exclude(stage=Analysis.Stage.FETCHING)
        .order_by("created_at", "pk")
        .values_list("pk", "status", "progress", "started_at", "media__kind")
    )
    unfinished = [
        _Unfinished(pk, status == states.RUNNING, progress, started_at, kind)
        for pk, status, progress, started_at, kind in rows
    ]
    return look_ahead(unfinished, typical_seconds() if unfinished else {}, timezone.now())


def typical_seconds() -> dict[str, float]:
    """Seconds from start to end of the latest analyses, by the kind of media. A kind without any is left out."""
    found = {}
    for kind in Media.Kind.values:
        latest = Analysis.objects.filter(
            status=Analysis.Status.DONE, media__kind=kind, started_at__isnull=False
        ).order_by("-finished_at")
        spans = [
            (end - start).total_seconds()
            for start, end in latest.values_list("started_at", "finished_at")[:LATEST]
            if start and end
        ]
        if spans:
            found[kind] = median(spans)
    return found


def look_ahead(unfinished: Iterable[_Unfinished], typical: dict[str, float], now: datetime) -> dict[int, Outlook]:
    """Outlooks of analyses in their order, from how long each kind typically takes.

    As many are thought to run at a time as do now.
    """
    everything = list(unfinished)
    at_a_time = max(sum(each.running for each in everything), 1)
    found: dict[int, Outlook] = {}
    work: float | None = sum_known(seconds_left(each, typical, now) for each in everything if each.running)
    for position, each in enumerate(everything):
        own = seconds_left(each, typical, now)
        if each.running:
            found[each.pk] = Outlook(0, own)
            continue
        found[each.pk] = Outlook(position, None if work is None or own is None else work / at_a_time + own)
        work = None if work is None or own is None else work + own
    return found


def sum_known(values: Iterable[float | None]) -> float | None:
    """The sum, None if one of them is not known."""
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def seconds_left(analysis: _Unfinished, typical: dict[str, float], now: datetime) -> float | None:
    """Of its own work: at first by what is typical, and the further it is, the more by its own pace."""
    # Of a kind that was never examined here, the other kind is the better guess than none.
    usual = typical.get(analysis.kind) or max(typical.values(), default=None)
    if not analysis.running or analysis.started_at is None:
        return usual
    elapsed = max((now - analysis.started_at).total_seconds(), 0.0)
    rest = None if usual is None else max(usual - elapsed, 0.0)
    if analysis.progress < PACE_FROM:
        return rest
    done = analysis.progress / 100
    by_pace = elapsed * (1 - done) / done
    return by_pace if rest is None else done * by_pace + (1 - done) * rest

"""How long those who wait have to wait, judged by what happened so far and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import mean, median

from django.db.models import Value

from accounts import clock
from media_analysis import scheduling
from media_analysis.models import Analysis, Media

# What is typical is the median of so many of the latest analyses.
LATEST = 20
# Among so many of all kinds these are looked for.
LATEST_OF_ALL = 100
# Of so many that are before one, their kinds are looked at; of more, the usual mixture is assumed.
KINDS_OF = 200
# Below this progress in percent, a try's own pace says little.
PACE_FROM = 15


@dataclass(frozen=True, slots=True)
class Outlook:
    """``position`` is how many analyses are before this one, 0 once it runs; ``seconds_left`` until its result.

    None where nothing is known that would allow an estimate. ``served`` tells whether anybody can examine it.
    """

    position: int
    seconds_left: float | None
    served: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """One that runs: how far it is in percent, since when, and the kind of its file."""

    progress: int
    started_at: datetime | None
    kind: str


class Lane:
    """What is known of a lane at one moment: what runs in it, and how long such analyses took lately."""

    def __init__(self, lane: str) -> None:
        rows = Analysis.objects.filter(status=Analysis.Status.RUNNING, lane=lane)
        self.running = {
            pk: Running(progress, started_at, kind)
            for pk, progress, started_at, kind in rows.values_list("pk", "progress", "started_at", "media__kind")
        }
        self.typical = typical_seconds(lane)
        self.now = clock.now()

    def of_running(self, pk: int) -> Outlook:
        return Outlook(0, seconds_left(self.running[pk], self.typical, self.now))

    def of_waiting(self, analysis: Analysis, before: int, kinds: Mapping[str, int] | None) -> Outlook:
        """One with so many `before` it, of which the `kinds` are known; None if nobody can examine it."""
        position = len(self.running) + before
        if kinds is None:
            return Outlook(position, None, served=False)
        return Outlook(
            position,
            wait(self.running.values(), before, kinds, analysis.media.kind, typical=self.typical, now=self.now),
        )


def outlooks(pks: Iterable[int], abilities: Iterable[scheduling.Ability]) -> dict[int, Outlook]:
    """The outlook of those of these analyses that wait or run, by their keys; workers with `abilities` live."""
    states = Analysis.Status
    rows = Analysis.objects.filter(
        pk__in=list(pks), status__in=[states.QUEUED, states.RUNNING], media__deleted_at__isnull=True
    ).select_related("media")
    found, waiting = {}, []
    lanes: dict[str, Lane] = {}
    able = list(abilities)
    for analysis in rows:
        if not analysis.lane:
            # Nobody knows when the file of a link comes; it holds up nobody until then.
            found[analysis.pk] = Outlook(0, None, served=bool(able))
            continue
        lane = lanes.get(analysis.lane) or lanes.setdefault(analysis.lane, Lane(analysis.lane))
        if analysis.pk in lane.running:
            found[analysis.pk] = lane.of_running(analysis.pk)
        elif analysis.status == states.QUEUED:
            waiting.append(analysis)
    served = [each for each in waiting if any(one.can_do(each.lane, each.wanted_detector) for one in able)]
    before = dict(zip((each.pk for each in waiting), scheduling.waiting_before(waiting), strict=True))
    kinds = {each.pk: Counter[str]() for each in served}
    kinds.update(_kinds_before([each for each in served if before[each.pk] <= KINDS_OF]))
    for analysis in waiting:
        lane = lanes[analysis.lane]
        found[analysis.pk] = lane.of_waiting(analysis, before[analysis.pk], kinds.get(analysis.pk))
    return found


def typical_seconds(lane: str = scheduling.DEFAULT_LANE) -> dict[str, float]:
    """Seconds from start to end of the latest analyses, by the kind of media. A kind without any is left out."""
    done = Analysis.objects.filter(status=Analysis.Status.DONE, lane=lane, started_at__isnull=False)
    latest = list(done.order_by("-finished_at").values_list("media_id", "started_at", "finished_at")[:LATEST_OF_ALL])
    kinds = _kinds_of(media_id for media_id, _begun, _ended in latest)
    spans: dict[str, list[float]] = {kind: [] for kind in Media.Kind.values}
    for media_id, begun, ended in latest:
        kind = kinds.get(media_id, "")
        if kind and begun and ended and len(spans[kind]) < LATEST:
            spans[kind].append(max((ended - begun).total_seconds(), 0.0))
    return {kind: median(seconds) for kind, seconds in spans.items() if seconds}


def wait(
    running: Iterable[Running],
    before: int,
    kinds: Mapping[str, int],
    own_kind: str,
    *,
    typical: Mapping[str, float],
    now: datetime,
) -> float | None:
    """Seconds until the result of one that waits behind what runs and `before` others, of which the `kinds` are known.

    As many are thought to run at a time as do now.
    """
    everything = list(running)
    own = usual_seconds(own_kind, typical)
    rests = [seconds_left(each, typical, now) for each in everything]
    known = [rest for rest in rests if rest is not None]
    if own is None or len(known) < len(rests):
        return None
    of_known = sum((usual_seconds(kind, typical) or own) * count for kind, count in kinds.items())
    others = max(before - sum(kinds.values()), 0) * mean(typical.values())
    return (sum(known) + of_known + others) / max(len(everything), 1) + own


def usual_seconds(kind: str, typical: Mapping[str, float]) -> float | None:
    """Of a kind that was never examined here, the other kind is the better guess than none."""
    return typical.get(kind) or max(typical.values(), default=None)


def seconds_left(analysis: Running, typical: Mapping[str, float], now: datetime) -> float | None:
    """Of its own work: at first by what is typical, and the further it is, the more by its own pace."""
    usual = usual_seconds(analysis.kind, typical)
    if analysis.started_at is None:
        return usual
    elapsed = max((now - analysis.started_at).total_seconds(), 0.0)
    rest = None if usual is None else max(usual - elapsed, 0.0)
    if analysis.progress < PACE_FROM:
        return rest
    done = analysis.progress / 100
    by_pace = elapsed * (1 - done) / done
    return by_pace if rest is None else done * by_pace + (1 - done) * rest


def _kinds_before(waiting: Sequence[Analysis]) -> dict[int, Counter[str]]:
    """Of each that waits, how many of which kind are ahead of it. Reads all that are, so there should be few."""
    stretches = [
        scheduling.waiting_like(analysis).filter(stretch).annotate(of=Value(number)).values_list("of", "media_id")
        for number, analysis in enumerate(waiting)
        for stretch in scheduling.ahead_of(analysis)
    ]
    ahead = list(scheduling.all_of(stretches))
    kinds = _kinds_of(media_id for _number, media_id in ahead)
    found = {analysis.pk: Counter[str]() for analysis in waiting}
    for number, media_id in ahead:
        # One that is deleted meanwhile has none.
        if kind := kinds.get(media_id):
            found[waiting[number].pk][kind] += 1
    return found


def _kinds_of(media_ids: Iterable[int]) -> dict[int, str]:
    """Apart from the analyses, since MongoDB would join all that there are to find the few that are wanted."""
    return dict(Media.objects.filter(pk__in=set(media_ids)).values_list("pk", "kind"))

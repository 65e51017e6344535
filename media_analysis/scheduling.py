"""Which of the waiting analyses is examined next: decided here, from their rows, whenever a worker is free.

Each waits in a lane, which some workers serve, under a priority: what a person waits for goes before one of many, and
that before what is examined again. Within a priority, users take turns. A new analysis gets the number of a turn: the
one that is served now, or the one after its requester's last, if that is later. So whoever has 500 files waiting has
one in each of the next 500 turns, and somebody's first comes next. That is start-time fair queueing (Goyal, Vin and
Cheng, 1996) with a cost of one for every file.

One claim in eight takes what has waited longest instead, whatever its priority and turn, so that nothing waits for
ever however many others come. Nothing here writes: :mod:`media_analysis.services` does. docs/queue.md tells operators.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet, Value
from django.utils import timezone

from accounts.models import User
from media_analysis.models import Analysis, Submission

DEFAULT_LANE = "default"
# One claim in so many takes what has waited longest.
OLDEST_EVERY = 8
# Looked at in one go: of several workers that are free at the same moment each gets another one.
CANDIDATES = 8
# So many questions are asked in one: four for the place of one analysis. SQLite takes 500, and MongoDB some more.
ASKED_TOGETHER = 200
# Whoever has so many waiting is sending a batch.
BATCH_FROM = 5
# They answer on their own time, or read a log: nobody looks at a page that counts.
NOBODY_WATCHES = {Submission.Source.BOT, Submission.Source.COMMAND}

IN_ORDER = ("priority", "turn", "queued_at", "pk")
BY_AGE = ("queued_at", "pk")


@dataclass(frozen=True, slots=True)
class Ability:
    """What a worker can do: the lanes that it serves, with the detector that it has."""

    lanes: tuple[str, ...]
    detector: str

    @property
    def queues(self) -> list[tuple[str, str]]:
        """Of each lane, what asks for no detector and what asks for this one."""
        return [(lane, wanted) for lane in self.lanes for wanted in ("", self.detector)]

    def can_do(self, lane: str, wanted: str) -> bool:
        # What is in no lane yet waits for the file at its link, which any worker fetches.
        return not lane or (lane, wanted) in self.queues


def own_ability() -> Ability:
    """That of the workers of this process's settings."""
    return Ability(tuple(settings.SENTINEL_WORKER_LANES), settings.SENTINEL_DETECTOR)


def offered_detectors() -> dict[str, str]:
    """The detectors that may be asked for by name, with the lane in which each is done."""
    pairs = (entry.partition(":") for entry in settings.SENTINEL_OFFERED_DETECTORS)
    return {name.strip(): lane.strip() or DEFAULT_LANE for name, _colon, lane in pairs}


def still_offered(detector: str) -> str:
    """This detector, or none in particular if it cannot be asked for any more."""
    return detector if detector in offered_detectors() else ""


def known_lanes() -> list[str]:
    """Every lane that something can wait in or that workers of these settings serve."""
    return sorted({DEFAULT_LANE, *settings.SENTINEL_WORKER_LANES, *offered_detectors().values()})


def place(
    owner: User, source: str = "", *, detector: str = "", priority: Analysis.Priority | None = None
) -> dict[str, Any]:
    """Where an analysis begins to wait that `owner` asks for now: columns of its row.

    Without a `priority` it follows from the way the file came and how many of its owner's wait already. `detector` is
    one of :func:`offered_detectors`; without, the worker's own is used. Raises :class:`KeyError` for another.
    """
    lane = offered_detectors()[detector] if detector else DEFAULT_LANE
    priority = _priority(owner, source) if priority is None else priority
    return {
        "lane": lane,
        "wanted_detector": detector,
        "priority": priority,
        "requester": owner,
        "turn": max(_turn_now(lane, priority), last_turn(owner, lane, priority) + 1),
        "queued_at": timezone.now(),
    }


def candidates(ability: Ability, *, longest_waiting: bool | None = None) -> list[int]:
    """Keys of the analyses to try for, the best first; empty if nothing waits that this worker can do."""
    if longest_waiting is None:
        longest_waiting = random.randrange(OLDEST_EVERY) == 0
    order = BY_AGE if longest_waiting else IN_ORDER
    found: list[tuple[Any, ...]] = []
    for lane, wanted in ability.queues:
        found += waiting_in(lane, wanted).order_by(*order).values_list(*order)[:CANDIDATES]
    return [row[-1] for row in sorted(found)[:CANDIDATES]]


def something_waits(ability: Ability) -> bool:
    """Whether there is anything that this worker could do."""
    return any(waiting_in(lane, wanted).exists() for lane, wanted in ability.queues)


def waiting_in(lane: str, wanted: str) -> QuerySet[Analysis]:
    """What may be taken. A row whose file is still fetched should be in no lane, but never would be claimed either."""
    rows = Analysis.objects.filter(status=Analysis.Status.QUEUED, lane=lane, wanted_detector=wanted)
    return rows.exclude(stage=Analysis.Stage.FETCHING)


def ahead_of(analysis: Analysis) -> list[Q]:
    """That a waiting one is before this one in the order: any of these, of which no two can be true.

    Several and not one condition: so each is a stretch of an index.
    """
    peers = Q(priority=analysis.priority)
    twins = Q(priority=analysis.priority, turn=analysis.turn)
    return [
        Q(priority__lt=analysis.priority),
        peers & Q(turn__lt=analysis.turn),
        twins & Q(queued_at__lt=analysis.queued_at),
        twins & Q(queued_at=analysis.queued_at, pk__lt=analysis.pk),
    ]


def waiting_like(analysis: Analysis) -> QuerySet[Analysis]:
    """What waits in the same lane, whichever detector it asks for."""
    wanted = _wanted_in(analysis.lane) | {analysis.wanted_detector}
    rows = Analysis.objects.filter(status=Analysis.Status.QUEUED, lane=analysis.lane)
    return rows.filter(wanted_detector__in=sorted(wanted)).order_by()


def waiting_before(waiting: Sequence[Analysis]) -> list[int]:
    """How many waiting ones will be taken before each of these, as long as no others come.

    That is how many are ahead of it in the order, and one more for every seven of them as long as there are older ones
    behind it; but no more than its own age will have it wait. Two queries for up to fifty that are asked about.
    """
    ahead, older_ahead = _count_ahead(waiting)
    overtaken = [number for number, count in enumerate(ahead) if count >= OLDEST_EVERY - 1]
    before = list(ahead)
    for number, older in zip(overtaken, _count_older([waiting[number] for number in overtaken]), strict=True):
        older_behind = older - older_ahead[number]
        by_order = ahead[number] + min(ahead[number] // (OLDEST_EVERY - 1), older_behind)
        by_age = OLDEST_EVERY * (older + 1) - 1
        before[number] = min(by_order, by_age)
    return before


def _count_ahead(waiting: Sequence[Analysis]) -> tuple[list[int], list[int]]:
    """How many are ahead of each in the order, and how many of those are older."""
    questions = []
    for number, analysis in enumerate(waiting):
        older = Count("pk", filter=Q(queued_at__lt=analysis.queued_at))
        for stretch in ahead_of(analysis):
            rows = waiting_like(analysis).filter(stretch).annotate(of=Value(number)).values_list("of")
            questions.append(rows.annotate(Count("pk"), older=older))
    ahead, older_ahead = [0] * len(waiting), [0] * len(waiting)
    for number, count, older_count in all_of(questions):
        ahead[number] += count
        older_ahead[number] += older_count
    return ahead, older_ahead


def _count_older(waiting: Sequence[Analysis]) -> list[int]:
    questions = []
    for number, analysis in enumerate(waiting):
        rows = waiting_like(analysis).filter(queued_at__lt=analysis.queued_at)
        questions.append(rows.annotate(of=Value(number)).values_list("of").annotate(Count("pk")))
    older = [0] * len(waiting)
    for number, count in all_of(questions):
        older[number] = count
    return older


def all_of(queries: Sequence[QuerySet[Analysis, Any]]) -> Iterator[Any]:
    """The rows of all of them, asked for together."""
    for start in range(0, len(queries), ASKED_TOGETHER):
        first, *others = queries[start : start + ASKED_TOGETHER]
        yield from first.union(*others, all=True) if others else first


def position(analysis: Analysis) -> int:
    """How many analyses are before this one, those that run among them.

    0 when it is next, no longer waits, or its file is not there yet.
    """
    if analysis.status != Analysis.Status.QUEUED or not analysis.lane:
        return 0
    running = Analysis.objects.filter(status=Analysis.Status.RUNNING, lane=analysis.lane)
    return running.count() + waiting_before([analysis])[0]


def _priority(owner: User, source: str) -> Analysis.Priority:
    if source in NOBODY_WATCHES:
        return Analysis.Priority.BATCH
    # Not what is examined again, which nobody has sent now.
    sent = [Analysis.Priority.PERSON, Analysis.Priority.BATCH]
    waiting = Analysis.objects.filter(requester=owner, status=Analysis.Status.QUEUED, priority__in=sent)
    many = len(waiting.values_list("pk")[:BATCH_FROM]) == BATCH_FROM
    return Analysis.Priority.BATCH if many else Analysis.Priority.PERSON


def _turn_now(lane: str, priority: Analysis.Priority) -> int:
    """The turn that is being served: of what runs, the latest; else of what waits, the first; else the last of all."""
    states = Analysis.Status
    for statuses, order in (
        ((states.RUNNING,), "-turn"),
        ((states.QUEUED,), "turn"),
        ((states.DONE, states.FAILED), "-turn"),
    ):
        turns = [
            turn
            for status in statuses
            for wanted in _wanted_in(lane)
            for turn in _first_turn(
                Analysis.objects.filter(status=status, lane=lane, wanted_detector=wanted, priority=priority), order
            )
        ]
        if turns:
            return min(turns) if order == "turn" else max(turns)
    return 0


def last_turn(requester: User, lane: str, priority: int) -> int:
    """The latest turn that this user ever had; -1 without any."""
    return max(
        _first_turn(Analysis.objects.filter(requester=requester, lane=lane, priority=priority), "-turn"), default=-1
    )


def _first_turn(rows: QuerySet[Analysis], order: str) -> Iterable[int]:
    return rows.order_by(order).values_list("turn", flat=True)[:1]


def _wanted_in(lane: str) -> set[str]:
    """What analyses in a lane may ask for, nothing in particular among it."""
    return {"", *(name for name, its_lane in offered_detectors().items() if its_lane == lane)}

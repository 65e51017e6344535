"""Checking custody logs: each chain by itself, and against what the site's tables and printed reports say of its file.

The tables are read first and the log after: whatever is recorded meanwhile can only be more than the tables told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from media_analysis import custody
from media_analysis.custody import Event, Fault, Finding
from media_analysis.models import Analysis, CustodyEvent, DeletionReceipt, Media


@dataclass(frozen=True, slots=True)
class Printed:
    """What a report printed of a file's log: the number of events, and the digest of the last."""

    events: int
    digest: str


@dataclass(slots=True)
class Known:
    """What the tables say of a file."""

    sha256: str = ""
    is_here: bool = False
    is_deleted: bool = False
    analyses: list[Analysis] = field(default_factory=list)
    printed: Sequence[Printed] = ()


@dataclass(slots=True)
class Result:
    files: int = 0
    events: int = 0
    findings: list[Finding] = field(default_factory=list)


def check_log(media_ids: Collection[str] = (), printed: Mapping[str, Sequence[Printed]] | None = None) -> Result:
    """Check the chains of these files, or of all; `printed` is by the public id of the file."""
    known = _read_tables(media_ids, printed or {})
    events = CustodyEvent.objects.order_by("media_id", "number")
    if media_ids:
        events = events.filter(media_id__in=media_ids)
    result = Result()
    for media_id, group in groupby(events.iterator(chunk_size=1000), key=lambda event: event.media_id):
        chain = list(group)
        result.files += 1
        result.events += len(chain)
        result.findings += custody.check(chain)
        facts = known.pop(media_id) if media_id in known else _look_again(media_id)
        result.findings += _against_tables(media_id, chain, facts)
    for media_id, facts in known.items():
        # Also what was asked for by an id that nothing has.
        result.files += 1
        result.findings += _against_tables(media_id, [], facts)
    return result


def _read_tables(media_ids: Collection[str], printed: Mapping[str, Sequence[Printed]]) -> dict[str, Known]:
    known: dict[str, Known] = defaultdict(Known)
    media: Any = Media.objects.filter(deleted_at__isnull=True)
    receipts: Any = DeletionReceipt.objects.all()
    analyses = Analysis.objects.filter(
        media__deleted_at__isnull=True, status__in=[Analysis.Status.DONE, Analysis.Status.FAILED]
    )
    if media_ids:
        media, receipts = media.filter(public_id__in=media_ids), receipts.filter(media_public_id__in=media_ids)
        analyses = analyses.filter(media__public_id__in=media_ids)
    for public_id, sha256 in media.values_list("public_id", "sha256").iterator():
        known[public_id].sha256, known[public_id].is_here = sha256, True
    for public_id, sha256 in receipts.values_list("media_public_id", "sha256").iterator():
        known[public_id].sha256, known[public_id].is_deleted = sha256, True
    few = analyses.select_related("media").only(
        "public_id", "status", "outcome", "error_code", "finished_at", "media__public_id"
    )
    for analysis in few.iterator(chunk_size=1000):
        known[analysis.media.public_id].analyses.append(analysis)
    for media_id, reports in printed.items():
        if not media_ids or media_id in media_ids:
            known[media_id].printed = reports
    for media_id in media_ids:
        known[media_id]
    return dict(known)


def _look_again(media_id: str) -> Known:
    """Of a file that came after the tables were read."""
    found = Media.objects.filter(public_id=media_id, deleted_at__isnull=True).values_list("sha256", flat=True).first()
    return Known(sha256=found or "", is_here=found is not None)


def _against_tables(media_id: str, chain: Sequence[CustodyEvent], facts: Known) -> Iterator[Finding]:
    def at(number: int, fault: Fault) -> Finding:
        return Finding(media_id, number, fault)

    last = chain[-1].number if chain else -1
    kinds = [event.event for event in chain]
    hashes = [event for event in chain if event.event in {Event.BEGUN, Event.HASHED}]
    if not chain or chain[0].event not in {Event.BEGUN, Event.RECEIVED}:
        yield at(0, Fault.WRONG_BEGINNING)
    elif facts.sha256:
        # A file behind a link has none until it is fetched.
        wrong = [event.number for event in hashes if event.details.get("sha256") != facts.sha256]
        yield from (at(number, Fault.WRONG_HASH) for number in (wrong if hashes else [last + 1]))
    deleted = Event.DELETED in kinds or any("deleted" in event.details for event in hashes)
    if deleted and facts.is_here and Media.objects.filter(public_id=media_id, deleted_at__isnull=True).exists():
        yield at(last, Fault.WRONG_END)
    elif not deleted and not facts.is_here:
        yield at(last + 1, Fault.WRONG_END if facts.is_deleted else Fault.VANISHED)
    for analysis in facts.analyses:
        if not _is_told(chain, analysis):
            yield at(last + 1, Fault.WRONG_RESULT)
    for report in facts.printed:
        number = report.events - 1
        if number > last or not any(event.number == number and event.digest == report.digest for event in chain):
            yield at(number, Fault.NOT_AS_PRINTED)


def _is_told(chain: Sequence[CustodyEvent], analysis: Analysis) -> bool:
    """Whether the log tells the end of this analysis as the table does, or is younger than it."""
    begun = chain[0].at if chain and chain[0].event == Event.BEGUN else None
    if begun and analysis.finished_at and analysis.finished_at < begun:
        return True
    if analysis.status == Analysis.Status.DONE:
        kind, name, value = Event.ANALYSED, "outcome", analysis.outcome
    else:
        kind, name, value = Event.FAILED, "error", analysis.error_code
    ends = [event for event in chain if event.event == kind and event.details.get("analysis") == analysis.public_id]
    return bool(ends) and ends[-1].details.get(name) == value

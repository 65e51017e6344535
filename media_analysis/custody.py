"""The custody log: everything that happens to a file, as a chain of hashes for each file.

An event's digest is the SHA-256 of its own fields and of the digest before it, so that no event can be changed, put in
or taken out without all later ones changing too. Who can write to the database could still make a whole chain anew: the
last digest is therefore printed in every report and written into every evidence package, where it is signed.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from accounts.models import User
from media_analysis.models import Analysis, CustodyEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = CustodyEvent.Event

# How often two writers may meet on the same number before something else must be wrong.
TRIES = 50
# Files at a time in one query.
CHUNK = 500
# What the same person sees of the same result from the same address within this time is one look.
ONE_LOOK = timedelta(minutes=10)

_address: ContextVar[str] = ContextVar("address", default="")


class What(StrEnum):
    """What was looked at or taken: `what` in the details of VIEWED and DOWNLOADED."""

    PAGE = "page"
    API = "api"
    # The list that phone apps show results in: they have no other view of one.
    APP_LIST = "app_list"
    CASE = "case"
    PICTURE = "picture"
    LIVE = "live"
    ADMIN = "admin"
    REPORT = "report"
    CASE_REPORT = "case_report"
    CASE_EXPORT = "case_export"
    ORIGINAL = "original"
    PACKAGE = "package"
    TRAINING = "training"


class Fault(StrEnum):
    """What is wrong with a chain, or with what else the site knows of its file."""

    GAP = "gap"
    BROKEN_LINK = "broken_link"
    CHANGED = "changed"
    WRONG_ADDRESS = "wrong_address"
    # The file is here, and its log does not begin with receiving it.
    WRONG_BEGINNING = "wrong_beginning"
    # The file's row has another SHA-256 than the log.
    WRONG_HASH = "wrong_hash"
    # The end of an examination is not in the log, or another one is.
    WRONG_RESULT = "wrong_result"
    # The log speaks of a file that is not here and was not deleted.
    VANISHED = "vanished"
    # The file is here, or its receipt is not, though the log says that it was deleted; or the other way round.
    WRONG_END = "wrong_end"
    # A report printed an event that is not there any more, or another one.
    NOT_AS_PRINTED = "not_as_printed"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault at the event of this number, the first one being 0; of one that is missing, where it would be."""

    media_id: str
    number: int
    fault: Fault


@contextmanager
def acting_from(address: str) -> Iterator[None]:
    """What is recorded inside came from this network address; see media_analysis.middleware."""
    token = _address.set(address)
    try:
        yield
    finally:
        _address.reset(token)


def record(media_id: str, event: Event, *, actor: User | None = None, **details: str | int) -> CustodyEvent:
    """Add an event to the chain of the file with this public id. Without an `actor` the system did it by itself.

    Exact under any number of parallel writers: the number is unique, and who comes second takes the next one.
    """
    return record_each({media_id: details}, event, actor=actor)[0]


def record_each(
    each: Mapping[str, Mapping[str, str | int]], event: Event, *, actor: User | None = None
) -> list[CustodyEvent]:
    """The same for many files, by their public ids, each with its details: two queries for every 500 of them."""
    made: list[CustodyEvent] = []
    for start in range(0, len(each), CHUNK):
        chunk = list(each.items())[start : start + CHUNK]
        for tried in range(TRIES):
            if tried:
                # Not all at once again.
                time.sleep(random.uniform(0, 0.01 * tried))
            added = _next_events(chunk, event, actor)
            try:
                with transaction.atomic():
                    made += CustodyEvent.objects.bulk_create(added)
            except IntegrityError:
                # Where transactions mean nothing, those before the one that came too late are written.
                written = _written_of(added)
                made += written
                there = {done.media_id for done in written}
                chunk = [(media_id, details) for media_id, details in chunk if media_id not in there]
                continue
            break
        else:
            raise RuntimeError(f"the custody log of {chunk[0][0]} can't be written: {TRIES} others came first")
    return made


def _next_events(
    each: Sequence[tuple[str, Mapping[str, str | int]]], event: Event, actor: User | None
) -> list[CustodyEvent]:
    """Not written yet: another writer may take one of their numbers first."""
    last_number = CustodyEvent.objects.filter(media_id=OuterRef("media_id")).order_by("-number").values("number")[:1]
    media_ids = [media_id for media_id, _details in each]
    last = {
        found.media_id: found
        for found in CustodyEvent.objects.filter(media_id__in=media_ids, number=Subquery(last_number))
    }
    address = _address.get()
    now = _to_milliseconds(timezone.now())
    made = []
    for media_id, details in each:
        salt = secrets.token_hex(16) if address else ""
        before = last.get(media_id)
        added = CustodyEvent(
            media_id=media_id,
            number=before.number + 1 if before else 0,
            event=event,
            at=now,
            actor=actor.public_id if actor else "",
            address=address,
            address_salt=salt,
            address_digest=_address_digest(salt, address) if address else "",
            details=dict(details),
            previous=before.digest if before else "",
        )
        added.digest = digest_of(added)
        made.append(added)
    return made


def _written_of(events: Sequence[CustodyEvent]) -> list[CustodyEvent]:
    """Those of several new events that are in the table. A single one is not, if writing it failed."""
    if len(events) == 1:
        return []
    digests = {event.digest for event in events}
    there = CustodyEvent.objects.filter(digest__in=digests).values_list("media_id", "number", "digest")
    known = set(there)
    return [event for event in events if (event.media_id, event.number, event.digest) in known]


def make_up(
    media_id: str, event: Event, *, key: str = "analysis", actor: User | None = None, **details: str | int
) -> None:
    """Record an event unless the chain tells of one with the same detail named `key`.

    For what may have been recorded before, or not, by a process that was killed where transactions mean nothing.
    """
    told = events_of(media_id).filter(event=event).values_list("details", flat=True)
    if not any(details.get(key) == known.get(key) for known in told):
        record(media_id, event, actor=actor, **details)


def look(results: Mapping[str, str], *, actor: User, what: What) -> list[CustodyEvent]:
    """Note that somebody looks at results: of each file, by its public id, the public id of the analysis.

    What one person sees of one analysis from one address within :data:`ONE_LOOK` is one look: a page with its
    pictures, a reload, an app that asks again and again. Watching it being made is another. Returns what was written.
    """
    address, seen = _address.get(), set()
    live = what is What.LIVE
    recent = CustodyEvent.objects.filter(
        event=Event.VIEWED, actor=actor.public_id, at__gte=timezone.now() - ONE_LOOK
    ).values_list("media_id", "address", "details")
    if len(results) == 1:
        recent = recent.filter(media_id__in=list(results))
    for media_id, recent_address, details in recent:
        if recent_address == address:
            seen.add((media_id, details.get("analysis"), details.get("what") == What.LIVE))
    fresh = {
        media_id: {"analysis": analysis, "what": str(what)}
        for media_id, analysis in results.items()
        if (media_id, analysis, live) not in seen
    }
    return record_each(fresh, Event.VIEWED, actor=actor)


def look_at(analysis: Analysis, *, actor: User, what: What) -> None:
    """Note that somebody looks at a finished result. Of an unfinished one there is nothing to be seen yet, but what
    others than its owner watch is written down too.
    """
    media = analysis.media
    if analysis.is_finished or media.owner_id != actor.pk:
        look({media.public_id: analysis.public_id}, actor=actor, what=what)


def current_address() -> str:
    """The network address that events are recorded from just now; empty where it is not known."""
    return _address.get()


def events_of(media_id: str) -> QuerySet[CustodyEvent]:
    """The chain of a file, from the first event on."""
    return CustodyEvent.objects.filter(media_id=media_id).order_by("number")


def digest_of(event: CustodyEvent) -> str:
    """SHA-256, in hexadecimal, of the event as JSON with sorted keys, without blanks, in UTF-8."""
    fields = {
        "media": event.media_id,
        "number": event.number,
        "event": str(event.event),
        "at": event.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "actor": event.actor,
        "address": event.address_digest,
        "details": event.details,
        "previous": event.previous,
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check(events: Iterable[CustodyEvent]) -> list[Finding]:
    """What is wrong with chains, given in order of file and number; an empty list where nothing is."""
    found: list[Finding] = []
    media_id, expected, previous = "", 0, ""
    for event in events:
        if event.media_id != media_id:
            media_id, expected, previous = event.media_id, 0, ""
        if event.number != expected:
            found.append(Finding(media_id, event.number, Fault.GAP))
        elif event.previous != previous:
            found.append(Finding(media_id, event.number, Fault.BROKEN_LINK))
        if event.digest != digest_of(event):
            found.append(Finding(media_id, event.number, Fault.CHANGED))
        if event.address and event.address_digest != _address_digest(event.address_salt, event.address):
            found.append(Finding(media_id, event.number, Fault.WRONG_ADDRESS))
        expected, previous = event.number + 1, event.digest
    return found


def without_addresses(events: Iterable[CustodyEvent]) -> list[CustodyEvent]:
    """The same events, not to be saved, for others than the file's owner: the chain stays whole."""
    events = list(events)
    for event in events:
        event.address = event.address_salt = ""
    return events


def forget_addresses(user: User) -> int:
    """Delete the addresses of somebody whose account goes; returns of how many events. The chain stays whole."""
    return CustodyEvent.objects.filter(actor=user.public_id).exclude(address="").update(address="", address_salt="")


def _address_digest(salt: str, address: str) -> str:
    return hashlib.sha256(f"{salt}|{address}".encode()).hexdigest()


def _to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

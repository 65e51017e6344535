"""The custody log: everything that happens to a file, as a chain of hashes for each file.

An event's digest is the SHA-256 of its own fields and of the digest before it, so that no event can be changed, put in
or taken out without all later ones changing too. Who can write to the database could still make a whole chain anew: the
last digest is therefore printed in every report and written into every evidence package, where it is signed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from media_analysis.models import CustodyEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = CustodyEvent.Event

# How often two writers may meet on the same number before something else must be wrong.
TRIES = 20

_address: ContextVar[str] = ContextVar("address", default="")


class Fault(StrEnum):
    """What is wrong with a chain."""

    GAP = "gap"
    BROKEN_LINK = "broken_link"
    CHANGED = "changed"
    WRONG_ADDRESS = "wrong_address"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault at the event of this number, the first one being 0."""

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
    address = _address.get()
    salt = secrets.token_hex(16) if address else ""
    for _ in range(TRIES):
        last = CustodyEvent.objects.filter(media_id=media_id).order_by("number").last()
        made = CustodyEvent(
            media_id=media_id,
            number=last.number + 1 if last else 0,
            event=event,
            at=_to_milliseconds(timezone.now()),
            actor=actor.public_id if actor else "",
            address=address,
            address_salt=salt,
            address_digest=_address_digest(salt, address) if address else "",
            details=details,
            previous=last.digest if last else "",
        )
        made.digest = digest_of(made)
        try:
            with transaction.atomic():
                made.save(force_insert=True)
        except IntegrityError:
            continue
        return made
    raise RuntimeError(f"the custody log of {media_id} can't be written: {TRIES} others came first")


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


def forget_addresses(user: User) -> int:
    """Delete the addresses of somebody whose account goes; returns of how many events. The chain stays whole."""
    return CustodyEvent.objects.filter(actor=user.public_id).exclude(address="").update(address="", address_salt="")


def _address_digest(salt: str, address: str) -> str:
    return hashlib.sha256(f"{salt}|{address}".encode()).hexdigest()


def _to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

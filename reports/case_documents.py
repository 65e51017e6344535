"""Reports and exports of cases that somebody asked for: placed at once, made later by :mod:`reports.case_maker`, kept
for a day, handed out to whoever asked.

Each step is one conditional update of the document's row, so that any number of hosts share the work and each document
is finished once. One of a kind and language is under way for each person in a case: a unique key decides between two
clicks. What is in a document was to be seen by whom it is for when it was made; it is handed out only while that still
holds: while they have their seat, and no file in it was deleted or taken out of the case.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import clock
from accounts.errors import Code, SentinelError
from accounts.ids import new_public_id
from accounts.outages import insist
from media_analysis import custody
from media_analysis.cases import Seat
from media_analysis.models import CaseMedia, CaseMember
from media_analysis.services import DATABASE_PATIENCE_SECONDS
from media_analysis.storage import StorageTrouble, media_storage
from media_analysis.streaming import ONE_EVENT
from reports.case_report import Content
from reports.models import CaseDocument
from reports.pdf import get_engine

logger = logging.getLogger(__name__)

Kind, State = CaseDocument.Kind, CaseDocument.State

# Of the storage, with a folder for each document.
FOLDER = "documents"
ENDINGS = {Kind.REPORT: "pdf", Kind.EXPORT: "zip"}
CONTENT_TYPES = {Kind.REPORT: "application/pdf", Kind.EXPORT: "application/zip"}
WHAT = {Kind.REPORT: custody.What.CASE_REPORT, Kind.EXPORT: custody.What.CASE_EXPORT}
# Under way for one person, in all their cases.
MOST_UNDER_WAY = 5
# Of what is next: several processes may look at the same moment.
CLAIM_AMONG = 8
UNDER_WAY = (State.WAITING, State.MAKING)


def ask_for(seat: Seat, kind: str, language: str, *, site: str = "") -> tuple[CaseDocument, bool]:
    """The document of this kind and language that is under way for somebody in a case, or a new one; whether it is new.

    ``site`` is the address that it was asked for at. Raises ``language_unavailable``, and ``too_often`` for somebody
    for whom too many are under way.
    """
    get_engine().require_language(language)
    slot = f"{seat.case.public_id}:{seat.user.public_id}:{kind}:{language}"
    if earlier := CaseDocument.objects.filter(slot=slot).first():
        return earlier, False
    if CaseDocument.objects.filter(user=seat.user, state__in=UNDER_WAY).count() >= MOST_UNDER_WAY:
        raise too_many()
    try:
        with transaction.atomic():
            made = CaseDocument.objects.create(
                slot=slot,
                case=seat.case,
                user=seat.user,
                kind=kind,
                language=language,
                site=site if len(site) <= 300 else "",
            )
    except IntegrityError as error:
        # Another click was as fast, or the case is gone.
        earlier = _of(seat).filter(kind=kind, language=language).first()
        if earlier is None:
            raise SentinelError(Code.NOT_FOUND) from error
        return earlier, False
    # What failed before is tried again by this.
    _of(seat).filter(kind=kind, language=language, state=State.FAILED).delete()
    return made, True


def too_many() -> SentinelError:
    """The refusal of one more, for now."""
    return SentinelError(
        Code.TOO_OFTEN,
        text=_("Too many reports and exports are being made for you. Wait until one is ready."),
        headers={"Retry-After": "60"},
    )


def documents_of(seat: Seat) -> list[CaseDocument]:
    """What was made for somebody in a case and is kept, and what is under way, newest first."""
    return [_checked(document) for document in _of(seat) if not _is_over(document)]


def get_document(seat: Seat, public_id: str) -> CaseDocument:
    """Raises ``not_found`` for what was made for others exactly as for what never was."""
    document = _of(seat).filter(public_id=public_id).first()
    if document is None or _is_over(document):
        raise SentinelError(Code.NOT_FOUND)
    return _checked(document)


def require_ready(document: CaseDocument) -> None:
    """Raises ``not_finished``, ``document_outdated``, or ``no_result`` for one that could not be made."""
    if document.is_under_way:
        raise SentinelError(Code.NOT_FINISHED, text=_("It is not ready yet."))
    if document.error_code == Code.DOCUMENT_OUTDATED:
        raise SentinelError(Code.DOCUMENT_OUTDATED)
    if document.state != State.READY:
        raise SentinelError(Code.NO_RESULT, text=_("It could not be made. Try again."))


def close(document: CaseDocument, code: Code) -> None:
    """Hand out a ready document no more: for this reason it is to be made again."""
    ready = CaseDocument.objects.filter(pk=document.pk, state=State.READY)
    ready.update(state=State.FAILED, error_code=code, file="", sha256="", size=0, media=[])
    _discard(document)


def file_name(document: CaseDocument) -> str:
    """What its file is called: made of an id only, so no name that somebody gave reaches a header or a disk."""
    return f"sentinel-case-{document.case.public_id}.{ENDINGS[Kind(document.kind)]}"


def note_handing_out(document: CaseDocument, *, by_range: bool) -> None:
    """Into the log of every file in it, before it is handed out; of ranges of one download, the first."""
    what = str(WHAT[Kind(document.kind)])
    if by_range and document.media:
        lately = custody.events_of(document.media[0]).filter(
            event=custody.Event.DOWNLOADED,
            actor=document.user.public_id,
            address=custody.current_address(),
            at__gte=timezone.now() - ONE_EVENT,
        )
        # Looked at here: not every database can search in JSON.
        if any(seen.details.get("sha256") == document.sha256 for seen in lately):
            return
    said = {
        "what": what,
        "case": document.case.public_id,
        "language": document.language,
        "sha256": document.sha256,
    }
    custody.record_each(dict.fromkeys(document.media, said), custody.Event.DOWNLOADED, actor=document.user)


# In the worker


def own_name() -> str:
    """What this process is called in the rows that it has claimed."""
    return name_of(os.getpid())


def name_of(pid: int) -> str:
    """The same of another process on this host."""
    return f"{socket.gethostname()}:{pid}"


def something_waits() -> bool:
    return CaseDocument.objects.filter(state=State.WAITING).exists()


def claim_next() -> CaseDocument | None:
    """Take what is next for this process: of whoever was served longest ago, the oldest. None if nothing waits."""
    waiting = CaseDocument.objects.filter(state=State.WAITING).order_by("created_at", "pk")
    rows = list(waiting.values_list("pk", "user_id"))
    served = dict(
        CaseDocument.objects.filter(user__in={user for _pk, user in rows}, heartbeat_at__isnull=False)
        .order_by("heartbeat_at")
        .values_list("user_id", "heartbeat_at")
    )
    never = datetime.min.replace(tzinfo=UTC)
    ranked = sorted((served.get(user, never), place, pk) for place, (pk, user) in enumerate(rows))
    for _served_at, _place, pk in ranked[:CLAIM_AMONG]:
        token = new_public_id()
        claimed = CaseDocument.objects.filter(pk=pk, state=State.WAITING).update(
            state=State.MAKING,
            claim_token=token,
            worker=own_name(),
            attempts=F("attempts") + 1,
            done=0,
            total=0,
            heartbeat_at=clock.now(),
        )
        if claimed:
            return CaseDocument.objects.select_related("case", "user").filter(pk=pk, claim_token=token).first()
    return None


def keep_claim(document: CaseDocument, **progress: int) -> bool:
    """A sign of life, with ``done`` and ``total``. False once it was taken from this try, or nobody wants it."""
    return bool(_owned(document).update(heartbeat_at=clock.now(), **progress))


def finish(document: CaseDocument, path: Path, content: Content) -> bool:
    """Keep the file at `path`, which is taken away, and call the document ready.

    False if it was taken from this try, or nobody wants it any more; then nothing is kept. Raises
    ``document_outdated`` if a file in it was deleted or taken out of the case meanwhile, and :class:`StorageTrouble`.
    """
    if not _are_there(document, content.media):
        raise SentinelError(Code.DOCUMENT_OUTDATED)
    name = f"{FOLDER}/{document.public_id}/{document.claim_token}.{ENDINGS[Kind(document.kind)]}"
    stored = media_storage().put_file(name, path, content.sha256)

    def keep() -> bool:
        found = {"file": stored, "sha256": content.sha256, "size": content.size, "media": content.media}
        # Also where the answer to the first try at this was lost.
        return _end(document, State.READY, **found) or CaseDocument.objects.filter(file=stored).exists()

    kept = insist(keep, seconds=DATABASE_PATIENCE_SECONDS, what="A document of a case")
    if not kept:
        with suppress(StorageTrouble):
            default_storage.delete(stored)
    if kept:
        # The newer one is in its place.
        older = CaseDocument.objects.filter(
            case_id=document.case_id, user_id=document.user_id, kind=document.kind, language=document.language
        )
        older.filter(state__in=(State.READY, State.FAILED)).exclude(pk=document.pk).delete()
    return kept


def fail(document: CaseDocument, code: Code) -> bool:
    """It cannot be made. False if it was taken from this try."""
    return _end(document, State.FAILED, error_code=code)


def release(document: CaseDocument, *, counted: bool, code: Code = Code.INTERNAL_ERROR) -> None:
    """Let go of it: for the next to take, or, if that was the last try allowed, to fail with this code."""
    if counted and document.attempts >= settings.SENTINEL_MAX_ATTEMPTS:
        fail(document, code)
        return
    attempts = document.attempts if counted else max(document.attempts - 1, 0)
    _owned(document).update(state=State.WAITING, claim_token="", worker="", attempts=attempts)


def give_back(worker: str, *, counted: bool) -> int:
    """Release what a process had that is gone; returns how many."""
    had = list(CaseDocument.objects.filter(state=State.MAKING, worker=worker))
    for document in had:
        logger.warning("Document %s lost its process %s on try %s", document, worker, document.attempts)
        release(document, counted=counted)
    return len(had)


def recover_lost(watch: clock.StandstillWatch[tuple[Any, str]]) -> int:
    """Release what killed processes had, here or on other hosts; returns how many.

    ``watch`` is that of the process that judges: what any clock says does not matter.
    """
    making = CaseDocument.objects.filter(state=State.MAKING).values_list("pk", "claim_token", "heartbeat_at")
    signs = (((pk, token), heartbeat) for pk, token, heartbeat in making)
    lost = watch.still_for(settings.SENTINEL_STALLED_AFTER_SECONDS, signs)
    for pk, token in lost:
        document = CaseDocument.objects.filter(pk=pk, claim_token=token).first()
        if document is not None:
            logger.warning("Document %s lost its process %s", document, document.worker)
            release(document, counted=True)
    return len(lost)


def sweep() -> int:
    """Remove what was kept for its time, what belongs to nobody in the case, and what is not to be had any more.

    Returns how many documents. Their files go with them.
    """
    hours = timedelta(hours=settings.SENTINEL_CASE_DOCUMENT_HOURS)
    swept = 0
    for document in CaseDocument.objects.select_related("case", "user"):
        ended = document.finished_at is not None and document.finished_at <= timezone.now() - hours
        if ended or not _has_seat(document):
            document.delete()
            swept += 1
        elif document.state == State.READY:
            _checked(document)
    return swept


def discard_orphans(folders: list[str]) -> int:
    """Of the folders of documents, delete those without a row; returns how many."""
    # Asked after the folders were listed: a row is there before its folder.
    known = set(CaseDocument.objects.filter(public_id__in=folders).values_list("public_id", flat=True))
    orphans = [public_id for public_id in folders if public_id not in known]
    for public_id in orphans:
        media_storage().remove_folder(f"{FOLDER}/{public_id}")
    return len(orphans)


@receiver(post_delete, sender=CaseDocument, dispatch_uid="reports.case_documents.file")
def _remove_file(instance: CaseDocument, **_of_the_signal: Any) -> None:
    """With the row, however it goes: by itself, or with its case or person."""
    transaction.on_commit(lambda: _discard(instance))


@receiver(post_delete, sender=CaseMember, dispatch_uid="reports.case_documents.member")
def _remove_of_member(instance: CaseMember, **_of_the_signal: Any) -> None:
    """Whoever leaves a case or is put out, or whose account goes."""
    CaseDocument.objects.filter(case_id=instance.case_id, user_id=instance.user_id).delete()


def _of(seat: Seat) -> QuerySet[CaseDocument]:
    return CaseDocument.objects.select_related("case", "user").filter(case=seat.case, user=seat.user)


def _is_over(document: CaseDocument) -> bool:
    """Whether its time is up: housekeeping is about to remove it."""
    return document.kept_until is not None and document.kept_until <= timezone.now()


def _has_seat(document: CaseDocument) -> bool:
    return CaseMember.objects.filter(case_id=document.case_id, user_id=document.user_id).exists()


def _checked(document: CaseDocument) -> CaseDocument:
    """The same; one that holds a file that is not there any more is closed by it, and its own file removed."""
    if document.state == State.READY and not _are_there(document, document.media):
        close(document, Code.DOCUMENT_OUTDATED)
        document.refresh_from_db()
    return document


def _are_there(document: CaseDocument, media: list[str]) -> bool:
    """Whether all these files are in the case of the document, and not deleted."""
    here = CaseMedia.objects.filter(
        case_id=document.case_id, media_public_id__in=media, media__isnull=False, media__deleted_at__isnull=True
    )
    return here.count() == len(media)


def _end(document: CaseDocument, state: CaseDocument.State, **found: Any) -> bool:
    ended = _owned(document).update(
        state=state, slot=document.public_id, claim_token="", worker="", finished_at=timezone.now(), **found
    )
    return bool(ended)


def _owned(document: CaseDocument) -> QuerySet[CaseDocument]:
    """The row, as long as it still belongs to the try that ``document`` was claimed for."""
    return CaseDocument.objects.filter(pk=document.pk, state=State.MAKING, claim_token=document.claim_token)


def _discard(document: CaseDocument) -> None:
    """Its files. If the storage is away, housekeeping removes them later."""
    with suppress(StorageTrouble):
        media_storage().remove_folder(f"{FOLDER}/{document.public_id}")

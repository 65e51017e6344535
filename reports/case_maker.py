"""Makes the reports and exports of cases that wait, beside the queue of examinations.

Not as jobs in the queue: one export takes minutes, and a queue with one worker would keep examinations waiting for it.
Not as a thread of the worker either, whose other threads would share one interpreter with it. The worker's main
process starts a process of low priority when something waits: an examination takes nine tenths of the processor from
it at any moment, its memory is given back when it ends, and it ends with the worker, however that ends.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import DatabaseError, Error, connections

from accounts import clock
from accounts.errors import Code, SentinelError, is_disk_full
from accounts.outages import insist, is_outage
from media_analysis import cases, limited_run
from media_analysis.heartbeat import Heartbeat
from media_analysis.housekeeping import FolderSweep
from media_analysis.room import lacks_room
from media_analysis.services import DATABASE_PATIENCE_SECONDS
from media_analysis.storage import StorageFull, StorageTrouble
from reports import case_documents
from reports.case_report import Content, write_case_export, write_case_report
from reports.models import CaseDocument

logger = logging.getLogger("sentinel.worker")

COMMAND = "make_case_documents"
POLL_SECONDS = 1.0
SWEEP_SECONDS = 60.0
ORPHANS_SECONDS = 600.0
# After a process that was killed, or could not even start.
REST_SECONDS = 3.0
# After a storage that is away, or a full disk.
PAUSE_SECONDS = 15.0
# A tenth of what an examination beside it gets. With 19 that is a seventieth: where examinations never end, people
# would wait for their documents without end.
NICENESS = 10

_orphans = FolderSweep(case_documents.FOLDER, case_documents.discard_orphans)


class Lost(Exception):
    """The document was taken from this try, or nobody wants it any more."""


def start(**_of_the_signal: Any) -> Maker:
    """Receiver of :data:`media_analysis.signals.worker_starts`."""
    maker = Maker()
    maker.start()
    return maker


def make_waiting() -> None:
    """Make what waits, one after the other, until nothing does: all that the process does."""
    limited_run.die_with_parent()
    os.nice(NICENESS)
    while document := case_documents.claim_next():
        make(document)


def make(document: CaseDocument) -> None:
    """Make a claimed document, and write down what came of it."""
    try:
        with Claim(document) as claim:
            _make(document, claim)
    except Lost:
        logger.info("Document %s was taken away or is not wanted any more", document)
    except StorageFull as error:
        _wait_with(document, error, counted=True)
    except StorageTrouble as error:
        _wait_with(document, error, counted=False)
    except SentinelError as error:
        _refused(document, error.code)
    except Exception as error:
        if is_disk_full(error):
            _wait_with(document, StorageFull(), counted=True)
            return
        logger.exception("Document %s broke off on try %s", document, document.attempts)
        counted = not is_outage(error)
        _insist(lambda: case_documents.release(document, counted=counted))


def _make(document: CaseDocument, claim: Claim) -> None:
    seat = _seat_of(document)
    # With a name, for the storage to take over; what a kill leaves is swept with half uploads.
    descriptor, name = tempfile.mkstemp(dir=settings.FILE_UPLOAD_TEMP_DIR, prefix="case-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as target:
            content: Content
            if document.kind == CaseDocument.Kind.REPORT:
                content = write_case_report(target, seat, document.language, tell=claim.tell)
            else:
                content = write_case_export(target, seat, document.language, site=document.site, tell=claim.tell)
        if not case_documents.finish(document, path, content):
            raise Lost
    finally:
        path.unlink(missing_ok=True)


def _seat_of(document: CaseDocument) -> cases.Seat:
    """Raises :class:`Lost`, and has the document gone, where its person is not in the case or on the site any more."""
    user = document.user
    try:
        seat = cases.take_seat(user, document.case.public_id)
    except SentinelError as error:
        document.delete()
        raise Lost from error
    if user.deleted_at or not user.is_active:
        document.delete()
        raise Lost
    return seat


def _refused(document: CaseDocument, code: Code) -> None:
    logger.warning("Document %s cannot be made: %s", document, code)
    if code in {Code.NOT_FOUND, Code.DOCUMENT_OUTDATED}:
        # What is in the case changed meanwhile: it is made again, of what is there now.
        _insist(lambda: case_documents.release(document, counted=True, code=Code.DOCUMENT_OUTDATED))
    else:
        _insist(lambda: case_documents.fail(document, code))


def _wait_with(document: CaseDocument, error: StorageTrouble, *, counted: bool) -> None:
    """Keep the claim for a while, then let others try.

    A storage that is away is no fault of the document, and counts as no try. A full disk may be: a large export is not
    to be made for ever.
    """
    logger.warning("Document %s waits for the storage: %s", document, error)
    with Claim(document):
        time.sleep(PAUSE_SECONDS)
    _insist(lambda: case_documents.release(document, counted=counted, code=error.code))


def _insist(work: Any) -> None:
    insist(work, seconds=DATABASE_PATIENCE_SECONDS, what="A document of a case")


class Claim:
    """Keeps the claim on a document alive while it is entered, and tells how far it is."""

    def __init__(self, document: CaseDocument) -> None:
        self._document = document
        self._heartbeat = Heartbeat(f"document {document}", lambda: case_documents.keep_claim(document))

    def tell(self, done: int, total: int) -> None:
        """So many files of so many are through. Raises :class:`Lost`."""
        if self._heartbeat.is_lost or not case_documents.keep_claim(self._document, done=done, total=total):
            raise Lost

    def __enter__(self) -> Claim:
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()


class Maker(threading.Thread):
    """Has what waits made by a process of its own, and looks after what is lost, too old or not to be had any more."""

    def __init__(self) -> None:
        super().__init__(name="case-documents", daemon=True)
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch = _new_watch()
        self._start_at = 0.0
        self._sweep_at = 0.0
        self._orphans_at = 0.0

    def stop(self) -> None:
        """Ask it to end; what is being made is given back, and counts as not tried."""
        self._stopped.set()
        self.join(10)

    def run(self) -> None:
        try:
            while not self._stopped.wait(POLL_SECONDS):
                self.turn()
            self._end_process()
        finally:
            # This thread's own connection: nobody else would close it.
            connections.close_all()

    def turn(self) -> None:
        """One round."""
        try:
            self._look_at_process()
            case_documents.recover_lost(self._watch)
            self._sweep()
            if self._may_start() and case_documents.something_waits() and not lacks_room():
                command = [sys.executable, str(settings.BASE_DIR / "manage.py"), COMMAND]
                self._process = subprocess.Popen(command)  # noqa: S603 -- our own command
        except Error:
            # It may be away for a moment; meanwhile nobody can give signs of life.
            logger.exception("Documents of cases wait for the database")
            self._watch = _new_watch()
            connections.close_all()
        except StorageTrouble as error:
            logger.warning("Documents of cases wait for the storage: %s", error)
        except Exception:
            # Nobody would start this thread again, and all that is asked for would wait.
            logger.exception("Documents of cases: a round broke off")

    def _may_start(self) -> bool:
        return self._process is None and time.monotonic() >= self._start_at

    def _look_at_process(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        process, self._process = self._process, None
        if process.returncode:
            logger.warning("The process that makes documents of cases ended with %s", process.returncode)
            self._start_at = time.monotonic() + REST_SECONDS
        # Whatever it had in hand when it was killed.
        case_documents.give_back(case_documents.name_of(process.pid), counted=True)

    def _sweep(self) -> None:
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            case_documents.sweep()
        if now >= self._orphans_at:
            self._orphans_at = now + ORPHANS_SECONDS
            _orphans.sweep()

    def _end_process(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        try:
            case_documents.give_back(case_documents.name_of(self._process.pid), counted=False)
        except DatabaseError:
            # Then it is noticed when its heartbeat stands still.
            logger.exception("A document of a case could not be given back")


def _new_watch() -> clock.StandstillWatch[tuple[Any, str]]:
    return clock.StandstillWatch()

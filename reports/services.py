"""Making reports and keeping them: one file for each analysis, language and version of the form."""

from __future__ import annotations

import hashlib
import logging
import threading

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.utils import timezone, translation
from django.utils.translation import get_language, gettext

from accounts.errors import Code, SentinelError
from accounts.ids import new_public_id
from accounts.models import User
from media_analysis import custody, evidence
from media_analysis.models import Analysis, CaseDetails
from reports import issued, seal
from reports.document import VERSION, SealNote, compose
from reports.models import Report
from reports.pdf import Attachment, get_engine

logger = logging.getLogger(__name__)

# The language that the texts are written in. Reports in others have the report in this one attached.
ORIGINAL_LANGUAGE = "en"

# One at a time in a process: of two requests for the same report the second finds what the first made.
_MAKING = threading.Lock()
# A request that waits longer for the reports before it is told to come again.
MOST_SECONDS_WAITED = 20


def choose_language(user: User, asked: str = "") -> str:
    """What was asked for, else the account's language, else that of the request. One of the site's, always."""
    known = [code for code, _name in settings.LANGUAGES]
    for code in (asked, user.language, get_language() or ""):
        if code in known:
            return code
    return settings.LANGUAGE_CODE


def require_result(analysis: Analysis) -> None:
    """Raises ``not_finished``, or ``no_result`` for an examination that failed."""
    if analysis.status == Analysis.Status.FAILED:
        raise SentinelError(Code.NO_RESULT)
    if analysis.status != Analysis.Status.DONE:
        raise SentinelError(Code.NOT_FINISHED)


def get_report(analysis: Analysis, language: str, *, site: str = "") -> Report:
    """The report of a finished analysis in one of the site's languages, made now unless there is one.

    ``site`` is the address that it was asked for at: its QR code leads there where the settings name no other.

    Takes a second or two when it is made, so it must not be called in a transaction. Raises :class:`SentinelError`:
    ``not_finished``, ``no_result``, ``language_unavailable`` where this server can't write that language, and
    ``not_found`` if the file was deleted meanwhile, and ``reports_busy`` where many others are made before it.
    """
    require_result(analysis)
    if report := _find_whole(analysis, language):
        return report
    if not _MAKING.acquire(timeout=MOST_SECONDS_WAITED):
        raise SentinelError(Code.REPORTS_BUSY, headers={"Retry-After": str(MOST_SECONDS_WAITED)})
    try:
        return _find_whole(analysis, language) or _make(analysis, language, site)
    finally:
        _MAKING.release()


def note_download(report: Report, analysis: Analysis, *, actor: User) -> None:
    """Write into the custody log of the file that somebody is handed this report."""
    custody.record(
        analysis.media.public_id,
        custody.Event.DOWNLOADED,
        actor=actor,
        what=str(custody.What.REPORT),
        analysis=analysis.public_id,
        language=report.language,
        sha256=report.sha256,
    )


def read_report(report: Report) -> bytes:
    """Raises ``not_found``, and ``storage_unavailable``."""
    return evidence.read(report.file)


def _find(analysis: Analysis, language: str) -> Report | None:
    return Report.objects.filter(analysis=analysis, language=language, version=VERSION).first()


def _find_whole(analysis: Analysis, language: str) -> Report | None:
    report = _find(analysis, language)
    if report and not default_storage.exists(report.file):
        logger.warning("The file of report %s is gone: it is made anew", report)
        report.delete()
        return None
    if report and _is_overtaken(report, analysis):
        logger.info("What is said in report %s was added to: it is made anew", report)
        report.delete()
        default_storage.delete(report.file)
        return None
    return report


def _is_overtaken(report: Report, analysis: Analysis) -> bool:
    """Whether its file was submitted for a police case since: with the same link again, for instance.

    By the custody log, of which the report's row says how much there was: clocks may be wrong.
    """
    submitted = custody.events_of(analysis.media.public_id).filter(
        event=custody.Event.RECEIVED, number__gte=report.custody_events
    )
    return submitted.exists() and CaseDetails.objects.filter(submission__media_id=analysis.media_id).exists()


def _make(analysis: Analysis, language: str, site: str) -> Report:
    engine = get_engine()
    engine.require_language(language)
    original = _original_of(analysis, language, site)
    public_id, made_at = new_public_id(), timezone.now()
    check_url = issued.check_address(public_id, site)
    # Read once: the report's row keeps the last digest that the report prints.
    events = list(custody.events_of(analysis.media.public_id))
    document = compose(
        analysis,
        language,
        engine,
        made_at=made_at,
        custody_events=events,
        original_sha256=original.sha256 if original else "",
        seal=SealNote(public_id, check_url, seal.certificate_fingerprint()),
    )
    sealed = seal.sign_pdf(
        engine.render(document.markup, document.parts, _attach(original, language)),
        reason=seal.reason_of(public_id),
        contact=check_url,
    )
    pdf, sha256 = sealed.content, hashlib.sha256(sealed.content).hexdigest()
    # A name of its own: another process may be making the same one.
    name = default_storage.save(f"analyses/{analysis.public_id}/reports/{public_id}.pdf", ContentFile(pdf))
    try:
        with transaction.atomic():
            report = Report.objects.create(
                public_id=public_id,
                analysis=analysis,
                language=language,
                version=VERSION,
                engine=engine.name,
                file=name,
                sha256=sha256,
                size=len(pdf),
                timestamp=sealed.timestamp,
                created_at=made_at,
                custody_events=len(events),
                custody_digest=events[-1].digest if events else "",
            )
            issued.register(sha256, issued.Kind.REPORT, public_id=public_id, issued_at=made_at)
    except IntegrityError:
        default_storage.delete(name)
        # Another process was faster, or the analysis is gone.
        earlier = _find(analysis, language)
        if earlier is None:
            _forget_deleted(analysis)
            raise
        return earlier
    _forget_deleted(analysis)
    return report


def _original_of(analysis: Analysis, language: str, site: str) -> Report | None:
    """The English report that goes with one in another language, made now unless there is one."""
    if language == ORIGINAL_LANGUAGE:
        return None
    return _find_whole(analysis, ORIGINAL_LANGUAGE) or _make(analysis, ORIGINAL_LANGUAGE, site)


def _attach(original: Report | None, language: str) -> list[Attachment]:
    if original is None:
        return []
    with translation.override(language):
        described = gettext("The English original of this report")
    return [Attachment(f"sentinel-report-{original.public_id}-en.pdf", read_report(original), described)]


def _forget_deleted(analysis: Analysis) -> None:
    """Raises ``not_found`` if the media was deleted while a report was made of it, whose file came too late to go."""
    if not Analysis.objects.filter(pk=analysis.pk, media__deleted_at__isnull=True).exists():
        Report.objects.filter(analysis_id=analysis.pk).delete()
        evidence.discard_all(analysis)
        raise SentinelError(Code.NOT_FOUND)

"""Reports over a whole case, and everything of a case in one file.

What is in them is what the case holds at that moment. Who asks for them, and how they are kept and handed out:
:mod:`reports.case_documents`.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO

from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.safestring import mark_safe

from accounts.ids import new_public_id
from media_analysis import cases, custody, evidence
from media_analysis.case_details import FIELDS, case_rows
from media_analysis.cases import CaseFile, Seat
from media_analysis.models import Analysis, CaseNote
from reports import document as single
from reports import issued, package, pictures, services, typefaces
from reports.document import Document, ShownPicture
from reports.models import IssuedDocument
from reports.pdf import get_engine
from reports.presentation import KeyFrame, Report, present
from reports.seal import reason_of, sign_detached, sign_pdf

VERSION = 1
# Each has a page of its own; all others are in the table.
MOST_SUMMARIES = 50
PICTURE_BOX = (400, 240)
PICTURE_SIZE = 700
PICTURE_BYTES = 80 * 1024
CASE_REPORT = "case-report.pdf"

# Called with how many files are through, and how many there are; what it raises ends the making.
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Content:
    """What was written: `size` in bytes, and the public ids of the files that something is told of in it."""

    sha256: str
    size: int
    media: list[str]


@dataclass(frozen=True, slots=True)
class Summary:
    """The page of one file. ``picture`` is the frame that speaks loudest, where one was kept."""

    file: CaseFile
    report: Report
    frame: KeyFrame | None
    picture: ShownPicture | None


def write_case_report(target: BinaryIO, seat: Seat, language: str, *, tell: Tell) -> Content:
    """The report over a case as it is now, for one of its members, as PDF.

    Takes seconds, so it must not be called in a transaction. Raises :class:`SentinelError`: ``language_unavailable``.
    """
    files = _files_with_results(seat)
    pdf = _make_report(seat, files, language, tell)
    target.write(pdf)
    return Content(hashlib.sha256(pdf).hexdigest(), len(pdf), _told_of(files))


def write_case_export(target: BinaryIO, seat: Seat, language: str, *, site: str = "", tell: Tell) -> Content:
    """Everything of a case as ZIP: the report over it, the reports of its files, the notes, the custody logs.

    ``target`` must be able to seek, and is written piece by piece. ``site`` is the address that it was asked for at.
    Raises as :func:`write_case_report` does, and ``not_found`` where a file was deleted meanwhile.
    """
    files = _files_with_results(seat)
    made_at = timezone.now().astimezone(UTC).replace(microsecond=0)
    done = _finished(files)
    tell(0, len(done))
    combined = _make_report(seat, files, language, lambda _done, _total: None)
    notes = list(cases.notes_of(seat.case))
    with package.Writer(target, made_at) as writer:
        writer.add_bytes(CASE_REPORT, combined)
        for number, (file, analysis) in enumerate(done, start=1):
            report = services.read_report(services.get_report(analysis, language, site=site))
            writer.add_bytes(f"reports/{file.line.media_public_id}-{language}.pdf", report)
            tell(number, len(done))
        writer.add_bytes("case.json", package.to_json(describe_case(seat, files, made_at)))
        writer.add_bytes("notes.json", package.to_json(describe_notes(notes)))
        writer.add_bytes("notes.csv", notes_csv(notes))
        for each in files:
            _add_file(writer, seat, each)
        sums = package.checksums(writer.members)
        writer.add_bytes(package.CHECKSUMS, sums)
        writer.add_bytes(f"{package.CHECKSUMS}.p7s", sign_detached(sums))
    size = target.tell()
    target.seek(0)
    whole: Any = target
    digest = hashlib.file_digest(whole, "sha256").hexdigest()
    issued.register(digest, IssuedDocument.Kind.PACKAGE, issued_at=made_at)
    return Content(digest, size, _told_of(files))


def describe_case(seat: Seat, files: Sequence[CaseFile], made_at: datetime) -> dict[str, Any]:
    case = seat.case
    fields = {name: getattr(case, name) for name in FIELDS}
    fields["fir_date"] = case.fir_date.isoformat() if case.fir_date else None
    return {
        "schema": 1,
        "made_at": _utc(made_at),
        "made_for": seat.user.get_username(),
        "id": case.public_id,
        "title": case.title,
        "status": case.status,
        "created_at": _utc(case.created_at),
        "details": fields,
        "members": [
            {"user": member.user.get_username(), "role": member.role, "joined_at": _utc(member.joined_at)}
            for member in cases.members_of(case)
        ],
        "files": [
            {
                "media": file.line.media_public_id,
                "sha256": file.sha256,
                "added_at": _utc(file.line.added_at),
                "deleted": file.media is None,
                "name": file.media.original_name if file.media else None,
                "analysis": file.analysis.public_id if file.analysis else None,
                "status": file.analysis.status if file.analysis else None,
                "outcome": file.analysis.outcome if file.analysis else None,
                "fake_probability": file.analysis.fake_probability if file.analysis else None,
                "confidence": file.analysis.confidence if file.analysis else None,
            }
            for file in files
        ],
    }


def describe_notes(notes: Sequence[CaseNote]) -> list[dict[str, Any]]:
    return [
        {
            "id": note.public_id,
            "author": note.author.get_username() if note.author else None,
            "created_at": _utc(note.created_at),
            "text": note.text,
        }
        for note in notes
    ]


def notes_csv(notes: Sequence[CaseNote]) -> bytes:
    """UTF-8 with a mark that spreadsheets know it by. A text that they would take for a formula begins with '."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["number", "created_at", "author", "text"])
    for number, note in enumerate(describe_notes(notes), start=1):
        author, text = (_no_formula(note[name] or "") for name in ("author", "text"))
        writer.writerow([number, note["created_at"], author, text])
    return b"\xef\xbb\xbf" + table.getvalue().encode()


def _add_file(writer: package.Writer, seat: Seat, file: CaseFile) -> None:
    """What the export holds of one file besides its report."""
    media_id = file.line.media_public_id
    if file.media is None:
        return
    events = list(custody.events_of(media_id))
    if file.media.owner_id != seat.user.pk:
        events = custody.without_addresses(events)
    writer.add_bytes(f"custody/{media_id}.json", package.to_json(package.describe_custody(media_id, events)))


def _files_with_results(seat: Seat) -> list[CaseFile]:
    """All files of the case, with everything that was found in them."""
    return cases.show_files(list(cases.files_of(seat.case, with_results=True)))


def _finished(files: Sequence[CaseFile]) -> list[tuple[CaseFile, Analysis]]:
    """Those that are there and were examined."""
    return [
        (file, file.analysis)
        for file in files
        if file.media and file.analysis and file.analysis.status == Analysis.Status.DONE
    ]


def _told_of(files: Sequence[CaseFile]) -> list[str]:
    return [file.media.public_id for file in files if file.media]


def _make_report(seat: Seat, files: Sequence[CaseFile], language: str, tell: Tell) -> bytes:
    engine = get_engine()
    engine.require_language(language)
    number, made_at = new_public_id(), timezone.now()
    document = Document()
    with translation.override(language):
        done = _finished(files)
        shown = done[:MOST_SUMMARIES]
        summaries = []
        tell(0, len(shown))
        for file, analysis in shown:
            summaries.append(_summarise(file, analysis, document))
            tell(len(summaries), len(shown))
        context: dict[str, Any] = {
            "case": seat.case,
            "rows": case_rows(seat.case),
            "number": number,
            "files": files,
            "summaries": summaries,
            "left_out": len(done) - len(shown),
            "notes": list(cases.notes_of(seat.case)),
            "members": list(cases.members_of(seat.case)),
            "reader": seat.user,
            "language": language,
            "made_at": made_at,
            "stylesheet": engine.stylesheet,
            "families": mark_safe(", ".join(f'"{typefaces.family_of(script)}"' for script in engine.scripts)),  # noqa: S308 -- our own names
            "page_number": mark_safe(engine.page_number),  # noqa: S308 -- our own markup
            "page_count": mark_safe(engine.page_count),  # noqa: S308 -- our own markup
        }
        markup = typefaces.spell_out(render_to_string("reports/case_pdf/report.html", context), engine.scripts)
    # The number in it tells whose it was where the seal is destroyed.
    sealed = sign_pdf(
        engine.render(markup, document.parts), reason=reason_of(number), contact=issued.check_address(number)
    )
    pdf = sealed.content
    digest = hashlib.sha256(pdf).hexdigest()
    issued.register(digest, IssuedDocument.Kind.REPORT, public_id=number, issued_at=made_at)
    return pdf


def _summarise(file: CaseFile, analysis: Analysis, document: Document) -> Summary:
    report = present(analysis)
    frame = max(report.key_frames, key=_loudest, default=None)
    stored = evidence.find(analysis, evidence.frame_name(frame.frame)) if frame else None
    if frame is None or stored is None:
        return Summary(file, report, None, None)
    jpeg = single.read_picture(analysis, evidence.frame_name(frame.frame))
    drawn = pictures.draw_key_frame(jpeg, frame, longest=PICTURE_SIZE, most_bytes=PICTURE_BYTES)
    name = f"{analysis.public_id}-{evidence.frame_name(frame.frame)}"
    return Summary(file, report, frame, single.show_picture(document, name, drawn, PICTURE_BOX))


def _loudest(frame: KeyFrame) -> float:
    return max((box.percent for box in frame.boxes), default=0.0)


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

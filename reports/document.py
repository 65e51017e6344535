"""What a report says and shows: from a finished analysis to markup and pictures, in one language.

Every number comes from the analysis; nothing is computed anew. Values that somebody else wrote (names, case details,
what a file says about itself) reach the markup through Django's templates, which escape them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from itertools import zip_longest
from typing import Any

from django.core.files.storage import default_storage
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.safestring import mark_safe
from PIL import Image

from media_analysis import evidence
from media_analysis.custody_words import Told, tell
from media_analysis.models import Analysis, CustodyEvent, Submission
from reports import pictures, typefaces
from reports.pdf import PART, Engine, Part
from reports.presentation import Face, KeyFrame, Person, Report, present

# Counted up with every change of what a report says or how: then new ones are made.
VERSION = 4

# In CSS pixels of 1/96 inch; the text of an A4 page is 658 wide.
KEY_FRAME_BOX = (400, 200)
PHOTO_BOX = (640, 430)
HEAT_MAP_BOX = (150, 150)
CROP_BOX = (92, 92)
FACES_SHOWN = 6
# Pictures of so many people, those with the highest scores; all are in the tables.
PEOPLE_SHOWN = 12
# Of the annex with every face's score; it says how many were left out.
MOST_SCORES = 1500
SCORES_A_ROW = 3
# Of the custody log, the first of them from its beginning.
MOST_EVENTS = 200
FIRST_EVENTS = 20


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """``source`` names a part of the document; ``width`` and ``height`` are in CSS pixels."""

    source: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ShownFace:
    face: Face
    picture: ShownPicture


@dataclass(frozen=True, slots=True)
class ShownPerson:
    person: Person
    faces: tuple[ShownFace, ...]


@dataclass(frozen=True, slots=True)
class ShownFrame:
    frame: KeyFrame
    picture: ShownPicture
    heat_map: ShownPicture | None


@dataclass(frozen=True, slots=True)
class PrintedLog:
    """The custody log as printed: ``left_out`` of its ``count`` events are not in ``events``."""

    events: tuple[Told, ...]
    count: int
    left_out: int
    digest: str


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Every face of one person, in rows of :data:`SCORES_A_ROW`; None fills the last row."""

    person: int
    rows: tuple[tuple[Face | None, ...], ...]


@dataclass(slots=True)
class Document:
    """Markup for :class:`reports.pdf.Engine` and the pictures that it names."""

    markup: str = ""
    parts: dict[str, Part] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SealNote:
    """What a report says of its own seal.

    ``number`` is that of the document, ``check_url`` where it can be checked, empty where nobody knows the site's
    address, ``fingerprint`` that of the certificate.
    """

    number: str
    check_url: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Making:
    """A report in the making, for what sections gather. Pictures that they show are put into ``document.parts``."""

    analysis: Analysis
    report: Report
    language: str
    engine: Engine
    made_at: datetime
    document: Document
    custody_events: Sequence[CustodyEvent]
    seal: SealNote | None


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: a template with its heading, which may show nothing, and what is in it.

    ``gather`` gives the template more than what all of them are given (see :func:`compose`). It runs in the language
    of the report.
    """

    template: str
    gather: Callable[[Making], Mapping[str, Any]] | None = None


# In the order of the pages. Findings come before what they mean; annexes, which few read, come last.
SECTIONS: tuple[Section, ...] = (
    Section("reports/pdf/summary.html"),
    Section("reports/pdf/case.html"),
    Section("reports/pdf/file.html"),
    Section("reports/pdf/source.html"),
    Section("reports/pdf/method.html"),
    Section("reports/pdf/findings.html"),
    Section("reports/pdf/meaning.html"),
    Section("reports/pdf/words.html"),
    Section("reports/pdf/annexes.html"),
    Section("reports/pdf/custody.html", lambda making: {"custody": _print_custody(making)}),
    Section("reports/pdf/seal.html", lambda making: _note_seal(making)),  # noqa: PLW0108 -- further down
)


def compose(
    analysis: Analysis,
    language: str,
    engine: Engine,
    *,
    made_at: datetime,
    custody_events: Sequence[CustodyEvent] = (),
    original_sha256: str = "",
    seal: SealNote | None = None,
) -> Document:
    """The report of a DONE analysis for `engine`, in `language`, one of the site's, with the file's custody log.

    ``original_sha256`` is of the English report that is attached to this translation, if one is. ``seal`` is told where
    the report is going to be sealed.
    """
    document = Document()
    with translation.override(language):
        report = present(analysis)
        making = Making(analysis, report, language, engine, made_at, document, custody_events, seal)
        context: dict[str, Any] = {
            "sections": [section.template for section in SECTIONS],
            "analysis": analysis,
            "media": analysis.media,
            "is_video": analysis.media.kind == "video",
            "report": report,
            "submission": _first_submission(analysis),
            "people": _show_people(analysis, report, document),
            "key_frames": _show_key_frames(analysis, report, document),
            "score_tables": tuple(_score_tables(report)) if analysis.media.kind == "video" else (),
            "scores_left_out": max(sum(len(person.faces) for person in report.persons) - MOST_SCORES, 0),
            "settings": dict(report.settings),
            "settings_rows": _in_two_columns(report.settings),
            "language": language,
            "original_sha256": original_sha256,
            "version": VERSION,
            "made_at": made_at,
            "stylesheet": engine.stylesheet,
            "families": mark_safe(", ".join(f'"{typefaces.family_of(script)}"' for script in engine.scripts)),  # noqa: S308 -- our own names
            "page_number": mark_safe(engine.page_number),  # noqa: S308 -- our own markup
            "page_count": mark_safe(engine.page_count),  # noqa: S308 -- our own markup
        }
        if report.curve:
            document.parts["curve.svg"] = _drawing("reports/pdf/curve.svg", {"report": report}, engine)
            context["curve"] = PART + "curve.svg"
            for look in {line.look for line in report.curve.lines}:
                document.parts[f"key-{look}.svg"] = _drawing("reports/pdf/key.svg", {"look": look}, engine)
            context["curve_key"] = tuple((line, f"{PART}key-{line.look}.svg") for line in report.curve.lines)
        if report.scale:
            document.parts["scale.svg"] = _drawing("reports/pdf/scale.svg", {"scale": report.scale}, engine)
            context["scale"] = PART + "scale.svg"
        for section in SECTIONS:
            if section.gather:
                context |= section.gather(making)
        document.markup = typefaces.spell_out(render_to_string("reports/pdf/report.html", context), engine.scripts)
    return document


def _drawing(template: str, context: Mapping[str, Any], engine: Engine) -> Part:
    families = mark_safe(", ".join(typefaces.family_of(script) for script in engine.scripts))  # noqa: S308 -- ours
    text = typefaces.spell_out(render_to_string(template, {**context, "families": families}), engine.scripts)
    return Part(text.encode(), "image/svg+xml")


def _note_seal(making: Making) -> dict[str, Any]:
    """The seal, and the QR code of its address where there is one."""
    if making.seal is None or not making.seal.check_url:
        return {"seal": making.seal}
    making.document.parts["check.svg"] = Part(pictures.draw_qr_code(making.seal.check_url), "image/svg+xml")
    return {"seal": making.seal, "check_code": PART + "check.svg"}


def _print_custody(making: Making) -> PrintedLog | None:
    """The first events and the latest where there are too many for a report."""
    events = making.custody_events
    if not events:
        return None
    left_out = max(len(events) - MOST_EVENTS, 0)
    shown = [*events[:FIRST_EVENTS], *events[FIRST_EVENTS + left_out :]]
    told = tell(shown, owner=making.analysis.media.owner)
    return PrintedLog(told, count=len(events), left_out=left_out, digest=events[-1].digest)


def _first_submission(analysis: Analysis) -> Submission | None:
    return analysis.media.submissions.select_related("submitted_by").order_by("created_at", "pk").first()


def _show_people(analysis: Analysis, report: Report, document: Document) -> tuple[ShownPerson, ...]:
    highest = sorted(report.persons, key=lambda person: -person.percent)[:PEOPLE_SHOWN]
    chosen = {person.number: _choose_faces(person) for person in highest}
    most_bytes = pictures.share_of(pictures.CROPS_BUDGET, sum(map(len, chosen.values())))

    def show(person: Person, face: Face) -> ShownFace:
        name = evidence.crop_name(person.number - 1, face.frame)
        jpeg = pictures.shrink(read_picture(analysis, name), longest=pictures.CROP_SIZE, most_bytes=most_bytes)
        return ShownFace(face, show_picture(document, name, jpeg, CROP_BOX))

    return tuple(
        ShownPerson(person, tuple(show(person, face) for face in chosen.get(person.number, ())))
        for person in report.persons
    )


def _choose_faces(person: Person) -> tuple[Face, ...]:
    """The faces with the highest scores of which there are pictures, in order of time."""
    kept = sorted((face for face in person.faces if face.url), key=lambda face: -face.percent)[:FACES_SHOWN]
    return tuple(sorted(kept, key=lambda face: face.frame))


def _show_key_frames(analysis: Analysis, report: Report, document: Document) -> tuple[ShownFrame, ...]:
    is_video = analysis.media.kind == "video"
    shown = []
    longest = pictures.KEY_FRAME_SIZE if is_video else pictures.PHOTO_SIZE
    most_bytes = pictures.share_of(pictures.FRAMES_BUDGET, len(report.key_frames))
    heat_bytes = pictures.share_of(pictures.HEAT_MAPS_BUDGET, len(report.key_frames))
    for frame in report.key_frames:
        name = evidence.frame_name(frame.frame)
        drawn = pictures.draw_key_frame(read_picture(analysis, name), frame, longest=longest, most_bytes=most_bytes)
        picture = show_picture(document, name, drawn, KEY_FRAME_BOX if is_video else PHOTO_BOX)
        heat_map = None
        if frame.heat_person:
            heat_name = evidence.heat_name(frame.heat_person - 1, frame.frame)
            heat = pictures.shrink(
                read_picture(analysis, heat_name), longest=pictures.HEAT_MAP_SIZE, most_bytes=heat_bytes
            )
            heat_map = show_picture(document, heat_name, heat, HEAT_MAP_BOX)
        shown.append(ShownFrame(frame, picture, heat_map))
    return tuple(shown)


def read_picture(analysis: Analysis, name: str) -> bytes:
    """An evidence picture. Raises FileNotFoundError where the analysis names one that is gone."""
    stored = evidence.find(analysis, name)
    if stored is None:
        raise FileNotFoundError(name)
    with default_storage.open(stored) as file:
        return bytes(file.read())


def show_picture(document: Document, name: str, jpeg: bytes, box: tuple[int, int]) -> ShownPicture:
    """Put a picture into the document, as large as fits into `box`."""
    document.parts[name] = Part(jpeg, "image/jpeg")
    with Image.open(BytesIO(jpeg)) as picture:
        width, height = picture.size
    scale = min(box[0] / width, box[1] / height)
    return ShownPicture(PART + name, max(round(width * scale), 1), max(round(height * scale), 1))


def _in_two_columns(settings: tuple[tuple[str, str], ...]) -> tuple[tuple[tuple[str, str], tuple[str, str]], ...]:
    """Name and value of two settings a row: the first half on the left, the rest on the right."""
    middle = (len(settings) + 1) // 2
    return tuple(zip_longest(settings[:middle], settings[middle:], fillvalue=("", "")))


def _score_tables(report: Report) -> Iterator[ScoreTable]:
    left = MOST_SCORES
    for person in report.persons:
        faces = person.faces[:left]
        left -= len(faces)
        if not faces:
            return
        filled: list[Face | None] = [*faces, *[None] * (-len(faces) % SCORES_A_ROW)]
        yield ScoreTable(
            person.number,
            tuple(tuple(filled[start : start + SCORES_A_ROW]) for start in range(0, len(filled), SCORES_A_ROW)),
        )

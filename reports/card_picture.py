"""The picture of a public result: what other sites show beside a link to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from urllib.parse import urlsplit

from django.conf import settings
from django.template.defaultfilters import date as format_date
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from PIL import Image, ImageDraw

from media_analysis.models import ResultCard
from media_analysis.templatetags.verdicts import cautiously
from reports import lettering
from reports.card_presentation import PublicResult, present_card, stretch_texts
from reports.lettering import LINE_HEIGHT, Style

logger = logging.getLogger(__name__)

# As Open Graph and X ask for it.
WIDTH, HEIGHT = 1200, 630
LEFT, RIGHT = 104, 1136
SIGN, SIGN_TOP = 112, 138
GAP = 12
# Where the base line lies in a line, in shares of the font's size.
ASCENT = 1.08
CONTENT_TYPE = "image/png"
STRETCHES_SHOWN = 3
# Drawn so many times as large and then shrunk, since Pillow draws lines with steps.
SMOOTH = 4

PAPER, INK, MUTED, LINE = "#f5f7f9", "#16202b", "#4b5866", "#d5dce3"
# As on the pages; each also has a sign of its own.
COLOURS = {"FAKE": "#a3261c", "REAL": "#185c4b", "INCONCLUSIVE": "#774d00", "NOT_ASSESSABLE": "#44505d"}
_LOGO = settings.BASE_DIR / "static" / "img" / "icon-192.png"
# One at a time in a process: drawing takes all of a core.
_DRAWING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Words:
    """Everything that a card's picture says, in one language. Equal words make equal pictures."""

    language: str
    outcome: str
    site: str
    verdict: str
    facts: tuple[str, ...]
    caution: str
    details: str


def picture_of(card: ResultCard, language: str) -> bytes:
    """The PNG of a card in one of the site's languages; in English where this machine can't write that language."""
    if not lettering.can_write(language):
        logger.warning("Pillow has no Raqm, or that no FriBiDi: pictures of results are in English only")
        language = settings.LANGUAGE_CODE
    return draw(words_of(card, language))


def words_of(card: ResultCard, language: str) -> Words:
    with translation.override(language):
        result = present_card(card)
        return Words(
            language=language,
            outcome=result.outcome,
            site=_("Sentinel"),
            verdict=result.verdict,
            facts=tuple(_facts(result)),
            caution=caution_of(result),
            details=_details(result),
        )


def caution_of(result: PublicResult) -> str:
    """The one thing that must be known of a verdict, in the active language."""
    if result.outcome == "FAKE":
        return _("A machine’s opinion, not proof. Have it checked before you rely on it.")
    if result.outcome == "REAL":
        return _("This does not mean genuine. A manipulation of another kind can go unseen.")
    return _("This is no result, neither for nor against the file.")


def _facts(result: PublicResult) -> list[str]:
    facts = []
    if result.confidence is not None:
        facts.append(_("Confidence: %(percent)s") % {"percent": cautiously(result.confidence)})
    shown = stretch_texts(result)
    if shown:
        listed = ", ".join(shown[:STRETCHES_SHOWN])
        if left := len(shown) - STRETCHES_SHOWN if len(shown) > STRETCHES_SHOWN else 0:
            listed = _("%(stretches)s and %(count)s more") % {"stretches": listed, "count": left}
        facts.append(_("Called fake: %(stretches)s") % {"stretches": listed})
    elif result.outcome == "INCONCLUSIVE":
        facts.append(result.reason)
    return facts


def _details(result: PublicResult) -> str:
    day = format_date(timezone.localtime(result.examined_at), "DATE_FORMAT")
    examined = (
        _("Video, examined on %(date)s") % {"date": day}
        if result.is_video
        else _("Photo, examined on %(date)s") % {"date": day}
    )
    detector = f"{result.detector} {result.detector_version}".strip()
    return " · ".join(part for part in (examined, detector, urlsplit(settings.SENTINEL_URL).netloc) if part)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, its base line beginning at ``x`` and ``y``."""

    text: str
    x: float
    y: float
    style: Style
    colour: str


@lru_cache(maxsize=64)
def draw(words: Words) -> bytes:
    """PNG of :data:`WIDTH` × :data:`HEIGHT` pixels."""
    with _DRAWING:
        picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, 0, 24, HEIGHT), fill=COLOURS[words.outcome])
        with Image.open(_LOGO) as kept:
            logo = kept.convert("RGBA").resize((64, 64), Image.Resampling.LANCZOS)
        picture.paste(logo, (LEFT, 40), logo)
        picture.paste(COLOURS[words.outcome], (LEFT, SIGN_TOP), _sign(words.outcome, SIGN))
        foot, foot_top = _foot(words)
        pen.line((LEFT, foot_top, RIGHT, foot_top), fill=LINE, width=2)
        brand = Line(words.site, LEFT + 84, 85, Style(38, 700, words.language), INK)
        for line in (brand, *_body(words, foot_top - GAP), *foot):
            lettering.write(pen, (line.x, line.y), line.text, line.style, line.colour)
        target = BytesIO()
        picture.save(target, "PNG")
        return target.getvalue()


def _body(words: Words, bottom: float) -> list[Line]:
    """Verdict and facts, as large as they fit above `bottom`."""
    for share in (100, 92, 84, 76, 68, 60):
        lines, end = _block(
            words.verdict,
            (LEFT + SIGN + 36, SIGN_TOP - 8),
            lines=4,
            sizes=[size * share // 100 for size in (64, 58, 52, 46)],
            weight=700,
            colour=COLOURS[words.outcome],
            language=words.language,
        )
        end = max(end, SIGN_TOP + SIGN)
        for fact in words.facts:
            more, end = _block(
                fact,
                (LEFT, end + GAP),
                lines=2,
                sizes=[size * share // 100 for size in (38, 34, 30)],
                weight=400,
                colour=INK,
                language=words.language,
            )
            lines += more
        if end <= bottom:
            break
    return lines


def _foot(words: Words) -> tuple[list[Line], float]:
    """What to beware of, and below it when and by what it was examined; returns the lines and where they begin."""
    style, details = lettering.fit(
        words.details, width=RIGHT - LEFT, lines=1, sizes=(26, 24, 22, 20), weight=400, language=words.language
    )
    cautions, height = _block(
        words.caution,
        (LEFT, 0),
        lines=2,
        sizes=[32, 30, 28, 26],
        weight=700,
        colour=INK,
        language=words.language,
    )
    top = HEIGHT - 78 - height
    lines = [replace(line, y=line.y + top) for line in cautions]
    return [*lines, Line(details[0], LEFT, HEIGHT - 36, style, MUTED)], top - GAP


def _block(
    text: str,
    place: tuple[float, float],
    *,
    lines: int,
    sizes: Sequence[int],
    weight: int,
    colour: str,
    language: str,
) -> tuple[list[Line], float]:
    """`text` as large as it fits to the right of `place`, its top left corner; returns its lines and where they end."""
    x, y = place
    style, wrapped = lettering.fit(
        text, width=round(RIGHT - x), lines=lines, sizes=tuple(sizes), weight=weight, language=language
    )
    height = style.size * LINE_HEIGHT
    placed = [
        Line(line, x, y + height * number + style.size * ASCENT, style, colour) for number, line in enumerate(wrapped)
    ]
    return placed, y + height * len(wrapped)


def _sign(outcome: str, size: int) -> Image.Image:
    """A mask of the verdict's sign, as static/img/icons.svg has it: the verdict is never told by colour alone."""
    unit = size * SMOOTH / 24
    mask = Image.new("L", (size * SMOOTH, size * SMOOTH), 0)
    pen = ImageDraw.Draw(mask)
    stroke = round(2.2 * unit)

    def line(*points: tuple[float, float]) -> None:
        """Through `points` in units of the sign's grid of 24, with round ends."""
        scaled = [(x * unit, y * unit) for x, y in points]
        pen.line(scaled, fill=255, width=stroke, joint="curve")
        for x, y in scaled:
            _dot(pen, x, y, stroke / 2)

    if outcome == "FAKE":
        line((12, 2.8), (22.3, 20.8), (1.7, 20.8), (12, 2.8))
        line((12, 9.5), (12, 14.2))
        _dot(pen, 12 * unit, 17.5 * unit, 1.4 * unit)
    elif outcome == "REAL":
        # A looking glass: no tick, which would read as "genuine".
        pen.ellipse([side * unit for side in (2, 2, 19, 19)], outline=255, width=stroke)
        line((16.1, 16.1), (21.5, 21.5))
    elif outcome == "INCONCLUSIVE":
        line((12, 1.8), (22.2, 12), (12, 22.2), (1.8, 12), (12, 1.8))
        pen.arc([side * unit for side in (8.4, 6, 15.6, 13.2)], 175, 90, fill=255, width=stroke)
        line((12, 12.1), (12, 13.9))
        _dot(pen, 12 * unit, 17 * unit, 1.3 * unit)
    else:
        pen.rounded_rectangle([side * unit for side in (1.4, 1.4, 22.6, 22.6)], 2.6 * unit, outline=255, width=stroke)
        line((7, 12), (17, 12))
    return mask.resize((size, size), Image.Resampling.LANCZOS)


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)

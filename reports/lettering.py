"""Writing on pictures in every script of the site, by the fonts that reports are set in.

Pillow has HarfBuzz shape the letters, through Raqm, which needs FriBiDi, a library of the system. Where that is missing
only languages in Latin letters can be written; see :func:`can_write`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from PIL import ImageDraw, ImageFont, features

from reports import typefaces

# Of a line, in shares of the font's size: room for the signs above and below of Indian scripts.
LINE_HEIGHT = 1.38
# A font can't be used by two threads at once.
_WRITING = threading.RLock()
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Style:
    """``size`` in pixels, ``weight`` one of :data:`reports.typefaces.WEIGHTS`, ``language`` a code of the site's."""

    size: int
    weight: int
    language: str


def can_write(language: str) -> bool:
    """Whether this machine can shape the script of a language."""
    return language.partition("-")[0] == settings.LANGUAGE_CODE or bool(features.check("raqm"))


def fit(
    text: str, *, width: int, lines: int, sizes: tuple[int, ...], weight: int, language: str
) -> tuple[Style, list[str]]:
    """The largest of `sizes`, given from large to small, in which `text` takes no more than `lines` of `width` pixels.

    In the smallest, what does not fit is cut off behind an ellipsis.
    """
    for size in sizes:
        style = Style(size, weight, language)
        wrapped = wrap(text, width, style)
        if len(wrapped) <= lines and all(measure(line, style) <= width for line in wrapped):
            return style, wrapped
    kept = wrapped[:lines]
    if len(wrapped) > lines:
        kept[-1] += ELLIPSIS
    return style, [_cut(line, width, style) for line in kept]


def wrap(text: str, width: int, style: Style) -> list[str]:
    """Lines of `text`, broken at blanks; a word wider than `width` stands alone."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure(longer, style) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def measure(text: str, style: Style) -> float:
    """How many pixels wide a line is."""
    with _WRITING:
        return sum(_font(script, style).getlength(part, language=_shaped_as(style)) for script, part in _runs(text))


def write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, style: Style, colour: str) -> float:
    """Write one line, `place` being the left end of its base line; returns where it ends."""
    x, y = place
    with _WRITING:
        for script, part in _runs(text):
            font = _font(script, style)
            draw.text((x, y), part, font=font, fill=colour, anchor="ls", language=_shaped_as(style))
            x += font.getlength(part, language=_shaped_as(style))
    return x


def _cut(line: str, width: int, style: Style) -> str:
    while measure(line, style) > width and len(line) > 1:
        line = line.removesuffix(ELLIPSIS)[:-1].rstrip() + ELLIPSIS
    return line


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Parts of a line, each with the script whose font draws it: the one before it as long as that has the letters."""
    script, part = "", ""
    for sign in typefaces.spell_out(text, typefaces.EVERY_SCRIPT):
        if part and (sign in typefaces.JOINERS or sign in typefaces.characters_of((script,))):
            part += sign
            continue
        if part:
            yield script, part
        script = next((each for each in typefaces.EVERY_SCRIPT if sign in typefaces.characters_of((each,))), "latin")
        part = sign
    if part:
        yield script, part


def _shaped_as(style: Style) -> str | None:
    """Marathi writes some letters of Devanagari otherwise than Hindi. Without Raqm nothing may be said of it."""
    return style.language if features.check("raqm") else None


@lru_cache(maxsize=64)
def _loaded(script: str, weight: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(typefaces.file_of(script, weight)), size)


def _font(script: str, style: Style) -> ImageFont.FreeTypeFont:
    return _loaded(script, style.weight, style.size)

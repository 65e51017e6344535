"""Which glyphs a PDF draws and where, read out of its content streams and of the fonts in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import pypdf
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont
from pypdf.generic import ContentStream

from reports import typefaces

Outline = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A glyph of one of our font files, and where its origin lies in its line, in font units, y upwards.

    Of several glyphs with the same outline, ``glyph`` is the first.
    """

    glyph: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class FontFile:
    """One of our font files, unpacked: as bytes for a shaper, and the glyph of each outline."""

    content: bytes
    glyphs: dict[Outline, int]
    outlines: tuple[Outline, ...]

    def canonical(self, glyph: int) -> int:
        return self.glyphs[self.outlines[glyph]]


@cache
def read_font_file(script: str, weight: int) -> FontFile:
    with TTFont(typefaces.file_of(script, weight), recalcTimestamp=False) as font:
        font.flavor = None
        target = BytesIO()
        font.save(target)
    with TTFont(BytesIO(target.getvalue())) as font:
        outlines = _outlines(font)
    numbered = {outline: number for number, outline in reversed(list(enumerate(outlines)))}
    return FontFile(target.getvalue(), numbered, outlines)


def lines_of(pdf: bytes, file: FontFile) -> list[list[Drawn]]:
    """What each line of text draws with this font, whose outlines must all be in the file that it was made of.

    A glyph that was put together for the PDF counts as its components. Lines in other fonts are left out.
    """
    reader = pypdf.PdfReader(BytesIO(pdf))
    found = []
    for page in reader.pages:
        fonts = {name: _embedded(entry.get_object(), file) for name, entry in page["/Resources"]["/Font"].items()}  # type: ignore[index]
        found += list(_lines(ContentStream(page.get_contents(), reader).operations, fonts))
    return found


@dataclass(frozen=True, slots=True)
class _Embedded:
    """A font of the PDF: what each code draws, as parts with their places, and how far it moves the pen."""

    parts: Mapping[int, tuple[Drawn, ...]]
    advances: dict[int, float]
    code_length: int


def _lines(operations: Any, fonts: dict[str, _Embedded | None]) -> Iterator[list[Drawn]]:
    """A line begins where the text matrix is set anew."""
    font, line, pen = None, list[Drawn](), 0.0
    for operands, operator in [*operations, ((), b"BT")]:
        if operator in {b"BT", b"Tm", b"Td", b"T*"}:
            if line:
                yield line
            line, pen = [], 0.0
        elif operator == b"Tf":
            font = fonts[operands[0]]
        elif operator == b"Ts":
            raise AssertionError("what is raised is not told apart here")
        elif operator in {b"Tj", b"TJ"} and font:
            for shown in operands[0] if operator == b"TJ" else operands:
                if not hasattr(shown, "original_bytes"):
                    pen -= float(shown)
                    continue
                data = shown.original_bytes
                for start in range(0, len(data), font.code_length):
                    code = int.from_bytes(data[start : start + font.code_length])
                    line += [Drawn(part.glyph, pen + part.x, part.y) for part in font.parts[code]]
                    pen += font.advances[code]


def _embedded(entry: Any, file: FontFile) -> _Embedded | None:
    """None for a font that is not made of this file."""
    inner = entry["/DescendantFonts"][0].get_object() if "/DescendantFonts" in entry else entry
    if "/FontDescriptor" not in inner:
        return None
    program = TTFont(BytesIO(inner["/FontDescriptor"]["/FontFile2"].get_data()))
    outlines = _outlines(program)
    if inner is entry:
        # One byte a sign: the subset's glyphs are in the order of their codes.
        if any(outline not in file.glyphs for outline in outlines):
            return None
        first = int(entry["/FirstChar"])
        single = {code: (Drawn(file.glyphs[outline], 0, 0),) for code, outline in enumerate(outlines)}
        return _Embedded(single, {first + i: float(width) for i, width in enumerate(entry["/Widths"])}, 1)
    assert (entry["/Encoding"], inner["/CIDToGIDMap"]) == ("/Identity-H", "/Identity")
    count = len(file.outlines)
    if any(outline and outline != file.outlines[code] for code, outline in enumerate(outlines[:count])):
        return None
    order = program.getGlyphOrder()
    parts: dict[int, tuple[Drawn, ...]] = {}
    for code, outline in enumerate(outlines):
        if not outline:
            parts[code] = ()
        elif code < count:
            parts[code] = (Drawn(file.canonical(code), 0, 0),)
        else:
            components = program["glyf"][order[code]].components
            parts[code] = tuple(
                Drawn(file.canonical(program.getGlyphID(part.glyphName)), part.x, part.y) for part in components
            )
    widths = list(inner["/W"])
    advances = {
        int(start) + i: float(width)
        for start, run in zip(widths[::2], widths[1::2], strict=True)
        for i, width in enumerate(run)
    }
    return _Embedded(parts, advances, 2)


def _outlines(font: TTFont) -> tuple[Outline, ...]:
    """The lines and curves of each glyph, whatever it is put together of; empty for one that draws nothing."""
    glyphs = font.getGlyphSet()
    found = []
    for name in font.getGlyphOrder():
        pen = DecomposingRecordingPen(glyphs)
        glyphs[name].draw(pen)
        found.append(tuple(pen.value))
    return tuple(found)

"""Makes WeasyPrint write text that can be copied out again, in every script.

Where several letters share their glyphs, as in क्षि, a PDF can only say of each glyph which text it stands for.
WeasyPrint notes for a glyph the text of the first place that it saw it in, so that every क after a कि is copied as
कि; and readers guess blanks inside such a syllable, whose glyphs are pushed to and fro. Here the glyphs of one cluster,
the least that a shaper can't take apart, become one composite glyph of the font that goes into the PDF, with the places
that the shaper gave them, and with the whole cluster as its text. What is drawn stays as it was: the same outlines at
the same places. Any reader that can look up a glyph's text then copies what was written, letter by letter.

Importing this imports WeasyPrint, which fails with OSError where Pango is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import weasyprint.draw.text
import weasyprint.pdf.stream
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._g_l_y_f import Glyph
from weasyprint.pdf.fonts import Font
from weasyprint.text.ffi import FROM_UNITS, ffi, pango

# Lengths in a PDF's text are in thousandths of the font's size.
EM = 1000
# Where what follows is moved by more than this, some readers guess a blank: such a place gets a glyph of its own.
FARTHEST_MOVED = 40


class UnwritableTextError(Exception):
    """No font that was handed over has a sign, or a style asks for what is not written here."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A glyph of the font with the place of its origin in the cluster, in font units, y upwards."""

    glyph: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """The glyphs that one piece of text became, in the order of drawing; ``advance`` is in thousandths of the size."""

    text: str
    glyphs: tuple[Placed, ...]
    advance: float


class SyllableFont(Font):  # type: ignore[misc, unused-ignore]
    """A font of the document, with a glyph of its own for each cluster and each second meaning of a glyph."""

    file_content: bytes

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._composites: dict[tuple[str, tuple[Placed, ...]], int] = {}
        self._own_widths: dict[str, tuple[int, int]] = {}
        self._names: list[str] = []

    def code_of(self, cluster: Cluster) -> int:
        """The number that stands for this cluster in the PDF."""
        if [(placed.x, placed.y) for placed in cluster.glyphs] == [(0, 0)]:
            (placed,) = cluster.glyphs
            # PDF/UA-1 (ISO 14289-1, 7.21.5) wants the font's own, not the one with the kerning of this place in it.
            if placed.glyph not in self.widths:
                self.widths[placed.glyph] = self._own_width(placed.glyph)
            is_near = abs(self.widths[placed.glyph] - cluster.advance) <= FARTHEST_MOVED
            if is_near and self.to_unicode.setdefault(placed.glyph, cluster.text) == cluster.text:
                return placed.glyph
        key = (cluster.text, cluster.glyphs)
        if key not in self._composites:
            code = self._composites[key] = self.glyph_count + len(self._composites)
            self.to_unicode[code] = cluster.text
            self.widths[code] = round(cluster.advance)
        return self._composites[key]

    def _own_width(self, glyph: int) -> int:
        """The advance that the font says, in thousandths of its size."""
        if not self._names:
            with TTFont(BytesIO(self.file_content), fontNumber=self.index, lazy=True) as font:
                self._own_widths, self._names = font["hmtx"].metrics, font.getGlyphOrder()
        advance, _left = self._own_widths[self._names[glyph]]
        return round(advance * EM / int(self.upem))

    def clean(self, to_unicode: dict[int, str], hinting: bool) -> None:
        """Keep only what was drawn, then add the composites."""
        drawn = {placed.glyph for _text, glyphs in self._composites for placed in glyphs}
        drawn |= {code for code in to_unicode if code < self.glyph_count}
        # An empty set would keep all.
        super().clean(dict.fromkeys(drawn or {0}, ""), hinting)
        if self._composites:
            self._add_composites()

    def _add_composites(self) -> None:
        with TTFont(BytesIO(self.file_content), fontNumber=self.index, recalcTimestamp=False) as font:
            if "glyf" not in font:
                raise UnwritableTextError(f"{self.family} has no TrueType outlines to put together")
            outlines, metrics = font["glyf"], font["hmtx"].metrics
            kept = list(font.getGlyphOrder())
            # Those behind the last one drawn were dropped; the numbers of the composites come after all of them.
            order = kept + [f"new{number}" for number in range(len(kept), self.glyph_count + len(self._composites))]
            font.setGlyphOrder(order)
            outlines.glyphOrder = order
            for name in order[len(kept) :]:
                outlines.glyphs[name] = Glyph()
                metrics[name] = (0, 0)
            for (_text, glyphs), code in self._composites.items():
                pen = TTGlyphPen(outlines.glyphs)
                for placed in glyphs:
                    if outlines[order[placed.glyph]].numberOfContours:
                        pen.addComponent(order[placed.glyph], (1, 0, 0, 1, placed.x, placed.y))
                glyph = outlines.glyphs[order[code]] = pen.glyph()
                glyph.recalcBounds(outlines)
                advance = round(self.widths[code] * self.upem / EM)
                metrics[order[code]] = (advance, getattr(glyph, "xMin", 0))
            target = BytesIO()
            font.save(target)
        self.file_content = target.getvalue()


@contextmanager
def whole_syllables() -> Iterator[None]:
    """While this lasts, WeasyPrint writes text as told above. Not for several threads at once."""
    drawing, fonts = weasyprint.draw.text.draw_first_line, weasyprint.pdf.stream.Font
    weasyprint.draw.text.draw_first_line, weasyprint.pdf.stream.Font = draw_first_line, SyllableFont
    try:
        yield
    finally:
        weasyprint.draw.text.draw_first_line, weasyprint.pdf.stream.Font = drawing, fonts


def draw_first_line(stream: Any, textbox: Any, text_overflow: str, block_ellipsis: Any, matrix: Any) -> list[Any]:
    """In place of WeasyPrint's function of this name, after which it is written (BSD licence).

    Returns its list of emojis, which is always empty. Raises UnwritableTextError.
    """
    if not textbox.text.strip() or textbox.style["font_size"] < 1e-6:
        return []
    if text_overflow == "ellipsis" or block_ellipsis != "none":
        raise UnwritableTextError("an ellipsis is asked for")
    pango.pango_layout_set_single_paragraph_mode(textbox.pango_layout.layout, True)
    first_line, _index = textbox.pango_layout.get_first_line()
    text = textbox.pango_layout.text.encode()
    stream.set_text_matrix(*matrix.values)
    run = first_line.runs[0]
    while run != ffi.NULL:
        item = run.data
        run = run.next
        font, font_size = stream.add_font(item.item.analysis.font)
        if pango.pango_version() < 14802:
            # https://gitlab.gnome.org/GNOME/pango/-/issues/530
            font_size = textbox.style["font_size"]
        stream.set_font_size(font.hash, font_size)
        shown, late = "", 0.0
        for cluster in _with_joiners(_clusters(item, text, font, font_size), item.item.analysis.level % 2):
            code = font.code_of(cluster)
            # Whole thousandths only, without letting what is rounded off add up.
            late += font.widths[code] - cluster.advance
            moved = round(late)
            late -= moved
            shown += f"<{code:04x}>{moved or ''}"
        stream.show_text(shown.replace("><", ""))
    return []


def _with_joiners(clusters: Iterator[Cluster], right_to_left: int) -> Iterator[Cluster]:
    """Clusters that draw nothing and go nowhere, such as joiners, as part of the one before: some readers lose them."""
    before: Cluster | None = None
    for cluster in clusters:
        if before and not cluster.glyphs and not cluster.advance:
            text = cluster.text + before.text if right_to_left else before.text + cluster.text
            before = Cluster(text, before.glyphs, before.advance)
        else:
            if before:
                yield before
            before = cluster
    if before:
        yield before


def _clusters(item: Any, text: bytes, font: Any, font_size: float) -> Iterator[Cluster]:
    """The clusters of a run, from left to right; `text` is that of the whole layout in UTF-8."""
    glyph_string = item.glyphs
    count = glyph_string.num_glyphs
    starts = [glyph_string.log_clusters[number] for number in range(count)]
    ends = dict(zip(sorted(set(starts)), [*sorted(set(starts))[1:], item.item.length], strict=True))
    em = EM * FROM_UNITS / font_size
    unit = font.upem * FROM_UNITS / font_size
    number = 0
    while number < count:
        start = starts[number]
        placed, pen = [], 0
        while number < count and starts[number] == start:
            info = glyph_string.glyphs[number]
            if info.glyph != pango.PANGO_GLYPH_EMPTY:
                if info.glyph & pango.PANGO_GLYPH_UNKNOWN_FLAG:
                    raise UnwritableTextError(f"no font has U+{info.glyph - pango.PANGO_GLYPH_UNKNOWN_FLAG:04X}")
                # Pango's y goes down.
                x, y = pen + info.geometry.x_offset, -info.geometry.y_offset
                placed.append(Placed(info.glyph, round(x * unit), round(y * unit)))
            pen += info.geometry.width
            number += 1
        written = text[item.item.offset + start : item.item.offset + ends[start]].decode()
        yield Cluster(written, tuple(placed), pen * em)

"""Where things stand on a report's pages, whatever people write into it: measured, beside looking at the gallery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pypdf
import pytest
from django.utils import timezone
from pdfminer.high_level import extract_pages
from pdfminer.layout import LTChar, LTFigure, LTImage

from accounts.models import User
from reports import document
from reports.pdf import get_engine
from tests.reports.factories import make_reportable
from tests.reports.gallery import CASES

# Points of 1/72 inch. The margins of the style sheet; the head and the foot stand outside of the middle.
MM = 72 / 25.4
LEFT, RIGHT = 18 * MM, (210 - 18) * MM
TOP, BOTTOM = (297 - 21) * MM, 19 * MM
# Headings are the only bold text of this size, but for the verdict, which something follows.
HEADING_SIZE = 9.8
pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that is drawn: a letter, or a picture, with its box."""

    x0: float
    y0: float
    x1: float
    y1: float
    is_heading: bool


def marks_of(node: Any) -> Iterator[Mark]:
    if isinstance(node, LTChar):
        if node.get_text().strip():
            yield Mark(*node.bbox, is_heading="Bold" in node.fontname and node.size > HEADING_SIZE)
    elif isinstance(node, LTImage):
        yield Mark(*node.bbox, is_heading=False)
    elif isinstance(node, LTFigure) or hasattr(node, "__iter__"):
        for child in node:
            yield from marks_of(child)


@pytest.mark.parametrize(("case", "language"), [("extreme", "ml"), ("bidi", "hi"), ("photo", "te")])
def test_nothing_is_cut_or_left_alone(owner: User, case: str, language: str) -> None:
    analysis = make_reportable(owner, **CASES[case])
    composed = document.compose(analysis, language, get_engine(), made_at=timezone.now())
    pdf = get_engine().render(composed.markup, composed.parts)
    pages = [list(marks_of(page)) for page in extract_pages(BytesIO(pdf))]
    assert 5 <= len(pages) <= 20
    for number, marks in enumerate(pages, start=1):
        outside = [mark for mark in marks if mark.x0 < LEFT - 1 or mark.x1 > RIGHT + 1]
        assert outside == [], f"page {number} has something in its margins"
        body = [mark for mark in marks if mark.y0 > BOTTOM and mark.y1 < TOP + 2]
        lowest = min(body, key=lambda mark: mark.y0)
        assert not lowest.is_heading, f"a heading ends page {number}"
        if number < len(pages):
            filled = (TOP - lowest.y0) / (TOP - BOTTOM)
            assert filled > 0.5, f"page {number} is nearly empty: {filled:.0%}"


def test_the_measure_finds_what_is_wrong() -> None:
    page = (
        '<!DOCTYPE html><html lang="en"><head><title>A</title><style>@page { size: A4; margin: 21mm 18mm 19mm }'
        'html { font-family: "Report latin"; font-size: 9.5pt } h2 { font-size: 13pt }</style></head><body>'
        '<p style="white-space: nowrap">' + "W" * 150 + "</p><h2>Alone</h2></body></html>"
    )
    pdf = get_engine().render(page, {})
    (marks,) = [list(marks_of(page)) for page in extract_pages(BytesIO(pdf))]
    assert any(mark.x1 > RIGHT + 1 for mark in marks)
    assert min(marks, key=lambda mark: mark.y0).is_heading


def test_every_font_is_in_the_file_and_only_what_is_used_of_it(owner: User) -> None:
    analysis = make_reportable(owner, **CASES["bidi"])
    composed = document.compose(analysis, "ml", get_engine(), made_at=timezone.now())
    pdf = get_engine().render(composed.markup, composed.parts)
    reader = pypdf.PdfReader(BytesIO(pdf))
    fonts = {
        str(font.get_object()["/BaseFont"]): font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()  # type: ignore[index]
    }
    assert len(fonts) > 6
    for name, descriptor in fonts.items():
        # Six letters and a plus sign mark a subset.
        assert name[1:7].isalpha(), name
        assert name[7] == "+", name
        assert "/FontFile2" in descriptor, name

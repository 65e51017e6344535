"""The PDF libraries: what they make, and what they must never do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdf
import pytest
from fontTools.ttLib import TTFont

from accounts.errors import Code, SentinelError
from ml.contracts import AnalysisError, ErrorCode
from ml.media.photos import read_photo
from reports import typefaces
from reports.pdf import Engine, Part, PdfError, Xhtml2Pdf, get_engine
from tests.media_factory import truncate
from tests.reports.factories import picture
from tests.site_process import ROOT

PAGE = (
    '<!DOCTYPE html><html lang="en"><head><title>A title</title>'
    "<style>html {{ font-family: {families} }}</style></head>"
    "<body><h1>Heading</h1>{body}</body></html>"
)


@pytest.fixture(scope="module", params=[get_engine, Xhtml2Pdf], ids=["weasyprint", "xhtml2pdf"])
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError(f"a connection was opened: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def page(engine: Engine, body: str) -> str:
    families = ", ".join(f'"{typefaces.family_of(script)}"' for script in engine.scripts)
    return PAGE.format(families=families, body=body)


def read(pdf: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(BytesIO(pdf))


def fonts_of(reader: pypdf.PdfReader) -> dict[str, bool]:
    """Name of each font, and whether it is in the file."""
    found = {}
    for leaf in reader.pages:
        for reference in leaf["/Resources"]["/Font"].values():  # type: ignore[index]
            font = reference.get_object()
            inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            descriptor = inner.get("/FontDescriptor")
            keys = descriptor.get_object().keys() if descriptor else ()
            found[str(font["/BaseFont"])] = any(key.startswith("/FontFile") for key in keys)
    return found


def test_text_and_pictures_are_in_the_file(engine: Engine) -> None:
    parts = {"one.jpg": Part(picture(1), "image/jpeg")}
    reader = read(engine.render(page(engine, '<p>Some words</p><img src="part:one.jpg" alt="One">'), parts))
    assert "Some words" in reader.pages[0].extract_text()
    assert len(reader.pages[0].images) == 1


def test_the_fonts_are_in_the_file(engine: Engine) -> None:
    fonts = fonts_of(read(engine.render(page(engine, "<p>Some <strong>words</strong></p>"), {})))
    # xhtml2pdf names Helvetica in every file, without using it.
    ours = {name: embedded for name, embedded in fonts.items() if "Helvetica" not in name}
    assert len(ours) == 2
    assert all(ours.values())


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/x.png",
        "https://example.org/x.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "part:missing.jpg",
        "//example.org/x.png",
    ],
)
def test_nothing_is_fetched_that_was_not_handed_over(engine: Engine, address: str) -> None:
    with pytest.raises(PdfError):
        engine.render(page(engine, f'<img src="{address}" alt="x">'), {})


def test_weasyprint_writes_what_can_be_archived_and_read_aloud() -> None:
    engine = get_engine()
    root: Any = read(engine.render(page(engine, "<p>Words</p>"), {})).trailer["/Root"]
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in root
    assert root["/OutputIntents"][0].get_object()["/S"] == "/GTS_PDFA1"
    said = root["/Metadata"].get_data()
    assert said.count(b"<rdf:RDF") == 1
    for mark in (b'pdfaid:part="3"', b'pdfaid:conformance="A"', b'pdfuaid:part="1"'):
        assert mark in said


@pytest.mark.parametrize("words", ["AVATAR To. Ty, VA", "हेरफेर के निशान मिले, व्यक्ति 1", "చేశారా ఫైలు వ్యక్తి"])
def test_widths_are_those_that_the_fonts_have(words: str) -> None:
    """Also of glyphs that were first drawn closer to their neighbour than their font says (ISO 14289-1, 7.21.5)."""
    engine = get_engine()
    checked = 0
    (leaf,) = read(engine.render(page(engine, f"<h1>{words}</h1><p>{words}</p>"), {})).pages
    for reference in leaf["/Resources"]["/Font"].values():  # type: ignore[index]
        inner = reference.get_object()["/DescendantFonts"][0].get_object()
        with TTFont(BytesIO(inner["/FontDescriptor"]["/FontFile2"].get_data())) as program:
            names, advances = program.getGlyphOrder(), program["hmtx"].metrics
            unit = 1000 / program["head"].unitsPerEm
        widths = iter(inner["/W"])
        for first, given in zip(widths, widths, strict=True):
            for code, width in enumerate(given, first):
                assert float(width) == pytest.approx(advances[names[code]][0] * unit, abs=1), names[code]
                checked += 1
    assert checked > len(set(words)) / 2


def test_a_line_that_just_fits_is_not_broken() -> None:
    engine = get_engine()
    text = "Of 70 fabricated photos called fake: 50"
    lines = "".join(f'<p style="width: {width / 2}px">\n {text}\n </p>' for width in range(550, 650))
    shown = read(engine.render(page(engine, lines), {})).pages
    copied = "\n".join(leaf.extract_text() for leaf in shown)
    assert text in copied
    assert "Of \n70" not in copied.replace("Of\n", "Of \n")


def test_xhtml2pdf_refuses_languages_that_it_would_write_wrongly() -> None:
    Xhtml2Pdf().require_language("en")
    Xhtml2Pdf().require_language("en-in")
    with pytest.raises(SentinelError) as refused:
        Xhtml2Pdf().require_language("hi")
    assert refused.value.code is Code.LANGUAGE_UNAVAILABLE


def test_weasyprint_comes_first() -> None:
    assert get_engine().name == "weasyprint"


def test_a_machine_without_pango_makes_english_reports() -> None:
    """The library is there, what it loads is not: as on a Debian on which nothing was installed."""
    script = (
        "import cffi\n"
        "def missing(self, name, *rest): raise OSError(f'cannot load library {name!r}')\n"
        "cffi.FFI.dlopen = missing\n"
        "import django; django.setup()\n"
        "from reports.pdf import get_engine\n"
        "print(get_engine().name, get_engine().name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "sentinel_site.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    # WeasyPrint explains itself there first.
    assert done.stdout.splitlines()[-1] == "xhtml2pdf xhtml2pdf"
    assert done.stderr.count("apt-get install libpango-1.0-0 libpangoft2-1.0-0") == 1


def test_signs_without_a_shape_are_spelled_out() -> None:
    hidden = "exe\u202e4pm.😀"
    assert typefaces.spell_out(hidden, typefaces.EVERY_SCRIPT) == "exe[U+202E]4pm.[U+1F600]"
    # What joins letters is part of how a word is written.
    assert typefaces.spell_out("ക്\u200dഷ", typefaces.EVERY_SCRIPT) == "ക്\u200dഷ"
    assert typefaces.spell_out("हिन्दी", typefaces.LATIN) == "".join(f"[U+{ord(sign):04X}]" for sign in "हिन्दी")


def test_making_reports_does_not_let_broken_photos_in(engine: Engine, photo: Path, tmp_path: Path) -> None:
    page(engine, "<p>text</p>")
    with pytest.raises(AnalysisError) as refused:
        read_photo(truncate(photo, tmp_path / "cut.jpg", 0.5))
    assert refused.value.code is ErrorCode.UNREADABLE_MEDIA

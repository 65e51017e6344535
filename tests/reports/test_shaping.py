"""Words are drawn as HarfBuzz shapes them, and copied out of a report as they were written, in every script."""

from __future__ import annotations

import subprocess
import unicodedata
from functools import cache
from io import BytesIO
from pathlib import Path
from shutil import which

import pypdf
import pytest
import uharfbuzz  # type: ignore[import-untyped]
from pdfminer.high_level import extract_text

from reports import typefaces
from reports.pdf import Engine, Xhtml2Pdf, get_engine
from tests.reports.pdf_glyphs import Drawn, FontFile, lines_of, read_font_file

# Conjuncts, signs that go before, above and around their letter, half forms, joiners, and what only one script has.
WORDS = {
    "devanagari": (
        "क्ष त्र ज्ञ र्क कि श्र द्ध ङ्क द्व ह्म क्षि र्कि ट्र्य स्त्री कर्त्तव्य विज्ञान परीक्षा हिन्दी प्रक्रिया छेड़छाड़ रुपये "
        "हृदय शृंगार ऑफ़ कँ कः क क्‍ष क्‌ष र्‍या राष्ट्रीय व्हिडिओ पुरावा निष्कर्ष"
    ),
    "bengali": (
        "ক্ষ ক্রি জ্ঞ স্ত্র র্ক কি কো কৌ ক ঙ্ক ন্ধ্র হ্ম ক্ষ্ম র‍্যাব ব্যক্তি পরীক্ষা স্ত্রী রূপ হৃদয় উৎস কঁ কং মুখ্যমন্ত্রী সিদ্ধান্ত বিজ্ঞান "
        "প্রক্রিয়া রাষ্ট্র"
    ),
    "malayalam": (
        "ക്ഷ സ്ത്രീ ന്റ ള്ള കൊ കോ കൗ ക ൻ ർ ൽ ൾ ൺ ന്‍ ക്ര ങ്ക ഞ്ഞ ട്ട റ്റ ത്ത്വ ദ്ധ ശ്രീ കൃത്രിമം വ്യക്തി പരിശോധന മുഖ്യമന്ത്രി ശാസ്ത്രം പ്രക്രിയ"
    ),
    "telugu": ("క్ష స్త్రీ జ్ఞ ర్క కి కీ కృ కై క ట్ట్ర స్థ్య ర్మ క్క్ష శ్రీ పరీక్ష ముఖ్యమంత్రి విజ్ఞానం ప్రక్రియ రాష్ట్రం వ్యక్తి నిర్ణయం సాక్ష్యం శాస్త్రం"),
}
LANGUAGES = {
    "hi": "devanagari",
    "mr": "devanagari",
    "bn": "bengali",
    "ml": "malayalam",
    "te": "telugu",
}
PAGE = '<!DOCTYPE html><html lang="{language}"><head><title>Words</title><style>{style}</style></head>{body}</html>'
# Pango counts in 1024ths of a pixel; at 20 pixels that is less than a twentieth of a font unit for each glyph.
TOLERANCE = 1.0


def shape(word: str, file: FontFile, language: str) -> list[Drawn]:
    """HarfBuzz's own result: what draws nothing is left out."""
    buffer = uharfbuzz.Buffer()
    buffer.add_str(word)
    buffer.guess_segment_properties()
    buffer.language = language
    uharfbuzz.shape(uharfbuzz.Font(uharfbuzz.Face(file.content)), buffer)
    pen, drawn = 0, []
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        if file.outlines[info.codepoint]:
            glyph = file.canonical(info.codepoint)
            drawn.append(Drawn(glyph, pen + position.x_offset, position.y_offset))
        pen += position.x_advance
    return drawn


def a_page(engine: Engine, words: str, language: str, weight: int) -> str:
    families = ", ".join(f'"{typefaces.family_of(script)}"' for script in engine.scripts)
    style = f"html {{ font-family: {families}; font-weight: {weight}; font-size: 20px }}"
    body = "".join(f"<p>{word}</p>" for word in words.split(" "))
    return PAGE.format(language=language, style=style, body=f"<body>{body}</body>")


def differences(pdf: bytes, words: str, language: str, script: str, weight: int) -> list[str]:
    """The words that a PDF of one word a line draws otherwise than HarfBuzz shapes them."""
    file = read_font_file(script, weight)
    lines = lines_of(pdf, file)
    expected = [shape(word, file, language) for word in words.split(" ")]
    assert len(lines) == len(expected)
    return [
        word
        for word, line, shaped in zip(words.split(" "), lines, expected, strict=True)
        if [drawn.glyph for drawn in line] != [drawn.glyph for drawn in shaped]
        or any(abs(a.x - b.x) > TOLERANCE or abs(a.y - b.y) > TOLERANCE for a, b in zip(line, shaped, strict=True))
    ]


@cache
def pdf_of(language: str, weight: int) -> bytes:
    engine = get_engine()
    return engine.render(a_page(engine, WORDS[LANGUAGES[language]], language, weight), {})


@pytest.mark.parametrize("weight", typefaces.WEIGHTS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_hard_words_are_drawn_as_harfbuzz_shapes_them(language: str, weight: int) -> None:
    script = LANGUAGES[language]
    assert differences(pdf_of(language, weight), WORDS[script], language, script, weight) == []


def test_that_test_finds_words_that_are_not_shaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """xhtml2pdf puts one letter's glyph after the other."""
    monkeypatch.setattr(Xhtml2Pdf, "scripts", ("devanagari",))
    words = "क कि क्ष र्क"
    engine = Xhtml2Pdf()
    pdf = engine.render(a_page(engine, words, "hi", 400), {})
    assert differences(pdf, words, "hi", "devanagari", 400) == ["कि", "क्ष", "र्क"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_copied_as_they_were_written(language: str, tmp_path: Path) -> None:
    pdf = pdf_of(language, 400)
    copied = {
        "pypdf": "\n".join(page.extract_text() for page in pypdf.PdfReader(BytesIO(pdf)).pages),
        "pdfminer": extract_text(BytesIO(pdf)),
    }
    if pdftotext := which("pdftotext"):
        (tmp_path / "words.pdf").write_bytes(pdf)
        asked = [pdftotext, "-enc", "UTF-8", str(tmp_path / "words.pdf"), "-"]
        copied["poppler"] = subprocess.run(asked, check=True, capture_output=True).stdout.decode()
    written = unicodedata.normalize("NFC", WORDS[LANGUAGES[language]]).split()
    for reader, text in copied.items():
        assert unicodedata.normalize("NFC", text).split() == written, reader

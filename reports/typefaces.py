"""The fonts that reports are set in, and which characters they have.

Only these are used, whatever else the machine has: a report looks the same wherever it is made. What none of them has,
an emoji in a file's name for instance, is written as its Unicode number: a blank box would hide what stood there.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

from django.conf import settings
from fontTools.ttLib import TTFont

FOLDER: Path = settings.BASE_DIR / "static" / "vendor" / "noto-sans"
WEIGHTS = (400, 700)
LATIN: tuple[str, ...] = ("latin", "latin-ext")
# The first that has a character draws it.
EVERY_SCRIPT: tuple[str, ...] = (
    *LATIN,
    "devanagari",
    "bengali",
    "malayalam",
    "telugu",
    "tamil",
    "gujarati",
    "kannada",
    "gurmukhi",
    "oriya",
    "arabic",
)
# They join letters or keep them apart, and have no shape of their own.
JOINERS = {"\u200c", "\u200d"}
LAYOUT = {"\n", "\r", "\t"}


def file_of(script: str, weight: int) -> Path:
    return FOLDER / f"noto-sans-{script}-{weight}-normal.woff2"


def family_of(script: str) -> str:
    """The name that style sheets call the font of a script by."""
    return f"Report {script}"


@cache
def characters_of(scripts: tuple[str, ...]) -> frozenset[str]:
    """The characters that both weights of these fonts have."""
    found: set[str] = set()
    for script in scripts:
        weights = []
        for weight in WEIGHTS:
            with TTFont(file_of(script, weight), lazy=True) as font:
                weights.append({chr(number) for number in font.getBestCmap()})
        found |= set.intersection(*weights)
    return frozenset(found)


def scripts_in(text: str, scripts: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `scripts` whose fonts draw something of `text`, if each sign is drawn by the first that has it."""
    signs = set(text)
    found = []
    for script in scripts:
        own = characters_of((script,))
        if signs & own:
            found.append(script)
            signs -= own
    return tuple(found)


def spell_out(text: str, scripts: tuple[str, ...]) -> str:
    """`text` with each character that these fonts lack, or that would change the order of others, as ``[U+1F600]``."""
    known = characters_of(scripts)
    if LAYOUT.union(known).issuperset(text) and not any(map(_is_invisible, set(text))):
        return text
    return "".join(
        sign if sign in LAYOUT or (sign in known and not _is_invisible(sign)) else f"[U+{ord(sign):04X}]"
        for sign in text
    )


def _is_invisible(sign: str) -> bool:
    """Control and format characters: some turn the direction of writing and make a name read as another."""
    return unicodedata.category(sign) in {"Cc", "Cf"} and sign not in JOINERS | LAYOUT

"""Texts that people write, made fit to be shown to others."""

from __future__ import annotations

import unicodedata

from fontTools.unicodedata import script_extension

# Words of the scripts of India are spelled with these two, which join letters or keep them apart.
JOINERS = "\u200c\u200d"
_NO_JOINERS = str.maketrans(dict.fromkeys(JOINERS))
# Letters of these scripts that Unicode never composes, though keyboards have them as one, such as U+09DC.
_AS_ONE = {
    unicodedata.normalize("NFD", letter): letter
    for letter in map(chr, range(0x0900, 0x0E00))
    if unicodedata.normalize("NFC", letter) != letter
}
# "Common" and "inherited": what belongs to no script.
COMMON = {"Zyyy", "Zinh"}


def clean_text(text: str, *, lines: bool = False) -> str:
    """`text` without control and direction-changing characters and outer blanks, in Unicode's composed form.

    Ends of lines stay where there may be several `lines`, and become blanks elsewhere.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    cleaned = "".join(_clean_character(character, lines=lines) for character in text)
    return cleaned.strip()


def _clean_character(character: str, *, lines: bool) -> str:
    if character == "\n" and lines:
        return character
    category = unicodedata.category(character)
    if character in "\n\t" or category in {"Zs", "Zl", "Zp"}:
        return " "
    return "" if category in {"Cc", "Cf"} and character not in JOINERS else character


def spellings_of(text: str) -> set[str]:
    """The ways in which keyboards and phones write the same `text`: with letters and their signs as one character or as
    several, with joiners or without.
    """
    if text.isascii():
        return {text}
    composed = unicodedata.normalize("NFC", text)
    as_one = composed
    for parts, letter in _AS_ONE.items():
        as_one = as_one.replace(parts, letter)
    written = {text, composed, as_one, unicodedata.normalize("NFD", text)}
    return written | {each.translate(_NO_JOINERS) for each in written}


def is_of_one_script(name: str) -> bool:
    """Whether all letters, marks and digits of a name are of one script. ASCII digits and punctuation go with any."""
    scripts = [each for each in map(script_extension, name) if not each & COMMON]
    return not scripts or bool(set.intersection(*scripts))

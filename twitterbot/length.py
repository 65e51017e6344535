"""How long a post is as X counts it: the weights of twitter-text's configuration, version 3.

Latin, Greek, Cyrillic, Hebrew, Arabic and all scripts of India count one a character; Chinese, Japanese, Korean and
emoji count two; a link counts 23, whatever its length. (A sequence of several emoji counts two there and more here.)
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 280
LINK_LENGTH = 23
LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))

_link = re.compile(r"https?://\S+")


def weighted_length(text: str) -> int:
    """The length of a post in the units of which it may have :data:`MAX_LENGTH`."""
    text = unicodedata.normalize("NFC", text)
    links = len(_link.findall(text))
    return links * LINK_LENGTH + sum(_weight(ord(letter)) for letter in _link.sub("", text))


def _weight(code: int) -> int:
    return 1 if any(first <= code <= last for first, last in LIGHT) else 2

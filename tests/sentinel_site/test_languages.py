"""The site in other languages: choosing one, what is borrowed, and that nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import django
import pytest
import rest_framework
from babel.messages.pofile import read_po

from sentinel_site import borrowed_texts

ROOT = Path(__file__).resolve().parent.parent.parent


def django_messages() -> set[str]:
    found: set[str] = set()
    for folder in ("conf", "contrib/auth"):
        with (Path(django.__file__).parent / folder / "locale/en/LC_MESSAGES/django.po").open("rb") as file:
            for message in read_po(file):
                found.update([message.id] if isinstance(message.id, str) else message.id)
    return found


def test_what_is_borrowed_is_what_the_packages_say() -> None:
    """A text that a new version words differently would be shown in English."""
    code = (ROOT / "sentinel_site/borrowed_texts.py").read_text()
    ours = {
        text.replace('\\"', '"') for text in re.findall(r"""(?:_\(|^\s+)["'](.+?)["'],?\)?,?$""", code, re.MULTILINE)
    }
    ours -= {"limit_value", "min_length", "size"}
    assert len(ours) > 60
    framework = "".join(path.read_text() for path in Path(rest_framework.__file__).parent.glob("*.py"))
    known = django_messages()
    assert [text for text in ours if text not in known and text not in framework] == []


@pytest.mark.parametrize("group", ["FORMS", "PASSWORDS", "SIZES_AND_DATES", "API"])
def test_each_group_is_there(group: str) -> None:
    assert getattr(borrowed_texts, group)

"""The site in other languages: choosing one, what is borrowed, and that nothing is left out."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import django
import pytest
import rest_framework
from babel.messages.pofile import read_po
from django.test import Client
from django.utils import formats, translation

from accounts.models import User
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


@pytest.fixture
def _two_languages(settings: Any) -> None:
    settings.LANGUAGES = [("en", "English"), ("hi", "हिन्दी")]


@pytest.mark.django_db
@pytest.mark.usefixtures("_two_languages")
def test_a_language_is_chosen_on_any_page_and_kept_by_the_browser(client: Client) -> None:
    page = client.get("/accounts/login/").content.decode()
    assert 'value="hi"' in page
    answer = client.post("/accounts/language/", {"language": "hi", "next": "/accounts/login/"})
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    assert '<html lang="hi"' in client.get("/accounts/login/").content.decode()


@pytest.mark.django_db
@pytest.mark.usefixtures("_two_languages")
def test_the_account_keeps_it_for_other_browsers(as_owner: Client, owner: User) -> None:
    as_owner.post("/accounts/language/", {"language": "hi"})
    owner.refresh_from_db()
    assert owner.language == "hi"
    elsewhere = Client()
    elsewhere.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    assert '<html lang="hi"' in elsewhere.get("/analyses/").content.decode()


@pytest.mark.django_db
@pytest.mark.usefixtures("_two_languages")
def test_a_language_that_the_site_lacks_and_another_sites_address_change_nothing(as_owner: Client, owner: User) -> None:
    answer = as_owner.post("/accounts/language/", {"language": "fr", "next": "https://example.org/"})
    assert answer["Location"] == "/"
    owner.refresh_from_db()
    assert owner.language == ""


@pytest.mark.django_db
def test_dates_are_written_in_one_way(client: Client, settings: Any) -> None:
    when = datetime(2026, 11, 3, 18, 5)
    for language in ("mr", "hi", "bn", "ml", "te"):
        with translation.override(language):
            shown = formats.date_format(when, "DATETIME_FORMAT")
        assert re.fullmatch(r"3 \S+ 2026, 18:05", shown), language


@pytest.mark.parametrize(
    ("language", "platform", "script"),
    [("ml", '"Linux"', "malayalam"), ("mr", '"Linux"', "devanagari"), ("hi", '"Android"', ""), ("en", '"Linux"', "")],
)
def test_letters_are_fetched_at_once_where_a_device_is_likely_to_lack_them(
    client: Client, language: str, platform: str, script: str
) -> None:
    page = client.get("/", headers={"Accept-Language": language, "Sec-CH-UA-Platform": platform}).content.decode()
    found = re.findall(r'rel="preload"\s+href="/static/(\S+?)"', page)
    names = [f"vendor/noto-sans/noto-sans-{script}-{weight}-normal.woff2" for weight in (400, 700)]
    assert found == (names if script else [])
    assert all((Path(__file__).parents[2] / "static" / name).is_file() for name in found)


def test_the_fonts_of_the_menu_hold_the_letters_of_all_names(settings: Any) -> None:
    styles = (Path(__file__).parents[2] / "static/css/languages.css").read_text(encoding="utf-8")
    held = "".join(
        chr(int(code, 16))
        for part in re.findall(r'family: "Language names";.*?unicode-range: ([^;]*);', styles, re.DOTALL)
        for code in re.findall(r"U\+([0-9A-F]+)", part)
    )
    for _, name in settings.LANGUAGES:
        assert {letter for letter in name if not letter.isascii()} <= set(held), name

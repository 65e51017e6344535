"""Fonts that a page needs before it is painted."""

from __future__ import annotations

from django import template
from django.http import HttpRequest
from django.utils.translation import get_language

register = template.Library()

SCRIPTS = {"mr": "devanagari", "hi": "devanagari", "bn": "bengali", "ml": "malayalam", "te": "telugu"}
WEIGHTS = (400, 700)


@register.simple_tag
def fonts_at_once(request: HttpRequest | None) -> list[str]:
    """The static files with the letters of the page's language, where the device is likely to have none.

    Those are desktops with Linux, as browsers say by themselves where the site is served over HTTPS: there, boxes in
    place of letters would be painted first, and lines would jump when the letters come. All other systems come with
    such fonts (static/css/languages.css names them), and would fetch these in vain.
    """
    script = SCRIPTS.get(get_language() or "")
    if script is None or request is None or request.headers.get("Sec-CH-UA-Platform") != '"Linux"':
        return []
    return [f"vendor/noto-sans/noto-sans-{script}-{weight}-normal.woff2" for weight in WEIGHTS]

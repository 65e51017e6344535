"""The public pages of shared results, and the buttons by which their owners share them and take them back."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import SentinelError
from media_analysis import cards, selectors
from media_analysis.edges import SignedInRequest, page, public_page
from media_analysis.models import ResultCard
from reports.card_picture import CONTENT_TYPE, HEIGHT, WIDTH, caution_of, picture_of
from reports.card_presentation import present_card

# Search engines keep what they have read, also of what was taken back.
NO_INDEX = {"X-Robots-Tag": "noindex, noarchive"}
# Sites that show it fetch it at once; longer it would outlive a card that was taken back.
PICTURE_CACHE = "public, max-age=300"


@require_safe
@public_page
def card(request: HttpRequest, public_id: str) -> HttpResponse:
    """For everybody, without logging in. What was taken back cannot be told from what never was."""
    language = _language_of(request)
    with translation.override(language):
        try:
            found = cards.get_card(public_id)
        except SentinelError as refused:
            response = render(request, "reports/card_gone.html", status=refused.status)
        else:
            result = present_card(found)
            context = {
                "result": result,
                # What the shared parts of result pages ask for; it has no analysis to give away.
                "analysis": result,
                "report": result,
                "caution": caution_of(result),
                "address": address_of(request, found),
                "picture": f"{picture_address_of(request, found)}?lang={language}",
                "picture_width": WIDTH,
                "picture_height": HEIGHT,
            }
            response = render(request, "reports/card.html", context)
    response.headers["Content-Language"] = language
    for name, value in NO_INDEX.items():
        response.headers[name] = value
    return response


@require_safe
@public_page
def card_picture(request: HttpRequest, public_id: str) -> HttpResponse:
    """What other sites show beside a link to the page."""
    language = _known(request.GET.get("lang", "")) or get_language() or settings.LANGUAGE_CODE
    png = picture_of(cards.get_card(public_id), language)
    return HttpResponse(png, content_type=CONTENT_TYPE, headers={**NO_INDEX, "Cache-Control": PICTURE_CACHE})


@require_POST
@page
def publish(request: SignedInRequest, public_id: str) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, public_id)
    cards.publish(analysis, by=request.user)
    messages.success(request, _("The result is public now. Whoever has its link can see it."))
    return redirect(f"{reverse('reports:result', args=[analysis.public_id])}#share")


@require_POST
@page
def withdraw(request: SignedInRequest, public_id: str) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, public_id)
    if shared := cards.card_of(analysis):
        cards.withdraw(shared, by=request.user)
    messages.success(request, _("The result is not public any more."))
    return redirect(f"{reverse('reports:result', args=[analysis.public_id])}#share")


def address_of(request: HttpRequest, card: ResultCard) -> str:
    """The whole address of a card's page."""
    return _absolute(request, reverse("reports:card", args=[card.public_id]))


def picture_address_of(request: HttpRequest, card: ResultCard) -> str:
    return _absolute(request, reverse("reports:card_picture", args=[card.public_id]))


def _absolute(request: HttpRequest, path: str) -> str:
    return settings.SENTINEL_URL + path if settings.SENTINEL_URL else str(request.build_absolute_uri(path))


def _language_of(request: HttpRequest) -> str:
    """A visitor's own choice first, then the language that the link asks for, then the browser's."""
    chosen = request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, "") or getattr(request.user, "language", "")
    asked = "" if _known(chosen) else _known(request.GET.get("lang", ""))
    return asked or get_language() or settings.LANGUAGE_CODE


def _known(language: str) -> str:
    return language if language in dict(settings.LANGUAGES) else ""

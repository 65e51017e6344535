from __future__ import annotations

from typing import Any

from django import template

from media_analysis import cards
from media_analysis.models import Analysis
from reports.card_views import address_of

register = template.Library()


@register.simple_tag(takes_context=True)
def public_address(context: dict[str, Any], analysis: Analysis) -> str:
    """The whole address of the public page of a result; empty where it is not public."""
    card = cards.card_of(analysis)
    return address_of(context["request"], card) if card else ""

from __future__ import annotations

import logging

from django import template
from django.template.defaultfilters import floatformat

from accounts.errors import SentinelError
from media_analysis.model_cards import ModelFacts, get_model

logger = logging.getLogger(__name__)
register = template.Library()


@register.simple_tag
def find_model(name: str) -> ModelFacts | None:
    """The detector of that name, None where the site does not list it (any more): a result outlives its detector."""
    try:
        return get_model(name)
    except SentinelError as error:
        logger.info("No card for the detector %r: %s", name, error)
        return None


@register.filter
def percent(share: float) -> str:
    """A share in [0, 1] as a percentage with one decimal."""
    return str(floatformat(100 * share, 1))


@register.filter
def figure(value: float) -> str:
    """A figure in [0, 1] with three decimals."""
    return str(floatformat(value, 3))

from __future__ import annotations

from django import template
from django.template.defaultfilters import floatformat
from django.utils.translation import gettext as _

from media_analysis.models import Analysis
from media_analysis.wording import verdict_text

register = template.Library()

MOST_CERTAIN = 99.9


@register.simple_tag
def verdict_of(analysis: Analysis) -> str:
    """The verdict of an analysis, or the state that it is in, in plain words."""
    return verdict_text(analysis)


@register.filter
def cautiously(percent: float) -> str:
    """A confidence as a percentage with one decimal, never rounded up to a certainty that no detector has."""
    if percent > MOST_CERTAIN:
        return _("more than %(percent)s %%") % {"percent": floatformat(MOST_CERTAIN, 1)}
    return f"{floatformat(percent, 1)} %"


@register.filter
def in_seconds(seconds: float, decimals: int = 1) -> str:
    """A time with its unit, in the language of the page."""
    return _("%(seconds)s s") % {"seconds": floatformat(seconds, decimals)}

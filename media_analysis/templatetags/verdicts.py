from __future__ import annotations

from django import template

from media_analysis.models import Analysis
from media_analysis.wording import verdict_text

register = template.Library()


@register.simple_tag
def verdict_of(analysis: Analysis) -> str:
    """The verdict of an analysis, or the state that it is in, in plain words."""
    return verdict_text(analysis)

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from media_analysis.models import Analysis


class HistoryFilterForm(forms.Form):
    """The filter above the history list. Every field may be empty."""

    state = forms.ChoiceField(
        label=_("Show"),
        required=False,
        choices=[
            ("", _("Everything")),
            (_("State"), list(Analysis.Status.choices)),
            (_("Result"), list(Analysis.Outcome.choices)),
        ],
    )
    name = forms.CharField(label=_("Name contains"), required=False, max_length=255)

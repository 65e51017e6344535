from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from media_analysis.feedback import MAX_COMMENT_LENGTH
from media_analysis.models import Analysis, Feedback


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


class FeedbackForm(forms.Form):
    """What the owner says about a result, filled with what they ``given`` before."""

    opinion = forms.ChoiceField(label=_("Is this result right?"), choices=Feedback.Opinion, widget=forms.RadioSelect)
    comment = forms.CharField(
        label=_("Comment"),
        required=False,
        max_length=MAX_COMMENT_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    # Never ticked by us: only what its owner ticked before stays ticked.
    consent = forms.BooleanField(
        label=_("This file may be used to improve the detector"),
        required=False,
        widget=forms.CheckboxInput(attrs={"aria-describedby": "consent-meaning"}),
    )

    def __init__(self, data: Any = None, *, given: Feedback | None) -> None:
        initial = (
            {"opinion": given.opinion, "comment": given.comment, "consent": given.consent_at is not None}
            if given
            else {}
        )
        super().__init__(data, auto_id="feedback_%s", initial=initial)

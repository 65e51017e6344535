from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.api_errors import field_errors
from accounts.models import User
from media_analysis.case_details import FIELDS
from media_analysis.case_serializers import MAX_TITLE_LENGTH, CaseDetailsInput, CaseInput, complete, filled
from media_analysis.cases import MAX_NOTE_LENGTH, ROLES, cases_to_fill
from media_analysis.feedback import MAX_COMMENT_LENGTH
from media_analysis.models import Analysis, CaseDetails, CaseRole, Feedback


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


class CaseDetailsForm(forms.Form):
    """The police case that a file belongs to. The rules are those of the API, which also cleans what is filled in."""

    rules: type[CaseDetailsInput] = CaseDetailsInput

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, auto_id="case_%s", initial=initial)
        # What is filled in, as fields of the model, once the form is valid.
        self.case: dict[str, Any] = {}
        for name in FIELDS:
            self.fields[name] = _case_field(name)

    def clean(self) -> None:
        given = self.rules(data=self.data)
        if given.is_valid():
            self.case = self.keep(given.validated_data)
            return
        for name, texts in field_errors(given.errors).items():
            for text in texts:
                self.add_error(name, text)

    def keep(self, given: dict[str, Any]) -> dict[str, Any]:
        return filled(given)


class IntoCaseForm(forms.Form):
    """Asks which of somebody's open cases a file shall go into; nothing where they have none. Judged by the service."""

    add_to_case = forms.ChoiceField(label=_("Put it into a case"), required=False)

    def __init__(self, *, user: User, chosen: str) -> None:
        super().__init__(auto_id="into_%s", initial={"add_to_case": chosen})
        open_cases = [(case.public_id, case.title) for case in cases_to_fill(user)]
        if open_cases:
            field: Any = self.fields["add_to_case"]
            field.choices = [("", _("No case")), *open_cases]
        else:
            del self.fields["add_to_case"]


class CaseForm(CaseDetailsForm):
    """A case of its own: its title, and what is known of it. What is left empty is emptied."""

    rules = CaseInput

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        title = forms.CharField(label=_("Title"), max_length=MAX_TITLE_LENGTH, empty_value="")
        self.fields = {"title": title, **self.fields}

    def keep(self, given: dict[str, Any]) -> dict[str, Any]:
        return complete(given)


class NoteForm(forms.Form):
    text = forms.CharField(label=_("New note"), max_length=MAX_NOTE_LENGTH, widget=forms.Textarea(attrs={"rows": 4}))


class InvitationForm(forms.Form):
    """Who is to join a case."""

    who = forms.CharField(
        label=_("User name or e-mail address"),
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
        help_text=_("Exactly as in their account. For their safety you are not told whether there is one."),
    )
    role = forms.ChoiceField(
        label=_("Role"), choices=[(role.value, capfirst(role.label)) for role in ROLES], initial=CaseRole.VIEWER
    )


def _case_field(name: str) -> forms.Field:
    """Without rules of its own."""
    column: Any = CaseDetails._meta.get_field(name)
    attributes = {"maxlength": column.max_length} if column.max_length else {}
    kinds: dict[str, forms.Widget] = {
        "fir_date": forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        "fir_description": forms.Textarea(attrs={**attributes, "rows": 3}),
        "complainant_address": forms.Textarea(attrs={**attributes, "rows": 3}),
        "complainant_phone": forms.TextInput(attrs={**attributes, "type": "tel"}),
        "complainant_email": forms.EmailInput(attrs=attributes),
        "gender": forms.Select(choices=[("", "–"), *CaseDetails.Gender.choices]),
    }
    widget = kinds.get(name) or forms.TextInput(attrs=attributes)
    # Somebody else's data: the browser is neither to fill in the officer's own nor to remember it.
    widget.attrs["autocomplete"] = "off"
    return forms.Field(label=capfirst(column.verbose_name), required=False, widget=widget)


class NotificationPreferencesForm(forms.ModelForm[User]):
    """How somebody wants to be told that an examination ended, besides in the pages."""

    class Meta:
        model = User
        fields = ("notify_by_email", "notify_details")


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

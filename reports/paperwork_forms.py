from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.texts import clean_text
from reports.paperwork import DEVICES, ROLES, Party

# What is ticked stays in the words of the Act, behind labels that users can read.
DEVICE_LABELS = {
    "Computer / Storage Media": _("computer or hard disk"),
    "DVR": _("recorder of a surveillance camera (DVR)"),
    "Mobile": _("mobile phone"),
    "Flash Drive": _("pen drive"),
    "CD/DVD": _("CD or DVD"),
    "Server": _("server"),
    "Cloud": _("cloud: a site or service on the internet"),
    "Other": _("something else"),
}
ROLE_LABELS = {
    "Owned": _("I own it"),
    "Maintained": _("I maintain it"),
    "Managed": _("I manage it"),
    "Operated": _("I operate it"),
}


class CertificateForm(forms.Form):
    """What whoever signs Part A wants to have printed. Every field may stay empty, and nothing is stored."""

    name = forms.CharField(label=_("Your name"), max_length=200, required=False)
    relative = forms.CharField(label=_("Son, daughter or spouse of"), max_length=200, required=False)
    address = forms.CharField(label=_("Living or working at"), max_length=500, required=False)
    devices = forms.MultipleChoiceField(
        label=_("Where the file was taken from"),
        choices=[(name, DEVICE_LABELS[name]) for name in DEVICES],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    other_device = forms.CharField(label=_("If something else: what"), max_length=200, required=False)
    make_and_model = forms.CharField(label=_("Make and model of the device"), max_length=200, required=False)
    colour = forms.CharField(label=_("Colour of the device"), max_length=60, required=False)
    serial_number = forms.CharField(label=_("Serial number of the device"), max_length=100, required=False)
    identifier = forms.CharField(
        label=_("IMEI, MAC or cloud id"),
        help_text=_("On most phones *#06# shows the IMEI. Leave out numbers of identity cards."),
        max_length=200,
        required=False,
    )
    particulars = forms.CharField(label=_("Anything else about the device"), max_length=500, required=False)
    roles = forms.MultipleChoiceField(
        label=_("The device and you"),
        choices=[(name, ROLE_LABELS[name]) for name in ROLES],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    place = forms.CharField(label=_("Place of signing"), max_length=100, required=False)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="certificate_%s")
        for field in self.fields.values():
            # The computer may be a station's, and the data somebody else's.
            field.widget.attrs["autocomplete"] = "off"

    def party(self) -> Party:
        """What was filled in, of a valid form."""
        given = self.cleaned_data
        texts = {name: clean_text(value) for name, value in given.items() if isinstance(value, str)}
        return Party(**texts, devices=tuple(given["devices"]), roles=tuple(given["roles"]))

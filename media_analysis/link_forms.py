"""The link field of the upload form, with the part of the video that is meant."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from media_analysis.link_addresses import Cut
from media_analysis.safe_http import MAX_URL_LENGTH


class TimeField(forms.Field):
    """A moment of a video as people write it, "90", "1:30" or "1:02:03.5", in seconds; None where it is empty."""

    default_error_messages = {"invalid": _("Enter a time such as 1:30.")}

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text:
            return None
        match = re.fullmatch(r"(?:(?:(\d{1,2}):)?(\d{1,4}):)?(\d{1,6}(?:[.,]\d{1,3})?)", text)
        if match is None:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        hours, minutes, seconds = match.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds.replace(",", "."))


class LinkForm(forms.Form):
    """Everything may be empty: then there is no link. ``cut`` is the part that was asked for, once it is valid."""

    link = forms.CharField(
        label=_("Link to a video or photo"),
        required=False,
        max_length=MAX_URL_LENGTH,
        # Not "url": an address without https:// is fine.
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off"}),
    )
    start = TimeField(
        label=_("From"), required=False, widget=forms.TextInput(attrs={"placeholder": "0:00", "maxlength": 12})
    )
    end = TimeField(
        label=_("To"), required=False, widget=forms.TextInput(attrs={"placeholder": "1:00", "maxlength": 12})
    )

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, auto_id="link_%s", **options)
        self.cut: Cut | None = None

    def clean(self) -> None:
        start, end = self.cleaned_data.get("start"), self.cleaned_data.get("end")
        if start is None and end is None:
            return
        if end is None:
            if "end" not in self.errors:
                self.add_error("end", _("Say where the part ends."))
        elif "start" not in self.errors:
            self.cut = Cut(start or 0.0, end)

"""What a query of /api/v1/ may ask for: which part of a list, and what narrows it down."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.pagination import PageNumberPagination

from media_analysis.models import Analysis, Media

MAX_PAGE_SIZE = 100


def read_query(shape: type[serializers.Serializer[None]], query: QueryDict) -> dict[str, Any]:
    """What a query asks for. Raises ValidationError, also for what is said twice or left empty."""
    twice = [name for name, values in query.lists() if len(values) > 1]
    if twice:
        raise serializers.ValidationError({name: [_("Say this once.")] for name in twice})
    # A plain mapping: of a form, an empty field would count as one that is absent.
    asked = shape(data=query.dict())
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


class Pages(PageNumberPagination):
    """Numbered pages of a size that the caller may choose."""

    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE


class PageInput(serializers.Serializer[None]):
    """Which part of a list."""

    page = serializers.IntegerField(required=False, min_value=1, help_text="Which page, from 1.")
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_PAGE_SIZE, help_text="How many on a page; 20 unless said otherwise."
    )


class NotificationFilterInput(serializers.Serializer[None]):
    """Which notifications."""

    page = serializers.IntegerField(required=False, min_value=1, help_text="Which page, from 1.")
    unread = serializers.ChoiceField(
        required=False, choices=["true", "false"], help_text="`true`: only the unread ones."
    )


class MomentField(serializers.DateTimeField):
    """A time, without a zone the site's."""

    def enforce_timezone(self, value: datetime) -> datetime:
        try:
            return super().enforce_timezone(value)
        except OverflowError:
            # East of Greenwich the first hours of year 1 are none in UTC. Some languages send them for no time at all.
            self.fail("overflow")


class AnalysisFilterInput(PageInput):
    """What narrows a list of analyses down."""

    state = serializers.ChoiceField(
        required=False,
        choices=[*Analysis.Status.values, *Analysis.Outcome.values],
        help_text="Only those with this status or outcome.",
    )
    kind = serializers.ChoiceField(required=False, choices=Media.Kind.values, help_text="Only videos, or only photos.")
    name = serializers.CharField(
        required=False, max_length=255, help_text="Only those whose file name contains this, in either case."
    )
    created_after = MomentField(required=False, help_text="Only those received at this time or later.")
    created_before = MomentField(required=False, help_text="Only those received before this time.")

"""The phone apps' paths about reports, at the site's root, with and without a slash at the end."""

from __future__ import annotations

from django.urls import re_path

from reports import mobile_api

urlpatterns = [
    re_path(r"^pdf/?$", mobile_api.VideoReportView.as_view(), name="mobile-pdf"),
    re_path(r"^pdf-image/?$", mobile_api.ImageReportView.as_view(), name="mobile-pdf-image"),
]

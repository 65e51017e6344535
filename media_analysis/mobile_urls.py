"""The phone apps' paths about videos and photos, at the site's root, with and without a slash at the end."""

from __future__ import annotations

from django.urls import re_path

from media_analysis import mobile_api

urlpatterns = [
    re_path(r"^classify/?$", mobile_api.ClassifyView.as_view(), name="mobile-classify"),
    re_path(r"^fetch-history/?$", mobile_api.HistoryView.as_view(), name="mobile-history"),
    re_path(r"^remove/?$", mobile_api.RemoveVideoView.as_view(), name="mobile-remove"),
    re_path(r"^remove/image/?$", mobile_api.RemoveImageView.as_view(), name="mobile-remove-image"),
    re_path(r"^get-image/?$", mobile_api.ImageView.as_view(), name="mobile-image"),
    re_path(r"^get-image/image/?$", mobile_api.ImageFileView.as_view(), name="mobile-image-file"),
]

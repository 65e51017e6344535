"""The phone apps' paths about accounts, at the site's root, with and without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []

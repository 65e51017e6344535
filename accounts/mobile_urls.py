"""The phone apps' paths about accounts, at the site's root, with and without a slash at the end."""

from __future__ import annotations

from django.urls import re_path

from accounts.mobile_api import LogInView, SignUpView

urlpatterns = [
    re_path(r"^users/signup/?$", SignUpView.as_view(), name="mobile-signup"),
    re_path(r"^users/login/?$", LogInView.as_view(), name="mobile-login"),
]

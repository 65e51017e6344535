from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.models import User


class UsernameOrEmailBackend(ModelBackend):
    """Log-in with a user name or an e-mail address.

    User names cannot contain ``@`` (see :class:`accounts.forms.SignUpForm`), so the two never collide.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        if username and "@" in username:
            # An unknown address goes on as it is: Django then hashes once in vain, so that the time tells nothing.
            username = (
                User.objects.filter(email=username.lower()).values_list("username", flat=True).first() or username
            )
        return super().authenticate(request, username=username, password=password, **kwargs)

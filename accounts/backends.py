from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.models import User


class UsernameOrEmailBackend(ModelBackend):
    """Log-in with a user name, an e-mail address, or both of one account.

    Names that people choose contain no ``@`` (see :mod:`accounts.names`), so the two never collide. One password
    is hashed whatever is given, so that the time does not tell who has an account.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        email: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if password is None or not (username or email):
            return None
        user = _find(username, email)
        if user is None:
            User().set_password(password)
            return None
        return user if user.check_password(password) and self.user_can_authenticate(user) else None


def _find(username: str | None, email: str | None) -> User | None:
    """Whose all the given names are."""
    if not username:
        return _of_address(email or "")
    # An administrator's command may have made a name with an @.
    user = (_of_address(username) if "@" in username else None) or User.objects.named(username)
    return None if email and (user is None or user.email != email.lower()) else user


def _of_address(email: str) -> User | None:
    return User.objects.filter(email=email.lower()).first()

"""People for a load test, with sessions of their own: `python -m benchmarks.inside.crowd COUNT`.

Prints a JSON list of objects with `name`, `password`, `session` and `csrf`: to sign all of them up through the site
would be a test of its password hashing.
"""

from __future__ import annotations

import argparse
import json

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.middleware.csrf import _get_new_csrf_string

from accounts.models import User

PASSWORD = "a long and unlikely one"


def add_member(number: int, password: str) -> dict[str, str]:
    """`password` is the hash of PASSWORD."""
    name = f"member-{number}"
    user = User.objects.create(username=name, email=f"{name}@example.org", password=password)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[-1]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return {
        "name": name,
        "password": PASSWORD,
        "session": str(session.session_key),
        "csrf": _get_new_csrf_string(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    password = make_password(PASSWORD)
    print(json.dumps([add_member(number, password) for number in range(options.count)]))


if __name__ == "__main__":
    main()

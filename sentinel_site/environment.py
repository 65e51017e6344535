"""Reading the settings' environment, strictly: a value that cannot be understood stops the start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def read_secret(name: str, *, fallback_file: Path) -> str:
    """The secret in the variable ``name``, else in the file that ``name``_FILE names, else one made here.

    The last is for the embedded default: 50 random bytes, written once to ``fallback_file``, readable by its
    owner only.
    """
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error}") from error
        if not secret:
            raise ImproperlyConfigured(f"{name}_FILE is empty")
        return secret
    return _read_or_make(fallback_file)


def _read_or_make(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The web server and the worker may start at once: write elsewhere, then link, so that one of them
    # wins and neither reads a half-written key.
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            # The other process was first: its key is the one that counts, and is read below.
            draft.unlink()
            return path.read_text(encoding="utf-8").strip()
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()

"""Reading the settings' environment, strictly: a value that cannot be understood stops the start."""

from __future__ import annotations

import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.exceptions import ImproperlyConfigured


def new_secret() -> str:
    """50 random bytes."""
    return secrets.token_urlsafe(50)


def read_secret(name: str, *, fallback_file: Path, make: Callable[[], str] = new_secret) -> str:
    """The secret in the variable ``name``, else in the file that ``name``_FILE names, else one made here.

    The last is for the embedded default: what ``make`` gives, written once to ``fallback_file``, readable by its
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
    return _read_or_make(fallback_file, make)


def new_vapid_key() -> str:
    """A private key on P-256 as push services want it (RFC 8292): its 32 bytes in base64url."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


def vapid_public_key(private_key: str) -> str:
    """What browsers are told of it: the uncompressed point in base64url. Raises ImproperlyConfigured."""
    try:
        raw = urlsafe_b64decode(private_key + "=" * (-len(private_key) % 4))
        if len(raw) != 32:
            raise ValueError(len(raw))
        key = ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    except ValueError as error:
        raise ImproperlyConfigured("VAPID_PRIVATE_KEY is not 32 bytes of a P-256 key in base64url") from error
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return urlsafe_b64encode(point).decode().rstrip("=")


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The web server and the worker may start at once: write elsewhere, then link, so that one of them
    # wins and neither reads a half-written key.
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(make())
        try:
            os.link(draft, path)
        except FileExistsError:
            # The other process was first: its key is the one that counts, and is read below.
            draft.unlink()
            return path.read_text(encoding="utf-8").strip()
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()

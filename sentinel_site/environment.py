"""Reading the settings' environment, strictly: a value that cannot be understood stops the start."""

from __future__ import annotations

import math
import os
import re
import secrets
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import environ
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from django.core.exceptions import ImproperlyConfigured

# What readers of PDFs have understood for longest, and as strong as is asked for beyond 2030 (NIST SP 800-57, part 1).
SIGNING_KEY_BITS = 3072
SIGNING_CERTIFICATE_YEARS = 10


YES, NO = {"true", "on", "ok", "y", "yes", "1"}, {"false", "off", "n", "no", "0"}
# As Django REST Framework reads it, which looks at the first letter of the period.
RATE = re.compile(r"\d+/(?:s|m|h|d)[a-z]*")


class Environment(environ.Env):  # type: ignore[misc]
    """django-environ's, whose own reading takes any other word for "off", 1h30 for 130 and 2e3 for 23.

    An empty switch or number is as if it was not set.
    """

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, parse_default: Any = False
    ) -> Any:
        """Raises ImproperlyConfigured."""
        if cast not in {bool, int, float, list}:
            return super().get_value(var, cast, default, parse_default)
        given = os.environ.get(var, "").strip()
        if cast is list and var in os.environ:
            return [entry for each in given.split(",") if (entry := each.strip())]
        if not given:
            return default
        return _read_switch(var, given) if cast is bool else _read_number(var, given, cast)


def _read_switch(name: str, given: str) -> bool:
    if given.lower() not in YES | NO:
        raise ImproperlyConfigured(f"{name} is neither on nor off: {given!r}")
    return given.lower() in YES


def _read_number(name: str, given: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(given)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf:
        whole = "whole " if kind is int else ""
        raise ImproperlyConfigured(f"{name} is no {whole}number from 0 on: {given!r}")
    return number


def read_rate(name: str, default: str) -> str:
    """So many in a period, as 300/min; empty where the variable is, for no limit."""
    rate = os.environ.get(name, default).strip()
    if rate and not RATE.fullmatch(rate):
        raise ImproperlyConfigured(f"{name} is no rate such as {default}: {rate!r}")
    return rate


def read_time_zone(name: str, default: str) -> str:
    zone = os.environ.get(name) or default
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ImproperlyConfigured(f"{name} is no time zone such as {default}: {zone!r}") from error
    return zone


def new_secret() -> str:
    """50 random bytes."""
    return secrets.token_urlsafe(50)


def read_one_of(name: str, *values: str) -> str:
    """One of a few words; the first where the variable is not set."""
    value = os.environ.get(name) or values[0]
    if value not in values:
        raise ImproperlyConfigured(f"{name} is neither of {', '.join(values)}")
    return value


def read_secret(name: str, *, fallback_file: Path, make: Callable[[], str] = new_secret) -> str:
    """The secret in the variable ``name``, else in the file that ``name``_FILE names, else one made here.

    The last is for the embedded default: what ``make`` gives, written once to ``fallback_file``, readable by its
    owner only.
    """
    return read_given_secret(name) or _read_or_make(fallback_file, make)


def read_given_secret(name: str) -> str:
    """The secret in the variable ``name``, else in the file that ``name``_FILE names, else an empty text."""
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        secret = _read_given_file(name, path).decode("utf-8", "replace").strip()
        if not secret:
            raise ImproperlyConfigured(f"{name}_FILE is empty")
        return secret
    return ""


def read_signing_key(name: str, *, fallback_file: Path, make: Callable[[], str]) -> bytes:
    """The same for a key with its certificates: PEM, or PKCS#12, which a variable holds in base64 and a file as it is.

    What it says is read later, by :mod:`reports.seal`.
    """
    if value := os.environ.get(name):
        if "-----BEGIN" in value:
            # Files with variables often have room for one line only.
            return value.replace("\\n", "\n").encode()
        try:
            return b64decode(value, validate=True)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} is neither PEM nor PKCS#12 in base64") from error
    if path := os.environ.get(f"{name}_FILE"):
        return _read_given_file(name, path)
    return _read_or_make(fallback_file, make).encode()


def _read_given_file(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error}") from error


def secret_is_given(name: str) -> bool:
    """Whether a secret comes from outside, rather than being made on this machine."""
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def read_media_storage(url: str) -> dict[str, Any]:
    """Options of :class:`media_analysis.object_storage.ObjectStorage` from ``s3://bucket/prefix?endpoint=…&region=…``.

    ``endpoint`` is the server where it is not Amazon's, ``public`` its address for browsers where that is another one.
    """
    try:
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
        plain = parts.hostname == parts.netloc.lower() and not parts.fragment
    except ValueError as error:
        raise ImproperlyConfigured(f"MEDIA_STORAGE_URL cannot be understood: {error}") from error
    if parts.scheme != "s3" or not parts.netloc or not plain:
        raise ImproperlyConfigured(
            "MEDIA_STORAGE_URL is not of the form s3://bucket/prefix?endpoint=https://host&region=name "
            "(the key goes into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )
    names = {"endpoint": "endpoint_url", "region": "region_name", "public": "public_endpoint"}
    if unknown := asked.keys() - names.keys():
        raise ImproperlyConfigured(f"MEDIA_STORAGE_URL holds something unknown: {', '.join(sorted(unknown))}")
    for name in asked.keys() & {"endpoint", "public"}:
        if not re.fullmatch(r"https?://[^/\s?#]+/?", asked[name]):
            raise ImproperlyConfigured(
                f"the {name} of MEDIA_STORAGE_URL is not of the form https://host or http://host:port"
            )
    options = {names[name]: value.rstrip("/") for name, value in asked.items() if value}
    return {"bucket_name": parts.netloc, "location": parts.path.strip("/"), **options}


def origin_of_links(options: dict[str, Any]) -> str:
    """Where browsers are sent by links to objects, for the content security policy."""
    if given := options.get("public_endpoint") or options.get("endpoint_url"):
        return str(given)
    region = f".{options['region_name']}" if options.get("region_name") else ""
    return f"https://{options['bucket_name']}.s3{region}.amazonaws.com"


def new_signing_key() -> str:
    """A key that signs documents and a certificate for it, signed by itself: as PEM, in this order."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=SIGNING_KEY_BITS)
    # Two keys of a site have to be told apart by their names too: signatures name issuer and number.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Sentinel document seal {secrets.token_hex(4)}")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of those who check differ a little.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365.25 * SIGNING_CERTIFICATE_YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + certificate.public_bytes(Encoding.PEM)).decode()


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
            # A machine that stops now must not leave an empty key behind, which nobody would make anew.
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            # The other process was first: its key is the one that counts, and is read below.
            draft.unlink()
            return path.read_text(encoding="utf-8").strip()
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()

"""A push service and a browser in one, on this machine: takes Web Push messages and reads them as a browser does.

Written from RFC 8030, 8188, 8291 and 8292 with nothing of what the site encrypts and signs with but the primitives.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

LAST_RECORD = 2


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _derived(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


class Subscription:
    """The browser's half: its keys, and reading what was encrypted for them."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self._auth = secrets.token_bytes(16)
        self.p256dh, self.auth = encode(self._point), encode(self._auth)

    def read(self, body: bytes) -> dict[str, Any]:
        """The message, of one record, as RFC 8291, section 3.4, and RFC 8188, section 2, have it."""
        salt, key_length = body[:16], body[20]
        sender, content = body[21 : 21 + key_length], body[21 + key_length :]
        shared = self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = _derived(shared, salt=self._auth, info=b"WebPush: info\0" + self._point + sender, length=32)
        key = _derived(secret, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
        nonce = _derived(secret, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
        padded = AESGCM(key).decrypt(nonce, content, None).rstrip(b"\0")
        assert padded[-1] == LAST_RECORD
        return dict(json.loads(padded[:-1]))


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class PushService:
    """``answers`` are the statuses that come next, 201 when there are none; a request waits while ``hold`` is set."""

    url: str
    certificate: Path | None = None
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    trickle: bool = False
    subscription: Subscription = field(default_factory=Subscription)

    @property
    def endpoint(self) -> str:
        return f"{self.url}/subscriptions/one"

    def messages(self) -> list[dict[str, Any]]:
        """What a browser that comes back finds: of messages with the same topic only the last (RFC 8030, 5.4)."""
        waiting = {request.headers["Topic"]: request for request in self.taken}
        return [self.subscription.read(request.body) for request in waiting.values()]


@contextmanager
def push_service(folder: Path | None = None) -> Iterator[PushService]:
    """A running push service; with TLS if there is a ``folder`` for its certificate."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = Received(
                self.path, dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"]))
            )
            service.received.append(request)
            status, headers = service.answers.pop(0) if service.answers else (201, {})
            if status < 300:
                service.taken.append(request)
            while service.hold.is_set():
                time.sleep(0.05)
            try:
                if service.trickle:
                    for letter in b"HTTP/1.1 201 " + 1000 * b"x":
                        self.wfile.write(bytes([letter]))
                        time.sleep(0.1)
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
            except OSError:
                # Cut off by the sender, or by its end.
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme, certificate = "http", None
    if folder is not None:
        scheme, certificate = "https", _certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    service = PushService(f"{scheme}://localhost:{server.server_port}", certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.hold.clear()
        server.shutdown()
        server.server_close()


def _certificate(folder: Path) -> Path:
    """A file with a certificate for this machine, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "push-service.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def check_signature(authorization: str, *, audience: str, public_key: str) -> dict[str, Any]:
    """The claims of a VAPID header (RFC 8292), once its signature, audience, end and key are right."""
    scheme, _, rest = authorization.partition(" ")
    assert scheme == "vapid"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert parts["k"] == public_key
    signed, _, signature = parts["t"].rpartition(".")
    raw = decode(signature)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(public_key))
    der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
    header, claims = (json.loads(decode(part)) for part in signed.split("."))
    assert header["alg"] == "ES256"
    assert claims["aud"] == audience
    assert time.time() < claims["exp"] < time.time() + 24 * 3600
    return dict(claims)

"""Small PDFs to seal, keys of others, and a time stamping authority on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pypdf
from asn1crypto import keys, tsp, x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper

from reports import seal
from sentinel_site.environment import new_signing_key

NUMBER = "5f12f98cf85c333030ea30cb"
REASON = seal.reason_of(NUMBER)


def a_pdf(pages: int = 1) -> bytes:
    target = BytesIO()
    writer = pypdf.PdfWriter()
    for _page in range(pages):
        writer.add_blank_page(300, 300)
    writer.write(target)
    return target.getvalue()


def a_sealed_pdf() -> bytes:
    return seal.sign_pdf(a_pdf(), reason=REASON).content


@cache
def another_key() -> bytes:
    """A key with its certificate, as another site would have made it."""
    return new_signing_key().encode()


@contextmanager
def key_of_another() -> Iterator[None]:
    """Inside, the site signs with that key, and forgets it afterwards."""
    own = settings.SENTINEL_SIGNING_KEY
    settings.SENTINEL_SIGNING_KEY = another_key()
    try:
        yield
    finally:
        seal.forget(seal.certificate_fingerprint())
        settings.SENTINEL_SIGNING_KEY = own


def added_to(pdf: bytes) -> bytes:
    """The same with an incremental update: what was there stays, byte for byte, and a page is added behind it."""
    target = BytesIO()
    writer = pypdf.PdfWriter(BytesIO(pdf), incremental=True)
    writer.add_blank_page(100, 100)
    writer.write(target)
    added = target.getvalue()
    assert added.startswith(pdf)
    assert len(added) > len(pdf)
    return added


class Authority:
    """Gives time stamps, or whatever ``mode`` says: "silent", "broken", "refuses", "wrong", "huge"."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.asked = 0
        self.closing = threading.Event()
        authority = self
        parts = seal._read_identity(another_key(), "")
        key = parts.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.stamper = DummyTimeStamper(
            x509.Certificate.load(parts.certificate.public_bytes(Encoding.DER)), keys.PrivateKeyInfo.load(key)
        )

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                authority.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if authority.mode == "silent":
                    authority.closing.wait(30)
                    return
                answer = authority.answer(body)
                self.send_response(500 if authority.mode == "broken" else 200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def answer(self, body: bytes) -> bytes:
        request = tsp.TimeStampReq.load(body)
        if self.mode == "refuses":
            status = {"status": "rejection", "status_string": ["no"]}
            return bytes(tsp.TimeStampResp({"status": status}).dump())
        if self.mode == "wrong":
            request["message_imprint"]["hashed_message"] = b"\0" * 32
        if self.mode == "huge":
            return b"0" * 100_000
        return bytes(self.stamper.request_tsa_response(request).dump())


@contextmanager
def authority(mode: str = "") -> Iterator[Authority]:
    running = Authority(mode)
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.closing.set()
        running.server.shutdown()
        running.server.server_close()
        thread.join()


def took(started: float) -> float:
    """Seconds since a moment of the monotonic clock."""
    return time.monotonic() - started

"""An S3 server (moto) in a process of its own, in memory, and a proxy before it that behaves badly on demand.

``python -m tests.s3_server --port 9000 --bucket sentinel`` runs one until it is stopped; tests use :func:`running_s3`.
Any credentials will do.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.site_process import wait_until

ROOT = Path(__file__).resolve().parent.parent
REGION = "ap-south-1"
BUCKET = "sentinel"
# What the processes of a site need to be let in.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server. ``endpoint`` is its address without a bucket."""

    endpoint: str
    bucket: str = BUCKET

    def url(self, prefix: str = "", **options: str) -> str:
        """The value of MEDIA_STORAGE_URL. Another ``endpoint`` is that of a proxy before it."""
        asked = {"endpoint": self.endpoint, "region": REGION, **options}
        return f"s3://{self.bucket}/{prefix}?{urlencode(asked)}"

    def environment(self, prefix: str = "", **options: str) -> dict[str, str]:
        """Variables by which a site keeps its media here."""
        return {"MEDIA_STORAGE_URL": self.url(prefix, **options), **CREDENTIALS}

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def keys(self, prefix: str = "") -> list[str]:
        """The names of all objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def clear(self) -> None:
        client = self.client()
        for key in self.keys():
            client.delete_object(Bucket=self.bucket, Key=key)


@contextmanager
def running_s3(port: int = 0, bucket: str = BUCKET, address: str = "127.0.0.1") -> Iterator[S3Server]:
    """A server of one's own on a port of this address, gone afterwards."""
    port = port or free_port()
    command = [sys.executable, "-m", "tests.s3_server", "--address", address, "--port", str(port), "--bucket", bucket]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = S3Server(f"http://{address}:{port}", bucket)
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(server), seconds=60, what="the S3 server to answer")
        if process.poll() is not None:
            raise AssertionError(f"the S3 server ended with {process.returncode}")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _is_ready(server: S3Server) -> bool:
    import requests

    try:
        # Made by the server before it says that it is ready.
        return requests.get(f"{server.endpoint}/{server.bucket}", timeout=2).status_code == 200
    except requests.RequestException:
        return False


class BadProxy:
    """A TCP proxy to a server: what it is set to, it does to every connection from then on.

    ``mode`` is "fine", "away" (refuses connections), "silent" (takes them and never answers), "busy" (answers 503 to
    every request), "cut" (hands on ``cut_after`` bytes of answers and hangs up) or "slow" (``bytes_a_second``).
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = free_port()
        self.mode = "fine"
        self.cut_after = 0
        self.bytes_a_second = 100_000
        self.connections = 0
        self._listen()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, mode: str, **options: int) -> None:
        """Change what it does; connections that are open end."""
        for name, value in options.items():
            setattr(self, name, value)
        self.mode = mode
        if mode == "away":
            self._close_listener()
        elif self._listener is None:
            self._listen()
        self._hang_up()

    def close(self) -> None:
        self._close_listener()
        self._hang_up()

    def __enter__(self) -> BadProxy:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _close_listener(self) -> None:
        if self._listener is not None:
            # Closing alone does not wake the thread that accepts.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _hang_up(self) -> None:
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client, self.mode), daemon=True).start()

    def _serve(self, client: socket.socket, mode: str) -> None:
        with client, self._kept(client), suppress(OSError):
            if mode == "silent":
                while client.recv(1 << 16):
                    pass
            elif mode == "busy":
                client.recv(1 << 16)
                client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                # Whatever of the request is still coming: hanging up on it would reset the connection.
                client.shutdown(socket.SHUT_WR)
                client.settimeout(5)
                while client.recv(1 << 16):
                    pass
            else:
                self._pass_on(client, mode)

    def _pass_on(self, client: socket.socket, mode: str) -> None:
        with socket.create_connection(self._target, timeout=10) as server, self._kept(server):
            server.settimeout(None)
            threading.Thread(target=self._copy, args=(client, server, "fine"), daemon=True).start()
            self._copy(server, client, mode)

    def _copy(self, source: socket.socket, target: socket.socket, mode: str) -> None:
        done = 0
        with suppress(OSError):
            while content := source.recv(1 << 14):
                if mode == "slow":
                    time.sleep(len(content) / self.bytes_a_second)
                if mode == "cut":
                    content = content[: max(self.cut_after - done, 0)]
                target.sendall(content)
                done += len(content)
                if mode == "cut" and done >= self.cut_after:
                    break
            target.shutdown(socket.SHUT_WR)
            if mode == "cut":
                source.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)


class CheckSums:
    """WSGI application that refuses what does not hash to the SHA-256 that goes with it, as S3 does and moto not."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        announced = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        if environ["REQUEST_METHOD"] == "PUT" and announced:
            content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if b64encode(hashlib.sha256(content).digest()).decode() != announced:
                start_response("400 Bad Request", [("Content-Type", "application/xml")])
                return [b"<Error><Code>BadDigest</Code><Message>The checksum did not match.</Message></Error>"]
            environ["wsgi.input"] = io.BytesIO(content)
        return self._application(environ, start_response)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run an S3 server in memory, for tests.")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bucket", default=BUCKET)
    asked = parser.parse_args()
    # moto looks at them before it answers.
    os.environ.update(CREDENTIALS)
    from moto.server import ThreadedMotoServer

    moto: Any = import_module("moto.moto_server.threaded_moto_server")
    made_by_moto = moto.DomainDispatcherApplication
    moto.DomainDispatcherApplication = lambda make: CheckSums(made_by_moto(make))
    server = ThreadedMotoServer(ip_address=asked.address, port=asked.port, verbose=False)
    server.start()
    S3Server(f"http://{asked.address}:{asked.port}", asked.bucket).client().create_bucket(
        Bucket=asked.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    server.stop()


if __name__ == "__main__":
    main()

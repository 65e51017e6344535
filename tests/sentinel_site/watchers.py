"""What a site tells about itself, as a collector of traces and a Sentry server receive it. One server plays both."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import brotli  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(slots=True)
class Watcher:
    """Where it listens, the spans that came, as (name, trace, span, parent, attributes), and the errors."""

    url: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    # Everything as it came, to be searched for what must not be there.
    bytes: bytes = b""

    @property
    def dsn(self) -> str:
        return f"{self.url.replace('://', '://public@')}/1"


@contextmanager
def watching() -> Iterator[Watcher]:
    watcher = Watcher()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            decompress = {"gzip": gzip.decompress, "br": brotli.decompress}.get(self.headers["Content-Encoding"])
            body = decompress(body) if decompress else body
            watcher.bytes += body
            if self.path == "/v1/traces":
                watcher.spans += _spans(body)
            else:
                watcher.errors += _errors(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    watcher.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield watcher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(body: bytes) -> list[dict[str, Any]]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        {
            "name": span.name,
            "trace": span.trace_id.hex(),
            "id": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "attributes": {each.key: each.value.string_value for each in span.attributes},
        }
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _errors(body: bytes) -> list[dict[str, Any]]:
    """Of an envelope, which has a header a line, and items with a header a line each."""
    lines = body.split(b"\n")
    return [
        json.loads(content)
        for header, content in zip(lines[1::2], lines[2::2], strict=False)
        if header and json.loads(header).get("type") == "event"
    ]

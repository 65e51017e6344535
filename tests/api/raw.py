"""HTTP as a phone app writes it: the standard library's client, bodies put together by hand."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

BOUNDARY = "----------f3d1a8c47e2b5906"
ENCODINGS = ("json", "form", "multipart")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        assert self.headers.get_content_type() == "application/json", self
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class File:
    name: str
    content: bytes


def multipart(fields: dict[str, Any]) -> bytes:
    parts = []
    for name, value in fields.items():
        head = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, File):
            head += f'; filename="{value.name}"\r\nContent-Type: application/octet-stream'
        content = value.content if isinstance(value, File) else str(value).encode()
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def encode(fields: dict[str, Any], encoding: str) -> tuple[bytes, str]:
    match encoding:
        case "json":
            return json.dumps(fields).encode(), "application/json"
        case "form":
            return urlencode(fields).encode(), "application/x-www-form-urlencoded"
    return multipart(fields), f"multipart/form-data; boundary={BOUNDARY}"


class Server:
    """The running site at an address."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc

    def ask(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        *,
        encoding: str = "json",
        token: str = "",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"Accept": "*/*", **({"Authorization": f"Bearer {token}"} if token else {})}
        if fields is not None:
            body, sent["Content-Type"] = encode(fields, encoding)
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def post(self, path: str, fields: dict[str, Any], **options: Any) -> Answer:
        return self.ask("POST", path, fields, **options)

    def get(self, path: str, query: dict[str, str] | None = None, **options: Any) -> Answer:
        return self.ask("GET", f"{path}?{urlencode(query)}" if query else path, **options)

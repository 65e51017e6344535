"""A video site on this machine: pages with a video, files, streams in pieces, and everything that a bad server does."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

PIECE_BYTES = 16 * 1024


@dataclass
class VideoSite:
    """``files`` are served by their path; ``pages`` are watch pages by their video's id, in the words of schema.org.

    ``asked`` are the paths that were asked for. ``pause`` is how long each piece of a slow file takes, in seconds.
    """

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    pause: float = 0.05

    @property
    def url(self) -> str:
        """Under this host it is a site for yt-dlp, where the settings say so."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def file_url(self) -> str:
        """Under this one it is any web server."""
        return f"http://127.0.0.2:{self.port}"

    def add_page(self, video: str, file: str, **described: Any) -> str:
        """A watch page whose video is the file at this path; returns its address."""
        self.pages[video] = {
            "name": "Minister sings",
            "uploadDate": "2026-11-20T10:15:00+05:30",
            "author": "Village News",
            "contentUrl": file if "://" in file else f"{self.url}{file}",
            **described,
        }
        return f"{self.url}/watch?v={video}"


@contextmanager
def video_site() -> Iterator[VideoSite]:
    site = VideoSite()

    class Handler(_Handler):
        served = site

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104 -- two addresses of the loopback
    server.daemon_threads = True
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: VideoSite
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nowhere."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site, asked = self.served, urlsplit(self.path)
        site.asked.append(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        answers = {
            "/watch": lambda: self._page(query.get("v", "")),
            "/to": lambda: self._answer(302, b"", {"Location": query["url"]}),
            "/round": lambda: self._answer(302, b"", {"Location": f"/round?{time.monotonic_ns()}"}),
            "/private": lambda: self._answer(403, b"no"),
            "/article": lambda: self._answer(200, b"<html><body>Text</body></html>", {"Content-Type": "text/html"}),
            "/endless.mp4": lambda: self._trickle(None),
            "/slow.mp4": lambda: self._trickle(site.files["/clip.mp4"]),
            "/short.mp4": lambda: self._trickle(site.files["/clip.mp4"][:1000], length=len(site.files["/clip.mp4"])),
            "/bomb.mp4": lambda: self._answer(200, gzip.compress(bytes(50 << 20)), {"Content-Encoding": "gzip"}),
            "/huge.mp4": lambda: self._answer(200, b"", {"Content-Length": str(1 << 40)}),
        }
        if asked.path in answers:
            answers[asked.path]()
        elif asked.path in site.files:
            self._file(site.files[asked.path])
        else:
            self._answer(404, b"nothing here")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, content: bytes) -> None:
        kinds = {"m3u8": "application/vnd.apple.mpegurl", "ts": "video/mp2t", "jpg": "image/jpeg"}
        headers = {
            "Content-Type": kinds.get(self.path.rpartition(".")[2], "video/mp4"),
            "Last-Modified": "Fri, 20 Nov 2026 04:45:00 GMT",
            "ETag": '"a1b2"',
            "Set-Cookie": "tracker=1",
        }
        self._answer(200, content, headers)

    def _trickle(self, content: bytes | None, length: int | None = None) -> None:
        """A body that comes slowly; without content, one that never ends."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        if content is not None:
            self.send_header("Content-Length", str(length or len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        sent = 0
        try:
            while content is None or sent < len(content):
                piece = bytes(PIECE_BYTES) if content is None else content[sent : sent + PIECE_BYTES]
                self.wfile.write(piece)
                sent += len(piece)
                time.sleep(self.served.pause)
        except OSError:
            return

    def _page(self, video: str) -> None:
        described = self.served.pages.get(video)
        if described is None:
            self._answer(404, b"gone")
            return
        data = json.dumps({"@context": "https://schema.org", "@type": "VideoObject", **described})
        title = quote(str(described["name"]), safe=" ")
        page = f'<html><head><title>{title}</title><script type="application/ld+json">{data}</script></head></html>'
        self._answer(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})

"""Videos of sites: what a page says of its video, and where the file is, by yt-dlp.

yt-dlp runs as a process of its own with limits (see `limited_run`), without configuration, plugins, cookies, cache or
shell, in an empty folder, and reaches the network only through `fetch_proxy`. What it answers is the word of strangers
and is read as such.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from accounts.texts import clean_text
from media_analysis.fetch_proxy import FetchProxy
from media_analysis.models import LinkSource

Problem = LinkSource.Problem

LIMITED_RUN = Path(__file__).with_name("limited_run.py")
MEMORY_BYTES = 1 << 30
METADATA_SECONDS = 90.0
PROCESSOR_SECONDS = 120
# Of what yt-dlp says; the description of a video has many formats and is long.
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
SOCKET_SECONDS = 20
# Enough for faces; more pixels only take longer to come.
WANTED_SIDE = 720
OPTIONS = (
    *("--ignore-config", "--no-plugin-dirs", "--no-remote-components", "--no-cache-dir", "--no-update"),
    *("--no-cookies", "--no-cookies-from-browser", "--no-playlist", "--flat-playlist", "--no-live-from-start"),
    *("--no-wait-for-video", "--no-mark-watched", "--no-write-comments", "--no-check-formats", "--fixup", "never"),
    *("--socket-timeout", str(SOCKET_SECONDS), "--retries", "2", "--extractor-retries", "1", "--fragment-retries", "2"),
    *("--xff", "never", "--color", "never", "--no-warnings", "--no-progress", "--ffmpeg-location", "/nonexistent"),
)
# Sent with the request for a file; cookies and other keys are not.
SENT_HEADERS = {"user-agent", "accept", "accept-language", "referer", "origin", "sec-fetch-mode"}
# What yt-dlp says, in the order in which it is looked for.
COMPLAINTS = (
    (Problem.PRIVATE, r"private|sign in|log ?in|logged[- ]in|members[- ]only|authenticat|age[- ]restricted|cookies"),
    (Problem.LIVE, r"live event|premieres? in|is live|livestream"),
    (Problem.NOT_FOUND, r"http error 4(?:04|10)|not found|removed|deleted|n[o']t exist|unavailable|terminated"),
    (Problem.REFUSED, r"http error 4(?:0[13]|29|51)|geo|country|not available from your location|drm|captcha|blocked"),
    (Problem.NO_MEDIA, r"unsupported url|no video|no media"),
    (Problem.TOO_SLOW, r"timed? ?out"),
)


class SiteError(Exception):
    """There is no file to be had. ``detail`` is for the log of whoever runs this, never for who gave the link."""

    def __init__(self, problem: LinkSource.Problem, detail: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Rendition:
    """One of a video's files. ``size`` is in bytes, None where it is not known; ``piece``: to be asked for in pieces.

    ``side`` is the shorter one, in pixels, and ``frame_rate`` a second; both 0 where the site does not say.
    """

    url: str
    streamed: bool
    headers: dict[str, str]
    extension: str
    side: int
    frame_rate: float
    size: int | None
    has_sound: bool
    piece: int
    bit_rate: float
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Video:
    """What a site says of a video. ``duration`` is in seconds, None where it is not known."""

    canonical_url: str
    site: str
    title: str
    uploader: str
    uploader_url: str
    uploaded: str
    duration: float | None
    renditions: tuple[Rendition, ...]
    raw: dict[str, Any] = field(repr=False)


def is_video_site(url: str) -> bool:
    """Whether links to this host are for yt-dlp."""
    host = (urlsplit(url).hostname or "").lower()
    return any(host == site or host.endswith(f".{site}") for site in settings.SENTINEL_LINK_SITES)


def version() -> str:
    return f"yt-dlp {importlib.metadata.version('yt-dlp')}"


def look_up(url: str, proxy: FetchProxy, folder: Path, go_on: Callable[[], None]) -> Video:
    """What the site says of the video at `url`. ``go_on`` is called all the time, and raises to stop.

    Raises SiteError.
    """
    lines = _run([*OPTIONS, "--dump-single-json", "--", url], proxy, folder, go_on=go_on, timeout=METADATA_SECONDS)
    try:
        found = json.loads("\n".join(lines))
    except ValueError as error:
        raise SiteError(Problem.NO_MEDIA) from error
    if not isinstance(found, dict):
        raise SiteError(Problem.NO_MEDIA)
    return read_video(found)


def read_video(found: dict[str, Any]) -> Video:
    """From yt-dlp's description of a video. Raises SiteError for what is none."""
    if found.get("_type", "video") != "video":
        entries = found.get("entries")
        if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
            raise SiteError(Problem.PLAYLIST)
        found = entries[0]
        if found.get("_type", "video") != "video":
            raise SiteError(Problem.PLAYLIST)
    if found.get("is_live") or found.get("live_status") in {"is_live", "is_upcoming", "post_live"}:
        raise SiteError(Problem.LIVE)
    described = found.get("formats") or [found]
    duration = _number(found.get("duration"))
    renditions = tuple(
        rendition
        for each in described
        if isinstance(each, dict) and (rendition := _rendition(each, duration)) is not None
    )
    if not renditions:
        raise SiteError(Problem.REFUSED if found.get("_has_drm") else Problem.NO_MEDIA)
    return Video(
        canonical_url=_web_address(found.get("webpage_url") or found.get("original_url")),
        site=_site(found),
        title=_text(found.get("title"), 500),
        uploader=_text(found.get("uploader") or found.get("channel") or found.get("creator"), 255),
        uploader_url=_web_address(found.get("uploader_url") or found.get("channel_url")),
        uploaded=_moment(found),
        duration=duration or None,
        renditions=renditions,
        raw=found,
    )


def choose(renditions: tuple[Rendition, ...], *, max_bytes: int, max_frame_rate: float) -> Rendition | None:
    """The best file for an examination: of enough pixels and no more, with sound if that costs none of them.

    None if all are known to be beyond the limits.
    """
    fitting = [
        each
        for each in renditions
        if (each.size is None or each.size <= max_bytes) and each.frame_rate < max_frame_rate + 1
    ]
    return max(fitting, key=_worth, default=None)


def _worth(rendition: Rendition) -> tuple[int, bool, bool, float]:
    """Of more pixels than wanted, the fewest; else the most."""
    side = rendition.side
    pixels = side if side <= WANTED_SIDE else -side
    return pixels, rendition.has_sound, not rendition.streamed, rendition.bit_rate


def download_stream(
    video: Video, rendition: Rendition, proxy: FetchProxy, folder: Path, progress: Callable[[float | None], None]
) -> Path:
    """Have yt-dlp put a stream in pieces (HLS) together; returns the file, as the server sent its parts.

    ``progress`` is called with the share done all the time, and raises to stop. Raises SiteError.
    """
    described = {
        **{name: value for name, value in video.raw.items() if not name.startswith("requested_")},
        "formats": [{**rendition.raw, "format_id": "0"}],
    }
    description = folder / "description.json"
    description.write_text(json.dumps(described))
    shares: list[float | None] = [None]
    arguments = [
        *OPTIONS,
        *("--progress", "--newline", "--progress-template", "download:%(progress._percent)s", "--format", "0"),
        *("--downloader", "native", "--no-part", "--no-mtime", "--paths", str(folder), "--output", "stream.%(ext)s"),
        *("--load-info-json", str(description)),
    ]

    def told(line: str) -> None:
        if re.fullmatch(r"\s*\d+(?:\.\d+)?\s*", line):
            shares[0] = min(float(line) / 100, 1.0)

    _run(arguments, proxy, folder, go_on=lambda: progress(shares[0]), timeout=proxy.seconds_left, told=told)
    files = [path for path in folder.glob("stream.*") if path.is_file() and not path.is_symlink()]
    if len(files) != 1:
        raise SiteError(Problem.NO_MEDIA)
    return files[0]


def problem_of(complaint: str) -> LinkSource.Problem:
    """What yt-dlp's last words mean."""
    for problem, pattern in COMPLAINTS:
        if re.search(pattern, complaint, re.IGNORECASE):
            return problem
    return Problem.UNREACHABLE


def _run(
    arguments: list[str],
    proxy: FetchProxy,
    folder: Path,
    *,
    go_on: Callable[[], None],
    timeout: float,
    told: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """The lines that yt-dlp writes. Raises SiteError if it fails, or takes longer than ``timeout`` seconds."""
    runtime = shutil.which("deno", path=str(Path(sys.executable).parent)) or shutil.which("deno")
    engine = ["--no-js-runtimes", *(["--js-runtimes", f"deno:{runtime}"] if runtime else [])]
    limits = [str(MEMORY_BYTES), str(PROCESSOR_SECONDS), str(settings.SENTINEL_LINK_MAX_BYTES)]
    # Everybody on this machine can read a command, with the proxy's password in it; the folder is ours alone.
    way_out = folder / "proxy.conf"
    way_out.write_text(f"--proxy {proxy.url}\n", encoding="utf-8")
    command = [sys.executable, "-I", str(LIMITED_RUN), *limits, "yt_dlp", "--config-locations", str(way_out)]
    command += [*engine, *arguments]
    complaints = folder / "complaints.txt"
    with complaints.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 -- our own program, the link only after "--"
            command,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            lines = list(_lines(process, go_on, time.monotonic() + timeout, told))
            # It closed its output: it is ending.
            code = process.wait(SOCKET_SECONDS)
        finally:
            _kill(process)
    if code != 0:
        said = complaints.read_bytes()[-4000:].decode(errors="replace")
        raise SiteError(Problem.TOO_SLOW if code == -signal.SIGXCPU else problem_of(said))
    return lines


def _lines(
    process: subprocess.Popen[bytes], go_on: Callable[[], None], deadline: float, told: Callable[[str], None]
) -> Iterator[str]:
    received, begun = 0, b""
    output: Any = process.stdout
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            go_on()
            if time.monotonic() >= deadline:
                raise SiteError(Problem.TOO_SLOW)
            if not selector.select(0.2):
                continue
            piece = os.read(output.fileno(), 64 * 1024)
            if not piece:
                break
            received += len(piece)
            if received > MAX_OUTPUT_BYTES:
                raise SiteError(Problem.NO_MEDIA)
            *whole, begun = (begun + piece).split(b"\n")
            for line in whole:
                told(line.decode(errors="replace"))
                yield line.decode(errors="replace")
    if begun:
        yield begun.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """It and all that it started, unless it has ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _site(found: dict[str, Any]) -> str:
    """The site's name as yt-dlp has it; its host where it is known by nothing else."""
    name = _text(found.get("extractor_key") or found.get("extractor"), 64)
    return _text(urlsplit(str(found.get("webpage_url") or "")).hostname, 64) if name.lower() == "generic" else name


def _rendition(described: dict[str, Any], duration: float) -> Rendition | None:
    """None for sound alone, pictures, and what only other programs could fetch."""
    url, protocol = described.get("url"), str(described.get("protocol") or "")
    if not isinstance(url, str) or not url.isprintable():
        return None
    if described.get("vcodec") == "none" or described.get("has_drm"):
        return None
    if not protocol:
        protocol = urlsplit(url).scheme
    if protocol not in {"http", "https", "m3u8", "m3u8_native"} or described.get("fragments"):
        return None
    sides = [int(_number(described.get(name))) for name in ("width", "height")]
    bit_rate = _number(described.get("tbr") or described.get("vbr"))
    size = int(_number(described.get("filesize") or described.get("filesize_approx"))) or None
    if size is None and bit_rate and duration:
        size = int(bit_rate * 1000 / 8 * duration)
    options = described.get("downloader_options")
    headers = described.get("http_headers")
    return Rendition(
        url=url,
        streamed=protocol.startswith("m3u8"),
        headers={
            name: value
            for name, value in (headers.items() if isinstance(headers, dict) else ())
            if isinstance(value, str) and str(name).lower() in SENT_HEADERS and value.isprintable() and value.isascii()
        },
        extension=re.sub(r"[^a-z0-9]", "", str(described.get("ext") or "").lower())[:8],
        side=min((side for side in sides if side), default=0),
        frame_rate=_number(described.get("fps")),
        size=size,
        has_sound=described.get("acodec") != "none",
        piece=int(_number(options.get("http_chunk_size"))) if isinstance(options, dict) else 0,
        bit_rate=bit_rate,
        raw=described,
    )


def _number(value: object) -> float:
    """A number that is not negative, 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value < 1e15 else 0.0


def _text(value: object, length: int) -> str:
    return clean_text(str(value))[:length] if isinstance(value, str | int) else ""


def _web_address(value: object) -> str:
    address = _text(value, 2048)
    return address if urlsplit(address).scheme in {"http", "https"} else ""


def _moment(found: dict[str, Any]) -> str:
    """When it was uploaded, in ISO 8601, as exact as the site says; empty where it does not."""
    timestamp = found.get("timestamp") or found.get("release_timestamp")
    if isinstance(timestamp, int | float) and 0 < timestamp < 1e11:
        return datetime.fromtimestamp(int(timestamp), UTC).isoformat().replace("+00:00", "Z")
    day = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", str(found.get("upload_date") or found.get("release_date") or ""))
    return "-".join(day.groups()) if day else ""

"""Addresses that people give: where they may lead, by what one is known again, and which part of the video is meant."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings

from media_analysis import safe_http
from media_analysis.uploads import clean_name

# In links, what says who shared it and where, and nothing about the video.
TRACKING = re.compile(
    r"utm_\w+|fbclid|gclid|igshid?|igsh|si|feature|pp|ab_channel|ref|ref_src|ref_url|s|mibextid|_r|_t"
)
YOUTUBE_ID = "[A-Za-z0-9_-]{11}"


class Cut(NamedTuple):
    """The part of a video to examine, in seconds from its start."""

    start: float
    end: float


def fence() -> safe_http.Fence:
    """Where links may lead."""
    return safe_http.Fence(exceptions=tuple(settings.SENTINEL_LINK_ALLOW_PRIVATE))


def key_of(url: str, cut: Cut | None = None) -> str:
    """By what the same video, and the same part of it, is known again."""
    part = f"#{cut.start:.1f}-{cut.end:.1f}" if cut else ""
    return hashlib.sha256(f"{plain_form(url)}{part}".encode()).hexdigest()


def plain_form(url: str) -> str:
    """An address without what says nothing about the video; the many addresses of one YouTube video become one."""
    if "://" not in url:
        url = f"https://{url}"
    parts = urlsplit(url)
    host = (parts.hostname or "").removeprefix("www.").removeprefix("m.").removeprefix("mobile.")
    query = dict(parse_qsl(parts.query))
    if host in {"youtube.com", "music.youtube.com", "youtube-nocookie.com", "youtu.be"}:
        named = re.match(rf"/(?:shorts/|embed/|live/|v/)?({YOUTUBE_ID})(?:/|$)", parts.path)
        video = query.get("v", "") if parts.path == "/watch" else named[1] if named else ""
        if video:
            return f"https://youtube.com/watch?v={video}"
    if host in {"twitter.com", "x.com"} and (post := re.match(r"/[^/]+/(?:web/)?status(?:es)?/(\d+)", parts.path)):
        return f"https://x.com/i/status/{post[1]}"
    kept = sorted((name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if not _tracks(name))
    port = f":{parts.port}" if parts.port not in {None, 80, 443} else ""
    return f"https://{host}{port}{parts.path.rstrip('/')}?{urlencode(kept)}"


def provisional_name(url: str) -> str:
    """What a file is called until its title is known."""
    parts = urlsplit(url)
    return clean_name(f"{parts.hostname or ''}{parts.path}".rstrip("/").replace("/", " › "))


def _tracks(name: str) -> bool:
    return TRACKING.fullmatch(name) is not None

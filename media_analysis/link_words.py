"""Where a file was fetched from, as rows for pages and reports."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from media_analysis.models import LinkSource, Media

# Of what the server said about the file, what helps to find it again and to date it.
SHOWN_HEADERS = ("last-modified", "etag", "content-type", "server")


def link_of(media: Media) -> LinkSource | None:
    """Where a file was fetched from; None if it was sent."""
    link: LinkSource | None = getattr(media, "link", None)
    return link


def origin_rows(link: LinkSource | None) -> tuple[tuple[str, str], ...]:
    """What is known of the origin, as label and text in the active language. The site's word is named as that."""
    if link is None:
        return ()
    rows = [
        (_("Link as given"), link.url),
        (_("Lasting link"), link.canonical_url if link.canonical_url != link.url else ""),
        (_("Site"), link.site),
        (_("Title there"), link.title),
        (_("Uploaded by"), ", ".join(filter(None, (link.uploader, link.uploader_url)))),
        (_("Uploaded"), _uploaded(link)),
        (_("Duration of the whole video"), clock(link.duration) if link.duration else ""),
        (_("Part that was examined"), _part(link)),
        (_("SHA-256 of the whole file"), link.whole_sha256),
        (_("Fetched"), _moment(link.fetched_at) if link.fetched_at else ""),
        (_("Fetched with"), link.fetched_with),
        (_("Fetched from"), _server(link)),
        *((_("The server said"), f"{name}: {value}") for name, value in _shown(link)),
        (_("Post that it came with"), link.claims.get("post_url", "")),
        (_("Author of the post"), link.claims.get("author", "")),
        (_("Time of the post"), link.claims.get("posted_at", "")),
        (_("Text of the post"), link.claims.get("title", "")),
        (_("This result was made"), _same(link)),
    ]
    return tuple((capfirst(label), text) for label, text in rows if text)


def clock(seconds: float) -> str:
    """Seconds as people write them: 1:30, 1:02:03.5."""
    whole, tenths = divmod(round(10 * seconds), 10)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{tenths}" if tenths else text


def _uploaded(link: LinkSource) -> str:
    if link.uploaded_at:
        return _moment(link.uploaded_at)
    return date_format(link.uploaded_on, "DATE_FORMAT") if link.uploaded_on else ""


def _part(link: LinkSource) -> str:
    if link.cut_from is None or link.cut_to is None:
        return ""
    return _("from %(start)s to %(end)s, cut out without changing a picture; it begins at a key frame") % {
        "start": clock(link.cut_from),
        "end": clock(link.cut_to),
    }


def _server(link: LinkSource) -> str:
    host = urlsplit(link.file_url).hostname or ""
    return f"{host} ({link.server_address})" if host and link.server_address else host


def _shown(link: LinkSource) -> list[tuple[str, str]]:
    return [(name.title(), str(link.headers[name])) for name in SHOWN_HEADERS if link.headers.get(name)]


def _same(link: LinkSource) -> str:
    if not link.same_as_at:
        return ""
    return _("%(date)s, when the very same file was examined (%(id)s)") % {
        "date": _moment(link.same_as_at),
        "id": link.same_as,
    }


def _moment(moment: datetime) -> str:
    local = localtime(moment)
    return f"{date_format(local, 'DATETIME_FORMAT')} {date_format(local, 'T')}"

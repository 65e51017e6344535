"""Files that are fetched from a link: accepted at once, fetched later, and then examined as any other.

The analysis is there from the start, QUEUED in the stage "fetching" with a media row whose file is empty. Each step is
one conditional update of the analysis's row, as in `services`; `fetching` does the work between the steps.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import limits
from accounts.errors import Code, SentinelError
from accounts.ids import new_public_id
from accounts.models import User
from media_analysis import custody, safe_http, services
from media_analysis.case_details import clean_text
from media_analysis.models import Analysis, CaseDetails, LinkSource, Media, Submission
from media_analysis.uploads import clean_name

BAD_LINK = gettext_lazy("This is not a link to a public web page or file. Copy it again, or upload the file.")
# In links, what says who shared it and where, and nothing about the video.
TRACKING = re.compile(
    r"utm_\w+|fbclid|gclid|igshid?|igsh|si|feature|pp|ab_channel|ref|ref_src|ref_url|s|mibextid|_r|_t"
)
YOUTUBE_ID = "[A-Za-z0-9_-]{11}"
CLAIMS = ("post_url", "author", "posted_at", "title")
MAX_CLAIM_LENGTH = 2048


class Cut(NamedTuple):
    """The part of a video to examine, in seconds from its start."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Link:
    """A link that may be fetched: as given, and by what it is known again."""

    url: str
    key: str


def fence() -> safe_http.Fence:
    """Where links may lead."""
    return safe_http.Fence(exceptions=tuple(settings.SENTINEL_LINK_ALLOW_PRIVATE))


def submit_link(
    *,
    owner: User,
    source: Submission.Source,
    url: str,
    idempotency_key: str = "",
    case_details: Mapping[str, Any] | None = None,
    cut: Cut | None = None,
    claims: Mapping[str, str] | None = None,
    kind: Media.Kind | None = None,
) -> Analysis:
    """Accept the video or photo at a link for examination: the one way in for links.

    `cut` is the part of a video to examine. `claims` are what the caller knows of the origin (``post_url``,
    ``author``, ``posted_at``, ``title``), kept as that. With `kind`, only a file of that kind will do. The rest is as
    in :func:`media_analysis.services.submit_media`.

    The answer is at once an analysis that survives whatever is killed. Its file is fetched later; if there is none to
    be had, it fails and what was spent is given back. What the same owner has had examined by this link before, or is
    having, is the answer without anything spent: see :func:`find_earlier`.

    Raises ``link_not_supported`` for an address that is not asked, ``invalid_field`` for an impossible cut,
    ``rate_limited`` or ``idempotency_key_reused``.
    """
    link = read_link(url, cut)
    if earlier := _submitted_before(owner, idempotency_key, link) or find_earlier(owner, url, cut, kind):
        _note_again(earlier, owner, source, idempotency_key, case_details)
        return earlier
    if not limits.remaining(owner):
        raise services.daily_limit_reached(owner)
    media_id, analysis_id = new_public_id(), new_public_id()
    try:
        with transaction.atomic():
            limits.spend(owner, analysis_id)
            media = Media.objects.create(
                public_id=media_id,
                owner=owner,
                # Until it is known; pages show it.
                kind=kind or Media.Kind.VIDEO,
                original_name=provisional_name(link.url),
                **NO_FILE,
            )
            submission = Submission.objects.create(
                media=media, submitted_by=owner, source=source, idempotency_key=idempotency_key or None
            )
            if case_details and any(case_details.values()):
                CaseDetails.objects.create(submission=submission, **case_details)
            LinkSource.objects.create(
                media=media,
                url=link.url,
                key=link.key,
                wanted_kind=kind or "",
                cut_start=cut.start if cut else None,
                cut_end=cut.end if cut else None,
                claims=_clean_claims(claims or {}),
            )
            analysis = Analysis.objects.create(public_id=analysis_id, media=media, stage=Analysis.Stage.FETCHING)
    except BaseException as error:
        # Where transactions mean nothing, what was written and spent has to be undone by hand.
        Media.objects.filter(public_id=media_id, file="").delete()
        limits.give_back(analysis_id)
        if isinstance(error, IntegrityError) and (earlier := _submitted_before(owner, idempotency_key, link)):
            return earlier
        if isinstance(error, limits.DailyLimitReached):
            raise services.daily_limit_reached(owner) from error
        raise
    return analysis


# What is not known before the file is there.
NO_FILE: dict[str, Any] = {
    "file": "",
    "size": 0,
    "sha256": "",
    "md5": "",
    "container": "",
    "codec": "",
    "width": 0,
    "height": 0,
    "frame_count": 0,
}


def read_link(url: str, cut: Cut | None = None) -> Link:
    """A link in a form that may be asked, with its key. Raises ``link_not_supported``, or ``invalid_field``."""
    url = url.strip()
    # As people copy them from an address bar.
    if re.fullmatch(r"(?:[\w-]+\.)+[A-Za-z]{2,}(?:/\S*)?", url, re.ASCII):
        url = f"https://{url}"
    try:
        safe_http.check_url(url, fence())
    except safe_http.Refused as error:
        raise SentinelError(Code.LINK_NOT_SUPPORTED, text=BAD_LINK) from error
    if cut is not None:
        _check_cut(cut)
    return Link(url=url, key=key_of(url, cut))


def find_earlier(owner: User, url: str, cut: Cut | None = None, kind: Media.Kind | None = None) -> Analysis | None:
    """What this owner had, or is having, examined by this link; None if nothing, or if it failed.

    Only their own: that somebody else examined a video is nobody's business.
    """
    key = key_of(url.strip(), cut)
    analyses = Analysis.objects.select_related("media").filter(
        Q(media__link__key=key) | Q(media__link__canonical_key=key),
        media__owner=owner,
        media__deleted_at__isnull=True,
        status__in=[Analysis.Status.QUEUED, Analysis.Status.RUNNING, Analysis.Status.DONE],
    )
    if kind:
        analyses = analyses.filter(media__kind=kind)
    return analyses.order_by("-id").first()


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


def _check_cut(cut: Cut) -> None:
    wrong: dict[str, list[str]] = {}
    longest = settings.SENTINEL_MAX_DURATION_SECONDS
    if not (math.isfinite(cut.start) and 0 <= cut.start < 100 * 3600):
        wrong["start"] = [_("Enter when the part begins, such as 1:30.")]
    elif not (math.isfinite(cut.end) and cut.start < cut.end):
        wrong["end"] = [_("The end has to come after the start.")]
    elif cut.end - cut.start > longest:
        wrong["end"] = [_("The part may be %(seconds)s seconds long at most.") % {"seconds": longest}]
    if wrong:
        raise SentinelError(Code.INVALID_FIELD, errors=wrong)


def _clean_claims(claims: Mapping[str, str]) -> dict[str, str]:
    return {
        name: clean_text(str(claims[name]))[:MAX_CLAIM_LENGTH]
        for name in CLAIMS
        if claims.get(name) and clean_text(str(claims[name]))
    }


def _submitted_before(owner: User, idempotency_key: str, link: Link) -> Analysis | None:
    """The analysis that came of this key. Raises ``idempotency_key_reused`` if that was of something else."""
    if not idempotency_key:
        return None
    submission = (
        Submission.objects.select_related("media")
        .filter(submitted_by=owner, idempotency_key=idempotency_key, media__deleted_at__isnull=True)
        .first()
    )
    if submission is None:
        return None
    source = LinkSource.objects.filter(media=submission.media).first()
    if source is None or link.key not in {source.key, source.canonical_key}:
        raise SentinelError(Code.KEY_REUSED)
    return submission.media.analyses.select_related("media").order_by("created_at").first()


def _note_again(
    analysis: Analysis,
    owner: User,
    source: Submission.Source,
    idempotency_key: str,
    case_details: Mapping[str, Any] | None,
) -> None:
    """Keep what came with a link that was examined before, if it is new: the request's key, a police case."""
    case = dict(case_details or {}) if case_details and any(case_details.values()) else {}
    known = idempotency_key and Submission.objects.filter(submitted_by=owner, idempotency_key=idempotency_key).exists()
    if known or not (idempotency_key or case):
        return
    try:
        with transaction.atomic():
            submission = Submission.objects.create(
                media=analysis.media, submitted_by=owner, source=source, idempotency_key=idempotency_key or None
            )
            if case:
                CaseDetails.objects.create(submission=submission, **case)
            custody.record(analysis.media.public_id, custody.Event.RECEIVED, actor=owner, source=str(source))
    except IntegrityError:
        # A parallel request under the same key was faster.
        return

"""Files that are fetched from a link: accepted at once, fetched later, and then examined as any other.

The analysis is there from the start, QUEUED in the stage "fetching" with a media row whose file is empty. Each step is
one conditional update of the analysis's row, as in `services`; `fetching` does the work between the steps.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import clock, limits
from accounts.errors import Code, SentinelError
from accounts.ids import new_public_id
from accounts.models import User
from accounts.texts import clean_text
from media_analysis import custody, safe_http, scheduling, selectors, services
from media_analysis.link_addresses import Cut, fence, key_of, provisional_name
from media_analysis.models import Analysis, CaseDetails, LinkSource, Media, Submission
from media_analysis.signals import analysis_finished, tells_judgement
from media_analysis.storage import media_storage
from media_analysis.uploads import StagedFile, name_of
from ml.contracts import MediaInfo

logger = logging.getLogger(__name__)

BAD_LINK = gettext_lazy("This is not a link to a public web page or file. Copy it again, or upload the file.")
CLAIMS = ("post_url", "author", "posted_at", "title")
MAX_CLAIM_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Link:
    """A link that may be fetched: as given, and by what it is known again."""

    url: str
    key: str


@tells_judgement("link")
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
) -> tuple[Analysis, bool]:
    """Accept the video or photo at a link for examination: the one way in for links.

    `cut` is the part of a video to examine. `claims` are what the caller knows of the origin (``post_url``,
    ``author``, ``posted_at``, ``title``), kept as that. With `kind`, only a file of that kind will do. The rest is as
    in :func:`media_analysis.services.submit_media`.

    Returns at once an analysis that survives whatever is killed, and whether this call made it. Its file is fetched
    later; if there is none to be had, it fails and what was spent is given back. What the same owner has had examined
    by this link before, or is having, is the answer without anything spent: see :func:`find_earlier`.

    Raises ``link_not_supported`` for an address that is not asked, ``invalid_field`` for an impossible cut,
    ``rate_limited``, ``idempotency_key_reused``, or ``unavailable`` while another request under the key may be at work.
    """
    link = read_link(url, cut)
    if earlier := _submitted_before(owner, idempotency_key, link) or find_earlier(owner, url, cut, kind):
        _note_again(earlier, owner, source, idempotency_key, case_details)
        return earlier, False
    if not limits.remaining(owner):
        raise services.daily_limit_reached(owner)
    parts = {"cut_start": cut.start, "cut_end": cut.end} if cut else {}
    origin: dict[str, Any] = {"url": link.url, "key": link.key, "wanted_kind": kind or "", **parts}
    asked: dict[str, Any] = {"owner": owner, "source": source, "key": idempotency_key, "case_details": case_details}
    # Without a turn where what took it is no answer: broken off, failed by now, or another account's.
    for turn in (_turn_of(owner, link, kind), None):
        try:
            return _accept(LinkSource(**origin, turn=turn, claims=_clean_claims(claims or {})), **asked), True
        except (IntegrityError, limits.DailyLimitReached) as error:
            # Of two that came at the same time, the second gets what the first made.
            if turn and (faster := LinkSource.objects.filter(turn=turn).select_related("media").first()):
                services.first_analysis(faster.media)
            if earlier := _submitted_before(owner, idempotency_key, link) or find_earlier(owner, url, cut, kind):
                _note_again(earlier, owner, source, idempotency_key, case_details)
                return earlier, False
            if isinstance(error, limits.DailyLimitReached):
                raise services.daily_limit_reached(owner) from error
    # It was not the turn that is taken, but the key, by a file that is being deleted just now.
    raise services.under_way()


def _accept(
    link: LinkSource, *, owner: User, source: Submission.Source, key: str, case_details: Mapping[str, Any] | None
) -> Analysis:
    """Write down all rows of a link, or none.

    Raises :class:`limits.DailyLimitReached`, and IntegrityError for a turn or a key that is taken.
    """
    media_id, analysis_id = new_public_id(), new_public_id()
    try:
        with transaction.atomic():
            limits.spend(owner, analysis_id)
            media = Media.objects.create(
                public_id=media_id,
                owner=owner,
                # Until it is known; pages show it.
                kind=link.wanted_kind or Media.Kind.VIDEO,
                original_name=provisional_name(link.url),
                **NO_FILE,
            )
            link.media = media
            link.save(force_insert=True)
            submission = Submission.objects.create(
                media=media, submitted_by=owner, source=source, idempotency_key=key or None
            )
            if case_details and any(case_details.values()):
                CaseDetails.objects.create(submission=submission, **case_details)
            received: dict[str, str | int] = {"source": str(source), "link": link.url, "analysis": analysis_id}
            custody.record(media_id, custody.Event.RECEIVED, actor=owner, **received)
            # The last row: without it the link was never accepted, where transactions mean nothing.
            return Analysis.objects.create(public_id=analysis_id, media=media, stage=Analysis.Stage.FETCHING, lane="")
    except BaseException:
        # Where transactions mean nothing, what was written and spent has to be undone by hand.
        Media.objects.filter(public_id=media_id, file="").delete()
        limits.give_back(analysis_id)
        raise


# Of the origin, what goes into the custody log too.
NOTED = ("canonical_url", "server_address", "fetched_with", "whole_sha256")
# Of what waits longest: several processes may look at the same moment.
CLAIM_AMONG = 8
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
        check_cut(cut)
    return Link(url=url, key=key_of(url, cut))


def find_earlier(owner: User, url: str, cut: Cut | None = None, kind: Media.Kind | None = None) -> Analysis | None:
    """What this owner had, or is having, examined by this link; None if nothing, or if it failed.

    Only their own: that somebody else examined a video is nobody's business. Raises as :func:`read_link` does.
    """
    key = read_link(url, cut).key
    files = Media.objects.filter(Q(link__key=key) | Q(link__canonical_key=key), owner=owner, deleted_at__isnull=True)
    analyses = selectors.standing(Analysis.objects.select_related("media")).filter(
        media__in=selectors.read_keys(files),
        status__in=[Analysis.Status.QUEUED, Analysis.Status.RUNNING, Analysis.Status.DONE],
    )
    if kind:
        analyses = analyses.filter(media__kind=kind)
    return analyses.order_by("-created_at", "-id").first()


def _turn_of(owner: User, link: Link, kind: Media.Kind | None) -> str:
    """The same for all requests of an owner for one link, until what came of it is no answer any more: a digest."""
    over = LinkSource.objects.filter(key=link.key, media__owner=owner).filter(
        Q(media__analyses__status=Analysis.Status.FAILED) | Q(media__deleted_at__isnull=False)
    )
    last = over.order_by("-media__created_at", "-pk").values_list("media__public_id", flat=True).first()
    return hashlib.sha256(f"{owner.public_id} {link.key} {kind or ''} {last or ''}".encode()).hexdigest()


def cut_of(link: LinkSource) -> Cut | None:
    """The part of the video that was asked for; None for all of it."""
    return Cut(link.cut_start, link.cut_end) if link.cut_start is not None and link.cut_end is not None else None


def claim_waiting() -> Analysis | None:
    """Take the analysis whose link has waited longest for this process. None if none waits."""
    waiting = _to_fetch().filter(claim_token="")
    for pk in list(waiting.order_by("created_at").values_list("pk", flat=True)[:CLAIM_AMONG]):
        token = new_public_id()
        now = clock.now()
        # No condition on another table: that would be no single update on MongoDB.
        claimed = Analysis.objects.filter(
            pk=pk, status=Analysis.Status.QUEUED, stage=Analysis.Stage.FETCHING, claim_token=""
        ).update(
            claim_token=token,
            worker=f"{socket.gethostname()}:{os.getpid()}",
            attempts=F("attempts") + 1,
            progress=0,
            heartbeat_at=now,
        )
        if claimed:
            rows = Analysis.objects.select_related("media__link", "media__owner")
            return rows.filter(pk=pk, claim_token=token).first()
    return None


def report_progress(analysis: Analysis, percent: int | None = None) -> bool:
    """A sign of life, and how far it is if that is known. False once the analysis was taken from this try, or deleted.

    100 is kept for a finished analysis.
    """
    fields = {} if percent is None else {"progress": min(max(percent, 0), 99)}
    if not Media.objects.filter(pk=analysis.media_id, deleted_at__isnull=True).exists():
        return False
    return bool(_owned(analysis).update(heartbeat_at=clock.now(), **fields))


def note_origin(analysis: Analysis, *, name: str = "", **origin: Any) -> None:
    """Keep what is known of where the file comes from, fields of :class:`LinkSource`, and its name."""
    if url := origin.get("canonical_url"):
        origin["canonical_key"] = key_of(url, cut_of(analysis.media.link))
    LinkSource.objects.filter(media_id=analysis.media_id).update(**origin)
    if name:
        Media.objects.filter(pk=analysis.media_id, file="").update(original_name=name_of(name))


class Lost(Exception):
    """The analysis was taken from this try, or deleted."""


def finish_fetch(analysis: Analysis, staged: StagedFile, info: MediaInfo, **origin: Any) -> None:
    """The file is here: keep it, and have it examined, or give the result that the same bytes had before.

    ``origin`` is as in :func:`note_origin`, with ``fetched_at``. Raises :class:`Lost`; then nothing is kept.
    """
    media = analysis.media
    # Who was taken for lost and is late must not touch what the next try has kept.
    if not report_progress(analysis):
        raise Lost
    # What an earlier try that was killed in between may have left.
    services.discard_stored(media)
    name = services.store_file(staged, media.public_id)
    try:
        with transaction.atomic():
            note_origin(analysis, problem="", **origin)
            kept = Media.objects.filter(pk=media.pk, file="", deleted_at__isnull=True).update(
                file=name,
                original_name=staged.name,
                size=staged.size,
                sha256=staged.sha256,
                md5=staged.md5,
                **services.file_facts(info),
            )
            if not kept:
                raise Lost
            known: dict[str, Any] = {key: str(value) for key, value in origin.items() if key in NOTED and value}
            custody.record(
                media.public_id,
                custody.Event.HASHED,
                sha256=staged.sha256,
                md5=staged.md5,
                size=staged.size,
                **known,
            )
            # Last, so that nobody examines a file before all of it is written down.
            _hand_over(analysis)
    except BaseException:
        if not Media.objects.filter(pk=media.pk).exists():
            media_storage().remove_folder(f"media/{media.public_id}")
        # Where transactions mean nothing: not if the row names it. What else is there, another try may have kept.
        elif not Media.objects.filter(pk=media.pk, file=name).exists():
            default_storage.delete(name)
        raise
    media.refresh_from_db()
    if (earlier := _same_bytes(media)) is None or not services.adopt_result(analysis, earlier):
        services.enqueue(analysis)


def fail_fetch(analysis: Analysis, code: Code, problem: str = "") -> bool:
    """There is no file to be had: the analysis fails, and what was spent on it is given back."""
    with transaction.atomic():
        LinkSource.objects.filter(media_id=analysis.media_id).update(problem=problem)
        failed = _owned(analysis).update(
            status=Analysis.Status.FAILED,
            stage="",
            error_code=code,
            claim_token="",
            finished_at=timezone.now(),
        )
        if failed:
            custody.record(
                analysis.media.public_id,
                custody.Event.FAILED,
                analysis=analysis.public_id,
                error=str(code),
                problem=problem,
            )
            limits.give_back(analysis.public_id)
    if failed:
        analysis_finished.send_robust(sender=Analysis, pk=analysis.pk)
    return bool(failed)


def release_fetch(analysis: Analysis, *, broken: bool) -> None:
    """Let go of a link: for the next to take, or, if it was `broken` off for the last time allowed, to fail."""
    if broken and analysis.attempts >= settings.SENTINEL_MAX_ATTEMPTS:
        fail_fetch(analysis, Code.INTERNAL_ERROR)
        return
    attempts = analysis.attempts if broken else max(analysis.attempts - 1, 0)
    _owned(analysis).update(claim_token="", progress=0, attempts=attempts)


def recover_lost() -> int:
    """Take up the links that killed workers had in hand; returns how many."""
    lost_since = clock.now() - timedelta(seconds=settings.SENTINEL_STALLED_AFTER_SECONDS)
    lost = _to_fetch().exclude(claim_token="").filter(heartbeat_at__lt=lost_since)
    recovered = 0
    for analysis in lost.select_related("media"):
        logger.warning("Analysis %s lost the worker %s that fetched its link", analysis, analysis.worker)
        release_fetch(analysis, broken=True)
        recovered += 1
    return recovered


def _to_fetch() -> QuerySet[Analysis]:
    return Analysis.objects.filter(
        status=Analysis.Status.QUEUED, stage=Analysis.Stage.FETCHING, media__deleted_at__isnull=True
    )


def _owned(analysis: Analysis) -> QuerySet[Analysis]:
    """The row, as long as it still belongs to the try that ``analysis`` was claimed for."""
    return Analysis.objects.filter(
        pk=analysis.pk,
        status=Analysis.Status.QUEUED,
        stage=Analysis.Stage.FETCHING,
        claim_token=analysis.claim_token,
    )


def hand_over(analysis: Analysis) -> None:
    """Have a file examined that is here already: of a try that was killed after it had kept it. Raises Lost."""
    media = analysis.media
    # It was killed where transactions mean nothing, and maybe before the log.
    custody.make_up(
        media.public_id, custody.Event.HASHED, key="sha256", sha256=media.sha256, md5=media.md5, size=media.size
    )
    _hand_over(analysis)
    services.enqueue(analysis)


def _hand_over(analysis: Analysis) -> None:
    submission = Submission.objects.filter(media_id=analysis.media_id).order_by("pk").first()
    # Only now it begins to wait for a worker.
    waiting = scheduling.place(analysis.media.owner, submission.source if submission else "")
    handed = _owned(analysis).update(
        stage="", claim_token="", progress=0, attempts=0, worker="", heartbeat_at=None, **waiting
    )
    if not handed:
        raise Lost
    for name, value in waiting.items():
        setattr(analysis, name, value)


def _same_bytes(media: Media) -> Analysis | None:
    """The owner's latest result on the very same file."""
    files = Media.objects.filter(owner_id=media.owner_id, sha256=media.sha256, deleted_at__isnull=True)
    # "iexact" keeps SQLite from the index on the status, by which it would read everybody's.
    done = Analysis.objects.filter(
        media__in=selectors.read_keys(files.exclude(pk=media.pk)), status__iexact=Analysis.Status.DONE
    )
    return done.order_by("-finished_at").first()


def check_cut(cut: Cut) -> None:
    """Raises ``invalid_field`` for a part that no video can have, or that is longer than may be examined."""
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
    """The analysis that came of this key. Raises ``idempotency_key_reused`` if that was of something else, and as
    :func:`media_analysis.services.accepted_as` does.
    """
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
    return services.accepted_as(submission.media)


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

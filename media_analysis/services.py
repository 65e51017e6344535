"""Everything that changes media and analyses. Nothing else writes them.

An analysis moves QUEUED → RUNNING → DONE or FAILED, each step by one conditional update of its row: whoever finds the
row no longer in the state it expects has lost it and stops. That holds on any database, needs no transaction
over several rows, and makes a second delivery of the same job harmless. Which one is next, `scheduling` says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from accounts import clock, correlation, limits
from accounts.errors import TEXTS, Code, SentinelError
from accounts.ids import new_public_id
from accounts.models import User
from accounts.outages import insist, is_outage
from media_analysis import custody, evidence, health, queue_messages, scheduling, validators
from media_analysis.models import Analysis, CaseDetails, DeletionReceipt, LinkSource, Media, Submission
from media_analysis.signals import analysis_finished, tells_judgement
from media_analysis.storage import StorageAway, media_storage
from media_analysis.uploads import StagedFile
from ml import __version__
from ml.contracts import MediaInfo, MediaKind

logger = logging.getLogger(__name__)

# Everything found, but the pictures.
RESULT_FIELDS = (
    *("outcome", "reason", "fake_probability", "pooled_probability", "confidence", "real_frames", "fake_frames"),
    *("timestamps", "detector", "detector_version", "weights_sha256", "software_version", "result", "seconds"),
)

# So long a worker keeps a result that it cannot write because the database is away.
DATABASE_PATIENCE_SECONDS = 600.0
# A deletion that takes so long was interrupted.
INTERRUPTED_AFTER = timedelta(minutes=1)
# A submission's rows follow each other within milliseconds, where no transaction shows them all at once.
WRITTEN_DOWN_WITHIN_SECONDS = 2.0
# Longer than any request takes from its first row to its last.
UNDER_WAY = timedelta(minutes=2)
# After so long, whoever finds another request at work on the same comes again.
COME_AGAIN_SECONDS = 10
# Failures of ours, not of the file: what was spent on them is given back.
OUR_FAULT = {Code.MODEL_UNAVAILABLE, Code.INTERNAL_ERROR, Code.FILE_DAMAGED}
# Races that one claim may lose in a row before the worker waits for the next message.
CLAIM_ROUNDS = 5
# Of requests of one user at the same moment, so many are told apart for sure.
TURN_ROUNDS = 8

_heartbeats = clock.StandstillWatch[tuple[int, str]]()


@tells_judgement("file")
def submit_media(
    *,
    owner: User,
    source: Submission.Source,
    staged: StagedFile,
    idempotency_key: str = "",
    case_details: Mapping[str, Any] | None = None,
    media_id: str = "",
    kind: Media.Kind | None = None,
    detector: str = "",
) -> Analysis:
    """Accept one file for examination: the one way in, for every intake. With `kind`, only a file of that kind.

    `idempotency_key` is the client's name for this request: asked again under it with the same file, by however many
    callers at once, the answer is the one analysis, and nothing more is spent. `case_details` are fields of
    :class:`CaseDetails`; without any that is filled there is no case. `media_id` is the public id that the file shall
    have, where the client knows it by one already. `detector` is one of :func:`scheduling.offered_detectors`; without,
    the worker uses its own.

    Returns the queued analysis. Raises :class:`SentinelError` with the codes of
    :func:`media_analysis.validators.probe_media`, ``rate_limited``, ``storage_full``, ``storage_unavailable``,
    ``idempotency_key_reused`` for a key that named another file, or ``unavailable`` while another request under the key
    may be at work; then nothing was spent and nothing is kept. Once it returns, the file and the analysis survive
    whatever is killed.
    """
    if earlier := _submitted_before(owner, idempotency_key, staged):
        return earlier
    if not limits.remaining(owner):
        raise daily_limit_reached(owner)
    info = validators.probe_media(staged, kind=MediaKind(kind) if kind else None)
    media_id, analysis_id = media_id or new_public_id(), new_public_id()
    name = store_file(staged, media_id)
    try:
        with transaction.atomic():
            limits.spend(owner, analysis_id)
            media = Media.objects.create(
                public_id=media_id,
                owner=owner,
                original_name=staged.name,
                file=name,
                size=staged.size,
                sha256=staged.sha256,
                md5=staged.md5,
                **file_facts(info),
            )
            submission = Submission.objects.create(
                media=media, submitted_by=owner, source=source, idempotency_key=idempotency_key or None
            )
            if case_details and any(case_details.values()):
                CaseDetails.objects.create(submission=submission, **case_details)
            received: dict[str, str | int] = {"source": str(source), "size": staged.size, "analysis": analysis_id}
            custody.record(media_id, custody.Event.RECEIVED, actor=owner, **received)
            custody.record(media_id, custody.Event.HASHED, sha256=staged.sha256, md5=staged.md5)
            # The last row: without it the file was never accepted, where transactions mean nothing.
            waiting = scheduling.place(owner, source, detector=detector)
            analysis = Analysis.objects.create(public_id=analysis_id, media=media, **waiting)
            # Robust: the analysis is accepted now, and workers look for what no message told them of.
            transaction.on_commit(lambda: enqueue(analysis), robust=True)
    except BaseException as error:
        if is_outage(error):
            # Nobody knows whether the commit was done. What no row names after all, housekeeping sweeps.
            raise
        _discard(name)
        # Where transactions mean nothing, what was written and spent has to be undone by hand.
        Media.objects.filter(public_id=media_id, file=name).delete()
        limits.give_back(analysis_id)
        if isinstance(error, IntegrityError | limits.DailyLimitReached) and (
            earlier := _submitted_before(owner, idempotency_key, staged)
        ):
            return earlier
        if isinstance(error, limits.DailyLimitReached):
            raise daily_limit_reached(owner) from error
        if isinstance(error, IntegrityError) and idempotency_key:
            # Of a file that is being deleted just now, for one.
            logger.warning("A key that is taken, and leads to no analysis: %s", error)
            raise under_way() from error
        raise
    return analysis


def _submitted_before(owner: User, idempotency_key: str, staged: StagedFile) -> Analysis | None:
    """The analysis that came of this key. Raises ``idempotency_key_reused`` if that was of another file, and as
    :func:`accepted_as` does.
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
    if submission.media.sha256 != staged.sha256:
        raise SentinelError(Code.KEY_REUSED)
    return accepted_as(submission.media)


def accepted_as(media: Media) -> Analysis | None:
    """What a file was submitted for; None if its submission was interrupted, and nothing is left of it now.

    Where transactions mean nothing, its request may have written the file down, but not the analysis yet. Raises
    ``unavailable`` as long as nobody can know whether it still will.
    """
    if analysis := first_analysis(media):
        return analysis
    if media.created_at > timezone.now() - UNDER_WAY:
        raise under_way()
    undo_submission(media)
    return None


def under_way() -> SentinelError:
    """Refuses what another request, which may have been killed, has begun."""
    return SentinelError(
        Code.UNAVAILABLE, text=TEXTS[Code.UPLOAD_LOCKED], headers={"Retry-After": str(COME_AGAIN_SECONDS)}
    )


def undo_submission(media: Media) -> None:
    """Remove a file whose submission broke off before its analysis: nobody was told that it was accepted."""
    if not Media.objects.filter(pk=media.pk).exists():
        # Others did; and the file may have come again under the same id.
        return
    received = custody.events_of(media.public_id).filter(event=custody.Event.RECEIVED)
    for details in received.values_list("details", flat=True):
        if "analysis" in details:
            limits.give_back(str(details["analysis"]))
    if custody.events_of(media.public_id).exists():
        delete_media(media)
    else:
        discard_stored(media)
        media.delete()


def first_analysis(media: Media) -> Analysis | None:
    """The first of a file; of one that another request is writing down just now, as soon as it is there."""
    end = monotonic() + WRITTEN_DOWN_WITHIN_SECONDS
    analyses = media.analyses.select_related("media").order_by("created_at")
    while (analysis := analyses.first()) is None and monotonic() < end:
        sleep(0.05)
    return analysis


def daily_limit_reached(owner: User) -> SentinelError:
    wait = int((limits.next_reset() - timezone.now()).total_seconds()) + 1
    return SentinelError(Code.RATE_LIMITED, limit=limits.limit_of(owner), headers={"Retry-After": str(wait)})


def enqueue(analysis: Analysis) -> None:
    """Tell the workers of an analysis that waits from now on. Told twice, or not at all, does no harm."""
    with correlation.span("enqueue"):
        _take_turns(analysis)
        queue_messages.tell(analysis.lane, analysis.wanted_detector)


def _take_turns(analysis: Analysis) -> None:
    """Of analyses that were asked for at the same moment, each took the same turn: the later ones move on."""
    if analysis.requester is None:
        return
    waiting = Analysis.objects.filter(status=Analysis.Status.QUEUED)
    share: dict[str, Any] = {"requester": analysis.requester, "lane": analysis.lane, "priority": analysis.priority}
    for _ in range(TURN_ROUNDS):
        if not waiting.filter(**share, turn=analysis.turn, pk__lt=analysis.pk).exists():
            return
        free = scheduling.last_turn(**share) + 1
        waiting.filter(pk=analysis.pk, turn=analysis.turn).update(turn=free)
        analysis.turn = free


def claim_next(ability: scheduling.Ability | None = None) -> Analysis | None:
    """Take the waiting analysis that is next for a worker of this ability. None if there is none.

    Whoever is a moment late for one tries the one after it.
    """
    ability = ability or scheduling.own_ability()
    for _ in range(CLAIM_ROUNDS):
        pks = scheduling.candidates(ability)
        for pk in pks:
            if claimed := claim_analysis(pk):
                return claimed
        if not pks:
            return None
    return None


def claim_analysis(pk: int) -> Analysis | None:
    """Take this waiting analysis for this process. None if it is gone, done, or another's."""
    now = clock.now()
    token = new_public_id()
    waiting = Analysis.objects.filter(pk=pk, status=Analysis.Status.QUEUED).exclude(stage=Analysis.Stage.FETCHING)
    claimed = waiting.update(
        status=Analysis.Status.RUNNING,
        attempts=F("attempts") + 1,
        claim_token=token,
        worker=health.process_name(),
        stage=Analysis.Stage.READING,
        progress=0,
        started_at=now,
        heartbeat_at=now,
    )
    if not claimed:
        return None
    return Analysis.objects.select_related("media").filter(pk=pk, claim_token=token).first()


def finish_analysis(analysis: Analysis, result: dict[str, Any], pictures: Mapping[str, bytes]) -> bool:
    """Write everything found; ``result`` is :meth:`ml.contracts.AnalysisResult.to_dict`.

    False if the analysis was taken from this try, or deleted, in the meantime: then nothing is changed.
    """
    names = evidence.store(analysis, pictures)
    finished = insist(
        lambda: _write_result(analysis, result, names), seconds=DATABASE_PATIENCE_SECONDS, what=f"Analysis {analysis}"
    )
    if not finished:
        evidence.discard_try(analysis)
        return False
    # Robust: the result stands, and what a receiver could not do housekeeping makes up.
    analysis_finished.send_robust(sender=Analysis, pk=analysis.pk)
    return True


def _write_result(analysis: Analysis, result: dict[str, Any], names: list[str]) -> bool:
    now = clock.now()
    with transaction.atomic():
        finished = _owned(analysis).update(
            status=Analysis.Status.DONE,
            stage="",
            progress=100,
            outcome=result["outcome"],
            reason=result["reason"] or "",
            error_code="",
            fake_probability=result["fake_probability"],
            pooled_probability=result["pooled_probability"],
            confidence=result["confidence"],
            real_frames=result["real_frames"],
            fake_frames=result["fake_frames"],
            timestamps=result["timestamps"],
            detector=result["detector"],
            detector_version=result["detector_version"],
            weights_sha256=result["weights_sha256"],
            software_version=__version__,
            result=result,
            evidence=names,
            seconds=result["seconds"],
            claim_token="",
            finished_at=now,
        )
        if finished:
            custody.record(
                analysis.media.public_id,
                custody.Event.ANALYSED,
                analysis=analysis.public_id,
                outcome=result["outcome"],
                detector=f"{result['detector']} {result['detector_version']}",
            )
    if finished:
        return True
    # It may stand already: with a connection, the answer to a commit is lost too.
    written = Analysis.objects.filter(pk=analysis.pk, status=Analysis.Status.DONE).values_list("evidence", "seconds")
    return (names, result["seconds"]) in [(list(evidence_names), seconds) for evidence_names, seconds in written]


def adopt_result(analysis: Analysis, earlier: Analysis) -> bool:
    """Give a waiting analysis the result that the same bytes had before, with copies of its pictures.

    It costs nothing, and what is known of its link says whose result it is. False if the analysis does not wait any
    more.
    """
    copied = Analysis(public_id=analysis.public_id, claim_token=new_public_id())
    names = evidence.copy(earlier, copied)
    with transaction.atomic():
        adopted = Analysis.objects.filter(pk=analysis.pk, status=Analysis.Status.QUEUED).update(
            status=Analysis.Status.DONE,
            stage="",
            progress=100,
            evidence=names,
            finished_at=clock.now(),
            **{name: getattr(earlier, name) for name in RESULT_FIELDS},
        )
        if adopted:
            custody.record(
                analysis.media.public_id,
                custody.Event.ANALYSED,
                analysis=analysis.public_id,
                outcome=earlier.outcome,
                result_of=earlier.public_id,
            )
            link = LinkSource.objects.filter(media_id=analysis.media_id)
            link.update(same_as=earlier.public_id, same_as_at=earlier.examined_at)
            limits.give_back(analysis.public_id)
    if not adopted:
        evidence.discard_try(copied)
        return False
    analysis_finished.send_robust(sender=Analysis, pk=analysis.pk)
    return True


def fail_analysis(analysis: Analysis, code: Code) -> bool:
    """End a running analysis with a reason. What it cost is given back if the fault was ours."""
    with transaction.atomic():
        failed = _owned(analysis).update(
            status=Analysis.Status.FAILED,
            stage="",
            error_code=code,
            claim_token="",
            finished_at=clock.now(),
        )
        if failed:
            custody.record(analysis.media.public_id, custody.Event.FAILED, analysis=analysis.public_id, error=str(code))
        if failed and code in OUR_FAULT:
            limits.give_back(analysis.public_id)
    if failed:
        analysis_finished.send_robust(sender=Analysis, pk=analysis.pk)
    return bool(failed)


def release_analysis(analysis: Analysis, code: Code, *, counted: bool = True) -> None:
    """After a try that broke off: back into the queue, or, after the last try, failed with ``code``.

    One that is not `counted` had not really begun: only something that it needs was away.
    """
    if counted and analysis.attempts >= settings.SENTINEL_MAX_ATTEMPTS:
        fail_analysis(analysis, code)
        return
    attempts = analysis.attempts if counted else max(analysis.attempts - 1, 0)
    if _owned(analysis).update(status=Analysis.Status.QUEUED, stage="", progress=0, claim_token="", attempts=attempts):
        enqueue(analysis)


def give_back_running(worker: str) -> int:
    """Queue again what the processes of this worker still run, at once and as if it had not been tried.

    For a worker that has to end before they are through; they find that they have lost it. Returns how many.
    """
    running = Analysis.objects.filter(status=Analysis.Status.RUNNING, worker__startswith=worker + health.BELOW)
    given = list(running.select_related("media"))
    for analysis in given:
        release_analysis(analysis, Code.INTERNAL_ERROR, counted=False)
    return len(given)


def retry_analysis(analysis: Analysis) -> bool:
    """Queue a failed analysis again, with all its tries. False if it is not failed (any more).

    One whose file could not be fetched is fetched again first. It costs one of today's classifications only if its
    failure had given that back; what examines a file again costs nothing, and goes on doing so when nobody else waits.
    Raises ``rate_limited``.
    """
    if not Analysis.objects.filter(pk=analysis.pk, status=Analysis.Status.FAILED).exists():
        # A click on a page from before costs nothing, also where what it is about had cost nothing.
        return False
    has_file, owner = bool(analysis.media.file), analysis.media.owner
    again = Analysis.Priority.AGAIN if analysis.priority == Analysis.Priority.AGAIN else None
    try:
        if again is None:
            limits.spend(owner, analysis.public_id)
    except limits.DailyLimitReached as error:
        raise daily_limit_reached(owner) from error
    detector = scheduling.still_offered(analysis.wanted_detector)
    waiting = scheduling.place(owner, detector=detector, priority=again)
    queued = Analysis.objects.filter(pk=analysis.pk, status=Analysis.Status.FAILED).update(
        status=Analysis.Status.QUEUED,
        stage="" if has_file else Analysis.Stage.FETCHING,
        progress=0,
        attempts=0,
        error_code="",
        finished_at=None,
        announced_at=None,
        started_at=None,
        heartbeat_at=None,
        **(waiting if has_file else {**waiting, "lane": ""}),
    )
    if queued and has_file:
        analysis.refresh_from_db()
        enqueue(analysis)
    return bool(queued)


def examine_again(media: Media, *, requester: User, detector: str = "") -> Analysis | None:
    """Have a file examined once more, with the detector that is used now, when nobody else waits.

    The results that it has stay; it costs nothing, and nobody is notified. None for a file that is deleted, or not
    there yet, or being examined anyway.
    """
    unfinished = media.analyses.filter(status__in=[Analysis.Status.QUEUED, Analysis.Status.RUNNING])
    if media.deleted_at or not media.file or unfinished.exists():
        return None
    waiting = scheduling.place(requester, detector=detector, priority=Analysis.Priority.AGAIN)
    analysis = Analysis.objects.create(media=media, announced_at=timezone.now(), **waiting)
    transaction.on_commit(lambda: enqueue(analysis), robust=True)
    return analysis


def delete_media(media: Media, *, actor: User | None = None, rule: str = "") -> DeletionReceipt:
    """Remove a file with everything made from it; returns the receipt with its hashes, which stays.

    `rule` names the rule of the site by which it goes, where nobody asked for it.

    Marked first, so that it is gone for its owner at once and housekeeping can complete what an interruption leaves.
    """
    now = timezone.now()
    with transaction.atomic():
        if Media.objects.filter(pk=media.pk, deleted_at__isnull=True).update(deleted_at=now):
            why = {"rule": rule} if rule else {}
            custody.record(media.public_id, custody.Event.DELETED, actor=actor, sha256=media.sha256, **why)
        elif media.deleted_at and media.deleted_at < now - INTERRUPTED_AFTER:
            custody.make_up(media.public_id, custody.Event.DELETED, sha256=media.sha256)
    receipt, _ = DeletionReceipt.objects.get_or_create(
        media_public_id=media.public_id,
        defaults={
            "owner_id": media.owner_id,
            "sha256": media.sha256,
            "md5": media.md5,
            "size": media.size,
            "received_at": media.created_at,
            "deleted_at": now,
        },
    )
    try:
        for analysis in media.analyses.all():
            evidence.discard_all(analysis)
        discard_stored(media)
    except StorageAway:
        # Nobody sees it any more, and housekeeping removes the rest once the storage is back.
        logger.warning("The files of media %s are still to be removed: the storage is away", media.public_id)
        return receipt
    media.delete()
    return receipt


def requeue_stalled() -> int:
    """Rescue analyses that nobody works on any more; returns how many.

    A running one whose heartbeat has stood still for as long as this process watched it, whatever any clock says, has
    lost its worker: it goes back into the queue, or fails after its last try.
    """
    running = Analysis.objects.filter(status=Analysis.Status.RUNNING).values_list("pk", "claim_token", "heartbeat_at")
    signs = (((pk, token), heartbeat) for pk, token, heartbeat in running)
    stalled = _heartbeats.still_for(settings.SENTINEL_STALLED_AFTER_SECONDS, signs)
    for pk, token in stalled:
        analysis = Analysis.objects.select_related("media").filter(pk=pk, claim_token=token).first()
        if analysis is not None:
            logger.warning("Analysis %s lost its worker %s on try %s", analysis, analysis.worker, analysis.attempts)
            release_analysis(analysis, Code.INTERNAL_ERROR)
    return len(stalled)


def complete_deletions() -> int:
    """Finish deletions that were interrupted; returns how many."""
    before = timezone.now() - INTERRUPTED_AFTER
    interrupted = list(Media.objects.filter(deleted_at__lt=before))
    for media in interrupted:
        try:
            delete_media(media)
        except OSError:
            # A folder that cannot be removed here keeps no other file from being deleted.
            logger.exception("What is left of media %s could not be removed", media.public_id)
    return len(interrupted) - Media.objects.filter(pk__in=[media.pk for media in interrupted]).count()


def discard_stored(media: Media) -> None:
    """Remove what the storage has of a file, if anything: of one still to be fetched, a killed try may have left it."""
    if media.file:
        default_storage.delete(str(media.file))
    media_storage().remove_folder(f"media/{media.public_id}")


def _discard(name: str) -> None:
    """Delete a file that no row names; if the storage went away meanwhile, housekeeping will."""
    try:
        default_storage.delete(name)
    except StorageAway:
        logger.warning("%s is left in the storage: it went away", name)


def _owned(analysis: Analysis) -> Any:
    """The row, as long as it still belongs to the try that ``analysis`` was claimed for."""
    return Analysis.objects.filter(
        pk=analysis.pk,
        status=Analysis.Status.RUNNING,
        claim_token=analysis.claim_token,
    )


def store_file(staged: StagedFile, media_id: str) -> str:
    """Take a file over into the storage; returns its name there. Raises ``storage_full``, ``storage_unavailable``."""
    return media_storage().put_file(f"media/{media_id}/original", staged.path, staged.sha256)


def file_facts(info: MediaInfo) -> dict[str, Any]:
    """What the decoder says of a file, as columns of :class:`Media`."""
    return {
        "kind": info.kind.value,
        "container": info.container,
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "rotation": info.rotation,
        "duration": info.duration,
        "frame_rate": info.frame_rate,
        "frame_count": info.frame_count,
        "bit_rate": info.bit_rate,
        "has_audio": info.has_audio,
    }

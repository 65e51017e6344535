"""Sending what ``services`` wrote down: each answer once, whatever is killed.

X has no key by which it would know a request again. So the row says that it is about to go out, then it goes out, then
the row says that it is sent. Where the second is missing nobody knows, and X is asked first: a reply is known by the
post that it replies to, a direct message by the reference in it.

Every step is one conditional update of the row, so that two bots by mistake send nothing twice.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.ids import new_public_id
from twitterbot import budget, people
from twitterbot.client import XClient, XError
from twitterbot.models import BotState, Mention, Reply

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 8
LONGEST_WAIT_SECONDS = 3600.0
# A day later nobody wants an answer any more, and it would look as if nobody had asked.
OVERDUE_AFTER = timedelta(days=1)


def send_due(client: XClient, me: int, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Send what is due, the oldest first, until nothing is or it is told to stop; returns how many were dealt with."""
    recover_lost()
    done = 0
    for kind, column in ((Reply.Kind.REPLY, "reply_after"), (Reply.Kind.DIRECT, "message_after")):
        while not stopping() and _may_send(kind, column) and (reply := claim_due(kind)):
            deliver(client, me, reply, column)
            done += 1
    return done


def claim_due(kind: Reply.Kind) -> Reply | None:
    """Take the answer of this kind that is due longest for this process. None if none is due."""
    now = timezone.now()
    due = Reply.objects.filter(kind=kind, status=Reply.Status.WAITING, next_try_at__lte=now)
    for pk in list(due.order_by("next_try_at", "pk").values_list("pk", flat=True)[:5]):
        token = new_public_id()
        claimed = due.filter(pk=pk).update(
            status=Reply.Status.SENDING, attempts=F("attempts") + 1, claim_token=token, claimed_at=now
        )
        if claimed:
            rows = Reply.objects.select_related("mention__account__user")
            return rows.filter(pk=pk, claim_token=token).first()
    return None


def deliver(client: XClient, me: int, reply: Reply, column: str) -> None:
    """Send a claimed answer and write down how it went."""
    try:
        if reply.handed_over_at:
            if (seconds := _too_early_to_look(reply.handed_over_at)) > 0:
                _wait(reply, reply.error, seconds, counts=False)
                return
            if found := find(client, me, reply):
                _finish(reply, Reply.Status.SENT, sent_id=found)
                return
        if not _wanted(reply):
            _finish(reply, Reply.Status.DROPPED)
            return
        budget.spend_post()
        if not _owned(reply).update(handed_over_at=timezone.now()):
            return  # Taken for lost, and another process has it.
        sent_id = _send(client, reply)
    except budget.BudgetSpent as spent:
        # A new month begins in days: look again now and then.
        _wait(reply, f"no_{spent.what}_left", LONGEST_WAIT_SECONDS, counts=False)
    except XError as error:
        _note_failure(reply, column, error)
    except DatabaseError:
        raise
    except Exception:
        # It must not come first for ever and keep all others waiting.
        logger.exception("Answer %s broke off on try %s", reply.public_id, reply.attempts)
        _note_failure(reply, column, XError("internal_error", in_doubt=True))
    else:
        _finish(reply, Reply.Status.SENT, sent_id=sent_id)


def find(client: XClient, me: int, reply: Reply) -> int | None:
    """The id that an answer has on X if it got there, though nobody told us so. Raises XError or BudgetSpent."""
    budget.require_reads()
    if reply.kind == Reply.Kind.DIRECT:
        messages = client.messages_with(reply.mention.account.twitter_id)
        return next((one.id for one in messages if one.sender_id == me and reply.reference in one.text), None)
    token = ""
    while True:
        page = client.own_posts(me, since_id=reply.mention.tweet_id, token=token)
        if found := next((post.id for post in page.posts if post.replied_to == reply.mention.tweet_id), None):
            return found
        token = page.next_token
        if not token:
            return None
        budget.require_reads()


def recover_lost() -> int:
    """Take up what a killed process had in hand; returns how much. Whether it went out is asked before it goes."""
    # No request takes longer than the time-out, and an answer is at most two away from its claim.
    lost_since = timezone.now() - timedelta(seconds=3 * settings.TWITTER_TIMEOUT_SECONDS)
    lost = Reply.objects.filter(status=Reply.Status.SENDING, claimed_at__lt=lost_since)
    return lost.update(status=Reply.Status.WAITING, claim_token="", error="sender_lost")


def next_due() -> datetime | None:
    """When there is something to send next."""
    waiting = Reply.objects.filter(status=Reply.Status.WAITING)
    return waiting.order_by("next_try_at").values_list("next_try_at", flat=True).first()


def _send(client: XClient, reply: Reply) -> int:
    mention = reply.mention
    if reply.kind == Reply.Kind.REPLY:
        return client.reply(reply.text, to=mention.tweet_id, without=mention.bystanders)
    return client.direct_message(reply.text, to=mention.account.twitter_id)


def _may_send(kind: Reply.Kind, column: str) -> bool:
    """Whether X, our own limit an hour and the administrators let anything of this kind go out now."""
    paused, after = BotState.objects.values_list("paused", column).get(name="bot")
    return not paused and (after is None or after <= timezone.now()) and budget.may_send(kind)


def _too_early_to_look(handed_over_at: datetime) -> float:
    """In how many seconds X surely shows what it has: not before the request that sent it is over."""
    wait = max(settings.TWITTER_DOUBT_SECONDS, settings.TWITTER_TIMEOUT_SECONDS + 1.0)
    return float(wait - (timezone.now() - handed_over_at).total_seconds())


def _wanted(reply: Reply) -> bool:
    """Whether somebody still waits for it. That somebody was told how to be left alone is said in any case."""
    mention = reply.mention
    if mention.account.blocked or reply.created_at < timezone.now() - OVERDUE_AFTER:
        return False
    return bool(mention.command) or people.may_be_answered(mention.account)


def _note_failure(reply: Reply, column: str, error: XError) -> None:
    """Write down that it was not sent, or that nobody knows, and when to go on."""
    logger.warning("Answer %s (%s) on try %s: %s", reply.public_id, reply.kind, reply.attempts, error.code)
    if error.retry_at:
        # For all of its kind: X counts them together.
        BotState.objects.filter(name="bot").update(**{column: error.retry_at, "last_error": error.code})
    if not error.in_doubt:
        # It certainly did not go out, unless an earlier try did.
        _owned(reply).update(handed_over_at=reply.handed_over_at)
    if _made_acceptable(reply, error):
        _wait(reply, error.code, 1.0)
    elif error.permanent:
        _finish(reply, Reply.Status.FAILED, error=error.code)
    elif error.retry_at:
        _wait(reply, error.code, max((error.retry_at - timezone.now()).total_seconds(), 0.0), counts=False)
    elif reply.attempts >= MAX_ATTEMPTS:
        _finish(reply, Reply.Status.FAILED, error=error.code)
    else:
        backoff = settings.TWITTER_RETRY_SECONDS * 2.0 ** (reply.attempts - 1) * random.uniform(0.5, 1.0)
        _wait(reply, error.code, backoff)


def _made_acceptable(reply: Reply, error: XError) -> bool:
    """Whether X takes it on the next try, for something was changed that it refused."""
    if reply.kind != Reply.Kind.REPLY:
        return False
    if error.code == "duplicate":
        mark = f" ({reply.reference})"
        # In doubt it is the earlier try that this one repeats: on the next, X is asked for that again.
        return bool(reply.handed_over_at) or (
            not reply.text.endswith(mark) and bool(_owned(reply).update(text=reply.text + mark))
        )
    if error.code == "status_400" and reply.mention.bystanders:
        # The others named in it may be gone from the conversation, or from X.
        return bool(Mention.objects.filter(pk=reply.mention_id).update(bystanders=[]))
    return False


def _wait(reply: Reply, error: str, seconds: float, *, counts: bool = True) -> None:
    later = timezone.now() + timedelta(seconds=min(seconds, 24 * LONGEST_WAIT_SECONDS))
    _owned(reply).update(
        status=Reply.Status.WAITING,
        claim_token="",
        error=error,
        next_try_at=later,
        attempts=reply.attempts if counts else max(reply.attempts - 1, 0),
    )


def _finish(reply: Reply, status: Reply.Status, *, sent_id: int | None = None, error: str = "") -> None:
    sent = status == Reply.Status.SENT
    changes = {"status": status, "claim_token": "", "error": error, "sent_id": sent_id}
    # A code is nobody's business but theirs.
    _owned(reply).update(**changes, sent_at=timezone.now() if sent else None, **({"text": ""} if reply.secret else {}))


def _owned(reply: Reply) -> QuerySet[Reply]:
    """The row, as long as it still belongs to the try that ``reply`` was claimed for."""
    return Reply.objects.filter(pk=reply.pk, status=Reply.Status.SENDING, claim_token=reply.claim_token)

"""Mentions: taking them in, deciding what is to be done with each, and writing down what they are answered.

Nothing is sent here: an answer is a row of :class:`twitterbot.models.Reply`, which ``outbox`` sends. A mention moves
NEW → EXAMINING → ANSWERED, or from NEW to REFUSED or IGNORED, each step by one conditional update after everything that
belongs to it is written: whoever is killed in between does the step again and finds its rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone, translation

from accounts.errors import Code, SentinelError
from media_analysis import cards, links
from media_analysis.models import Analysis, Submission
from twitterbot import budget, linking, people, reading, wording
from twitterbot.models import BotState, Mention, Reply, new_reference

if TYPE_CHECKING:
    from twitterbot.client import Page, XClient

logger = logging.getLogger(__name__)

# At its very first start the bot answers what is no older than this.
LOOK_BACK = timedelta(hours=1)
HOUR = timedelta(hours=1)

TOO_OFTEN = "too_often"
CONVERSATION_FULL = "conversation_full"
NOT_WANTED = "not_wanted"
DELETED = "deleted"


def state() -> BotState:
    """How far the bot is."""
    try:
        with transaction.atomic():
            return BotState.objects.get_or_create(name="bot")[0]
    except IntegrityError:
        return BotState.objects.get(name="bot")


def take_in_mentions(client: XClient, me: int) -> int:
    """Write down every mention that came since the last time; returns how many were new.

    The place to go on from moves only after the last page: what broke off is read again from its start, and what is
    written down already is left as it is. Raises XError or BudgetSpent.
    """
    known = state()
    newest, added = known.since_id or 0, 0
    for page in pages(client, me, since_id=known.since_id, since=known.started_at - LOOK_BACK):
        for post in reversed(page.posts):
            added += add_mention(reading.read(post, page, me=me))
            newest = max(newest, post.id)
    now = timezone.now()
    BotState.objects.filter(pk=known.pk).update(polled_at=now, failures=0, read_after=None)
    if newest:
        older = Q(since_id__isnull=True) | Q(since_id__lt=newest)
        BotState.objects.filter(older, pk=known.pk).update(since_id=newest)
    return added


def pages(client: XClient, me: int, *, since_id: int | None, since: datetime) -> Iterator[Page]:
    """The pages of new mentions, each with all media of the posts that it speaks of."""
    token = ""
    while True:
        budget.require_reads()
        page = client.mentions(me, since_id=since_id, since=since, token=token)
        # X does not always send the media of a post that is replied to or quoted.
        related = {number for post in page.posts for number in (post.replied_to, post.quoted) if number}
        bare = [
            number for number in related if number in page.others and reading.lacks_media(page.others[number], page)
        ]
        for first in range(0, len(bare), 100):
            budget.require_reads()
            page.add(client.posts(bare[first : first + 100]))
        yield page
        token = page.next_token
        if not token:
            return


def add_mention(request: reading.Request) -> bool:
    """Write one mention down; False if it was before."""
    post = request.post
    # An edited post comes again under another id.
    known = Mention.objects.filter(tweet_id__in=[post.id, *post.versions])
    if request.ignored == reading.OWN_POST or known.exists():
        return False
    account = people.account_of(request.author)
    try:
        with transaction.atomic():
            Mention.objects.create(
                tweet_id=post.id,
                account=account,
                conversation_id=post.conversation_id,
                language=request.language,
                posted_at=post.posted_at,
                command=request.command,
                media_url=request.media_url,
                claims=request.claims,
                bystanders=request.bystanders,
                problem=request.ignored or request.problem,
                status=Mention.Status.IGNORED if request.ignored else Mention.Status.NEW,
            )
    except IntegrityError:
        return False
    return True


def handle_new(limit: int = 100) -> int:
    """Decide about the oldest new mentions; returns how many."""
    waiting = Mention.objects.filter(status=Mention.Status.NEW).order_by("tweet_id")
    numbers = list(waiting.values_list("pk", flat=True)[:limit])
    left = 0
    for number in numbers:
        # One by one: what somebody wrote first decides about what they wrote next.
        mention = Mention.objects.select_related("account__user").get(pk=number)
        with _alone(mention):
            left += not handle(mention)
    return len(numbers) - left


def handle(mention: Mention) -> bool:
    """Have the media examined, or write down why not. False if that has to wait for a later round."""
    account = mention.account
    if mention.command:
        _obey(mention)
    elif reason := _reason_to_ignore(mention):
        _close(mention, Mention.Status.IGNORED, problem=reason)
    elif mention.problem:
        _refuse(mention, mention.problem)
    else:
        user = people.user_of(account)
        try:
            analysis, _is_new = links.submit_link(
                owner=user,
                source=Submission.Source.BOT,
                url=mention.media_url,
                idempotency_key=f"{Submission.TWEET_KEY}{mention.tweet_id}",
                claims=mention.claims,
            )
        except SentinelError as error:
            # Of what a bot that was killed had begun, nobody knows yet whether another one is at work on it.
            if error.code is Code.UNAVAILABLE:
                return False
            _refuse(mention, str(error.code))
            return True
        Mention.objects.filter(pk=mention.pk, status=Mention.Status.NEW).update(
            status=Mention.Status.EXAMINING, analysis=analysis
        )
    return True


def collect_finished(limit: int = 100) -> int:
    """Write the answers to mentions whose examination ended; returns how many."""
    examining = Mention.objects.filter(status=Mention.Status.EXAMINING)
    ended = examining.filter(
        Q(analysis__isnull=True)
        | Q(analysis__media__deleted_at__isnull=False)
        | Q(analysis__status__in=[Analysis.Status.DONE, Analysis.Status.FAILED])
    )
    rows = ended.select_related("account__user", "analysis__media__owner", "analysis__media__link")
    mentions = list(rows.order_by("tweet_id")[:limit])
    for mention in mentions:
        with _alone(mention):
            answer(mention)
    return len(mentions)


def answer(mention: Mention) -> None:
    """Write the answer to one mention: a reply and a direct message, or only the latter if the examination failed."""
    analysis = mention.analysis
    if analysis is None or analysis.media.deleted_at:
        _close(mention, Mention.Status.IGNORED, problem=DELETED)
        return
    if not people.may_be_answered(mention.account):
        _close(mention, Mention.Status.IGNORED, problem=NOT_WANTED)
        return
    url = mention.claims.get("post_url") or reading.post_url(mention.tweet_id)
    if analysis.status == Analysis.Status.FAILED:
        with translation.override(_language_of_messages(mention)):
            _write_message(mention, wording.failure_text(analysis, post_url=url))
        _close(mention, Mention.Status.REFUSED, problem=analysis.error_code)
        return
    link = public_link(analysis)
    with translation.override(mention.language):
        _write(mention, Reply.Kind.REPLY, wording.result_reply(analysis, link=link, claims=mention.claims))
    with translation.override(_language_of_messages(mention)):
        details = wording.result_details(analysis, post_url=url, link=link, claims=mention.claims)
        _write_message(mention, details)
    _close(mention, Mention.Status.ANSWERED)


def public_link(analysis: Analysis) -> str:
    """Make the result public and return the address of its card; empty where there is none."""
    if not settings.SENTINEL_URL:
        return ""
    try:
        card = cards.publish(analysis, by=analysis.media.owner)
    except SentinelError as error:
        logger.warning("The result of %s is not made public: %s", analysis, error.code)
        return ""
    return f"{settings.SENTINEL_URL}{reverse('reports:card', args=[card.public_id])}"


def _obey(mention: Mention) -> None:
    account = mention.account
    stopped = bool(account.opted_out_at)
    if mention.command == Mention.Command.STOP:
        # Heard in any case, though not always confirmed.
        people.opt_out(account)
    if account.blocked or (stopped and mention.command != Mention.Command.START):
        _close(mention, Mention.Status.IGNORED, problem=NOT_WANTED)
        return
    if _asks_too_often(mention):
        _close(mention, Mention.Status.IGNORED, problem=TOO_OFTEN)
        return
    with translation.override(_language_of_messages(mention)):
        if mention.command == Mention.Command.STOP:
            _write(mention, Reply.Kind.DIRECT, wording.stopped_text(), with_footer=False)
        elif mention.command == Mention.Command.START:
            people.opt_in(account)
            _write(mention, Reply.Kind.DIRECT, wording.started_text(), with_footer=False)
        elif not mention.replies.exists():
            # Asked anew, there would be a new code, and the one that is written down would hold no more.
            text = wording.code_text(linking.issue_code(account), holds=linking.HOLDS, page=linking.page_url())
            _write(mention, Reply.Kind.DIRECT, text, with_footer=False, secret=True)
    _close(mention, Mention.Status.ANSWERED)


def _reason_to_ignore(mention: Mention) -> str:
    if not people.may_be_answered(mention.account):
        return NOT_WANTED
    if _asks_too_often(mention):
        return TOO_OFTEN
    others = Mention.objects.filter(
        account=mention.account, conversation_id=mention.conversation_id, tweet_id__lt=mention.tweet_id
    )
    if 0 < settings.TWITTER_PER_CONVERSATION <= others.exclude(status=Mention.Status.IGNORED).count():
        return CONVERSATION_FULL
    return ""


def _asks_too_often(mention: Mention) -> bool:
    """Whether somebody was answered as often within the hour as they may."""
    before = Mention.objects.filter(
        account=mention.account, tweet_id__lt=mention.tweet_id, posted_at__gt=mention.posted_at - HOUR
    )
    limit: int = settings.TWITTER_HOURLY_PER_AUTHOR
    return 0 < limit <= before.exclude(status=Mention.Status.IGNORED).count()


def _refuse(mention: Mention, code: str) -> None:
    with translation.override(_language_of_messages(mention)):
        _write_message(mention, wording.problem_text(code, user=mention.account.user))
    _close(mention, Mention.Status.REFUSED, problem=code)


def _write_message(mention: Mention, text: str) -> None:
    _write(mention, Reply.Kind.DIRECT, text)


def _write(mention: Mention, kind: Reply.Kind, text: str, *, with_footer: bool = True, secret: bool = False) -> None:
    """Put an answer into the queue, unless the mention has one of this kind."""
    reference = new_reference()
    if kind == Reply.Kind.DIRECT:
        user = mention.account.user
        user = user if user and with_footer else None
        text = f"{text}\n\n{wording.footer(user=user, reference=reference, stop=with_footer)}"
    try:
        with transaction.atomic():
            Reply.objects.get_or_create(
                mention=mention, kind=kind, defaults={"text": text, "reference": reference, "secret": secret}
            )
    except IntegrityError:
        logger.info("Mention %s was answered by another process", mention)


def _close(mention: Mention, status: Mention.Status, problem: str = "") -> None:
    open_states = [Mention.Status.NEW, Mention.Status.EXAMINING]
    Mention.objects.filter(pk=mention.pk, status__in=open_states).update(status=status, problem=problem)


@contextmanager
def _alone(mention: Mention) -> Iterator[None]:
    """What goes wrong with one mention must not keep all others from being answered, again and again."""
    try:
        yield
    except DatabaseError:
        raise
    except Exception:
        logger.exception("Mention %s can't be handled", mention)
        _close(mention, Mention.Status.IGNORED, problem=str(Code.INTERNAL_ERROR))


def _language_of_messages(mention: Mention) -> str:
    """The language of the mention, unless its author has chosen one in an account of their own."""
    user = mention.account.user
    return (user.language if user else "") or mention.language or settings.LANGUAGE_CODE

"""What may be spent on X: reads and posts a month, which it bills, and answers an hour."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from twitterbot.models import MonthlyUse, Reply

HOUR = timedelta(hours=1)


class BudgetSpent(Exception):
    """This month's are used up. ``what`` is ``reads`` or ``posts``."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def this_month() -> MonthlyUse:
    """The row that counts. Months are X's: in UTC."""
    month = timezone.now().strftime("%Y-%m")
    try:
        with transaction.atomic():
            return MonthlyUse.objects.get_or_create(month=month)[0]
    except IntegrityError:
        return MonthlyUse.objects.get(month=month)


def require_reads() -> None:
    """Raises BudgetSpent if nothing more may be read this month."""
    if 0 < settings.TWITTER_MONTHLY_READS <= this_month().reads:
        raise BudgetSpent("reads")


def count_reads(count: int) -> None:
    """Write down that X answered with so many posts, users or messages."""
    MonthlyUse.objects.filter(pk=this_month().pk).update(reads=F("reads") + count, requests=F("requests") + 1)


def spend_post() -> None:
    """Take one of this month's posts. Raises BudgetSpent if there is none left."""
    uses = MonthlyUse.objects.filter(pk=this_month().pk)
    if settings.TWITTER_MONTHLY_POSTS > 0:
        uses = uses.filter(posts__lt=settings.TWITTER_MONTHLY_POSTS)
    if not uses.update(posts=F("posts") + 1, requests=F("requests") + 1):
        raise BudgetSpent("posts")


def may_send(kind: Reply.Kind) -> bool:
    """Whether this hour's limit on such answers leaves room for one more."""
    limit: int = settings.TWITTER_HOURLY_ANSWERS
    sent = Reply.objects.filter(kind=kind, sent_at__gt=timezone.now() - HOUR)
    return limit <= 0 or sent.count() < limit

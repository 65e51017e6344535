"""Everything that changes feedback: given and taken back by its owner, reviewed by staff, handed over for training.

Each change is one conditional update, so that a withdrawn consent can't be overtaken by a review or an export that
began before it.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts import limits
from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis.models import Analysis, Feedback

# Count up with every change of what the owner agrees to (templates/media_analysis/feedback_form.html).
CONSENT_VERSION = 1
CHANGES_A_DAY = 20
MAX_COMMENT_LENGTH = 2000


def require_result(analysis: Analysis) -> None:
    """Raises ``not_finished`` where there is no result to say anything of."""
    if analysis.status != Analysis.Status.DONE:
        raise SentinelError(Code.NOT_FINISHED)


def give_feedback(
    *, user: User, analysis: Analysis, opinion: Feedback.Opinion, comment: str = "", consent: bool = False
) -> Feedback:
    """Keep what the owner says of a finished analysis, in place of what they said before.

    Another opinion is reviewed anew. Without ``consent`` an earlier one ends. Raises ``not_finished`` where there is no
    result to speak of, ``too_often`` after :data:`CHANGES_A_DAY` changes of this feedback in a day.
    """
    require_result(analysis)
    if not consent:
        # Taken back even where the rest is refused for coming too often.
        withdraw_consent(user=user, analysis=analysis)
    feedback = Feedback.objects.filter(analysis=analysis, given_by=user).first()
    if feedback is None:
        try:
            with transaction.atomic():
                return _create(user, analysis, opinion, comment, consent)
        except IntegrityError:
            # A parallel request was faster: this one changes what it made.
            feedback = Feedback.objects.get(analysis=analysis, given_by=user)
    _change(feedback, opinion, comment, consent)
    feedback.refresh_from_db()
    return feedback


def _create(user: User, analysis: Analysis, opinion: Feedback.Opinion, comment: str, consent: bool) -> Feedback:
    return Feedback.objects.create(
        analysis=analysis,
        given_by=user,
        opinion=opinion,
        comment=comment,
        consent_at=timezone.now() if consent else None,
        consent_version=CONSENT_VERSION if consent else 0,
        changed_on=limits.today(),
        changes_that_day=1,
    )


def _change(feedback: Feedback, opinion: Feedback.Opinion, comment: str, consent: bool) -> None:
    now, today = timezone.now(), limits.today()
    changes: dict[str, object] = {"opinion": opinion, "comment": comment, "updated_at": now}
    if consent and (feedback.consent_at is None or feedback.consent_version != CONSENT_VERSION):
        changes |= {"consent_at": now, "consent_version": CONSENT_VERSION}
    if opinion != feedback.opinion:
        changes |= {"review": Feedback.Review.WAITING, "fake_method": "", "reviewed_by": None, "reviewed_at": None}
    mine = Feedback.objects.filter(pk=feedback.pk)
    first = mine.exclude(changed_on=today).update(**changes, changed_on=today, changes_that_day=1)
    again = mine.filter(changed_on=today, changes_that_day__lt=CHANGES_A_DAY)
    if not first and not again.update(**changes, changes_that_day=F("changes_that_day") + 1):
        raise SentinelError(Code.TOO_OFTEN)


def withdraw_consent(*, user: User, analysis: Analysis) -> bool:
    """End the permission to use the file; False if there was none. Never refused, however often it is asked for."""
    given = Feedback.objects.filter(analysis=analysis, given_by=user, consent_at__isnull=False)
    return bool(given.update(consent_at=None, consent_version=0, updated_at=timezone.now()))


def review_feedback(
    feedback: Feedback, *, reviewer: User, decision: Feedback.Review, method: Feedback.Method | None = None
) -> bool:
    """Record what a reviewer found the file to be.

    A fake needs its method. To confirm needs the owner's consent, since without it the reviewer was not allowed to
    look at the file: False if there is none (any more), and nothing is changed.
    """
    if (decision == Feedback.Review.FAKE) != (method is not None):
        raise ValueError("a method belongs to a fake, and to nothing else")
    waiting = Feedback.objects.filter(pk=feedback.pk)
    if decision in {Feedback.Review.REAL, Feedback.Review.FAKE}:
        waiting = waiting.filter(consent_at__isnull=False)
    return bool(
        waiting.update(review=decision, fake_method=method or "", reviewed_by=reviewer, reviewed_at=timezone.now())
    )


def hand_over(feedback_keys: Collection[int]) -> bool:
    """Mark as handed over for training those that still may be; False if none may, and then nothing must leave."""
    now = timezone.now()
    allowed = Feedback.objects.filter(
        review__in=[Feedback.Review.REAL, Feedback.Review.FAKE],
        pk__in=list(feedback_keys),
        consent_at__isnull=False,
    )
    return bool(allowed.update(exported_at=Coalesce("exported_at", now)))

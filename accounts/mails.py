"""Mails about accounts: written down with what they tell of, sent by the worker, each once, through crashes.

No request waits for a mail server, and none takes longer for an address that somebody has: who that is, the worker
looks up. A row holds what is to be said, never the text: the link to a new password is made when it is sent and is
nowhere but in the mail. A row goes with its mail, or when nobody needs it any more.
"""

from __future__ import annotations

import logging
import random
from datetime import timedelta
from email.utils import parseaddr

from django.conf import settings
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _

from accounts import clock, security_log
from accounts.addresses import address_of, device_name, user_agent_of
from accounts.ids import new_public_id
from accounts.models import AccountMail, User
from accounts.outgoing import InDoubt, NotSent, NotWanted, hand_over

logger = logging.getLogger(__name__)

Kind = AccountMail.Kind
# How long somebody still needs it. Whoever waits for a link asks again.
LIFE = {Kind.SECURITY: timedelta(days=3), Kind.PASSWORD_RESET: timedelta(hours=1)}
RETRY_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 3600.0
# No sender has one for longer, unless it was killed.
LOST_AFTER = timedelta(minutes=2)
CLAIMED_AT_ONCE = 8


def ask_for_new_password(request: HttpRequest, email: str) -> None:
    """Have a link sent to an address, if somebody has it. Asked again while one waits, there is one."""
    if AccountMail.objects.filter(kind=Kind.PASSWORD_RESET, to=email, handed_over_at__isnull=True).exists():
        return
    AccountMail.objects.create(
        kind=Kind.PASSWORD_RESET,
        to=email,
        language=translation.get_language() or "",
        site=settings.SENTINEL_URL or f"{request.scheme}://{request.get_host()}",
        address=address_of(request),
        user_agent=user_agent_of(request),
    )


def claim_due() -> AccountMail | None:
    """Take the mail that is due longest for this process. None if nothing is due."""
    now = clock.now()
    due = AccountMail.objects.filter(status=AccountMail.Status.WAITING, next_try_at__lte=now)
    for pk in list(due.order_by("next_try_at").values_list("pk", flat=True)[:CLAIMED_AT_ONCE]):
        token = new_public_id()
        claimed = due.filter(pk=pk).update(
            status=AccountMail.Status.SENDING,
            attempts=F("attempts") + 1,
            claim_token=token,
            claimed_at=now,
            handed_over_at=None,
        )
        if claimed:
            return AccountMail.objects.filter(pk=pk, claim_token=token).first()
    return None


def send(mail: AccountMail) -> None:
    """Send a claimed mail. Whatever comes of it, its row goes, unless it has to be tried again."""
    try:
        if _is_too_late(mail):
            raise NotWanted
        with translation.override(mail.language or settings.LANGUAGE_CODE):
            message = _message_of(mail)
        hand_over(message, note=lambda: bool(_owned(mail).update(handed_over_at=clock.now())))
    except NotWanted:
        _owned(mail).delete()
    except InDoubt:
        logger.warning("The mail about an account (%s) may have gone out or not: not repeated", mail.kind)
        _owned(mail).delete()
    except NotSent as error:
        _try_again(mail, error)
    except Exception:
        logger.exception("The mail about an account (%s) broke off on try %s", mail.kind, mail.attempts)
        _try_again(mail, NotSent("internal_error"))
    else:
        _owned(mail).delete()


def recover_lost() -> int:
    """Take up what killed senders had in hand; returns how much. What was handed over may be in the mailbox."""
    lost = AccountMail.objects.filter(status=AccountMail.Status.SENDING, claimed_at__lt=clock.now() - LOST_AFTER)
    recovered = 0
    for mail in lost:
        logger.warning("The mail about an account (%s) lost its sender", mail.kind)
        if mail.handed_over_at is None:
            _owned(mail).update(status=AccountMail.Status.WAITING, claim_token="", next_try_at=clock.now())
        else:
            _owned(mail).delete()
        recovered += 1
    return recovered


def _message_of(mail: AccountMail) -> EmailMessage:
    """Raises NotWanted where nobody has the address."""
    subject, body = _security_words(mail) if mail.kind == Kind.SECURITY else _password_words(mail)
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return EmailMessage(
        subject=subject,
        body=body,
        to=[mail.to],
        # The same on each try, so that mail servers and readers can see that it is the same.
        headers={"Message-ID": f"<account-{mail.public_id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )


def _security_words(mail: AccountMail) -> tuple[str, str]:
    context = {
        "name": mail.name,
        "event": security_log.Event(mail.event).label,
        "time": timezone.localtime(mail.created_at),
        "address": mail.address,
        "device": device_name(mail.user_agent),
        "link": f"{settings.SENTINEL_URL}{reverse('accounts:security')}" if settings.SENTINEL_URL else "",
    }
    return _("The security of your Sentinel account"), render_to_string("accounts/security_email.txt", context)


def _password_words(mail: AccountMail) -> tuple[str, str]:
    user: User | None = next(iter(PasswordResetForm().get_users(mail.to)), None)
    if user is None:
        raise NotWanted
    asked = security_log.Event.PASSWORD_RESET_ASKED
    if mail.attempts == 1:
        # Whoever asks for them may be somebody else. The links before hold still.
        if security_log.lately(user, asked) >= security_log.MOST_MAILS:
            raise NotWanted
        security_log.record(
            user,
            asked,
            address=mail.address,
            user_agent=mail.user_agent,
        )
    where = {
        "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
        "token": default_token_generator.make_token(user),
    }
    context = {"user": user, "link": f"{mail.site}{reverse('accounts:password_reset_confirm', kwargs=where)}"}
    # To the address as it is kept, which is not always as it was typed.
    mail.to = user.email
    subject = render_to_string("accounts/password_reset_subject.txt", context)
    return subject.strip(), render_to_string("accounts/password_reset_email.txt", context)


def _is_too_late(mail: AccountMail) -> bool:
    return clock.now() - mail.created_at > LIFE[Kind(mail.kind)]


def _try_again(mail: AccountMail, error: NotSent) -> None:
    """Wait, longer each time and not all at once, or give up."""
    wait = RETRY_SECONDS * 2.0 ** min(mail.attempts - 1, 20) * random.uniform(0.5, 1.0)
    if error.permanent or _is_too_late(mail):
        logger.error("The mail about an account (%s) is given up: %s", mail.kind, error.code)
        _owned(mail).delete()
        return
    logger.warning("The mail about an account (%s) has to wait: %s", mail.kind, error.code)
    _owned(mail).update(
        status=AccountMail.Status.WAITING,
        claim_token="",
        next_try_at=clock.now() + timedelta(seconds=min(wait, LONGEST_WAIT_SECONDS)),
    )


def _owned(mail: AccountMail) -> QuerySet[AccountMail]:
    """The row, as long as it still belongs to the try that `mail` was claimed for."""
    return AccountMail.objects.filter(pk=mail.pk, status=AccountMail.Status.SENDING, claim_token=mail.claim_token)

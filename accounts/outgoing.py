"""Handing an e-mail over to the mail server at most once, and telling apart how that went."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

from django.conf import settings
from django.core.mail import EmailMessage, get_connection


class NotSent(Exception):
    """It certainly did not go out. ``code`` is a machine name; ``permanent`` if another try would end the same way."""

    def __init__(self, code: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent
        self.retry_after = retry_after


class InDoubt(Exception):
    """It may have gone out or not."""


class NotWanted(Exception):
    """Nobody waits for it any more."""


def hand_over(message: EmailMessage, *, note: Callable[[], bool]) -> None:
    """Send an e-mail. From the moment that it is handed over, only a refusal by the mail server permits another try.

    `note` is called just before and writes that down; it says whether the e-mail is still ours to send. Raises
    NotSent, InDoubt, NotWanted.
    """
    connection = get_connection(timeout=settings.EMAIL_TIMEOUT)
    try:
        connection.open()
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent("mail_server") from error
    try:
        if not note():
            # Taken for lost, and another sender has it.
            raise NotWanted
        connection.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _text in error.recipients.values()]
        raise NotSent("mail_refused", permanent=all(code >= 500 for code in codes)) from error
    except smtplib.SMTPResponseException as error:
        raise NotSent("mail_refused", permanent=error.smtp_code >= 500) from error
    except (OSError, smtplib.SMTPException) as error:
        raise InDoubt from error
    finally:
        connection.close()

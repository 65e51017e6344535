"""The second factor: codes of an authenticator app (TOTP, RFC 6238) and recovery codes.

Every code works once. Guessing is slowed down for each account, wherever the guesses come from: whoever gets here
knows the password already. All of it is exact without transactions, by conditional updates.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import segno
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_otp.oath import hotp

from accounts import security_log
from accounts.errors import Code, SentinelError
from accounts.models import Factor, Passkey, RecoveryCode, SecondFactor, User
from accounts.security_log import Event
from accounts.tokens import CHALLENGE

logger = logging.getLogger(__name__)

# What the site is called in apps and on devices.
ISSUER = "Sentinel"
STEP_SECONDS = 30
DIGITS = 6
# Clocks of phones differ a little.
TOLERATED_STEPS = (0, -1, 1)
SECRET_BYTES = 20
RECOVERY_CODES = 10
# 80 random bits: nobody finds such a code from its digest.
RECOVERY_BYTES = 10
# After n wrong codes the next is looked at after 2 ** (n - FREE) seconds, at most an hour: two dozen guesses a day at
# the million codes of which three hold.
FREE_FAILURES = 3
LONGEST_WAIT_SECONDS = 3600


def is_on(user: User) -> bool:
    """Whether logging in with the password asks for more."""
    return has_totp(user) or Passkey.objects.filter(user=user).exists()


def has_totp(user: User) -> bool:
    return SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exists()


def begin_totp(user: User, *, anew: bool = False) -> str:
    """The secret that is being set up, in base32. One that works already goes on working until the new one does.

    `anew`: another one than was shown before.
    """
    row, _made = SecondFactor.objects.get_or_create(user=user)
    secret = b"" if anew else _decrypt(row.pending_secret)
    if not secret:
        secret = secrets.token_bytes(SECRET_BYTES)
        SecondFactor.objects.filter(pk=row.pk).update(pending_secret=_encrypt(secret))
    return base64.b32encode(secret).decode()


def uri_of(user: User, secret: str) -> str:
    """What an authenticator app reads from the QR code."""
    label = f"{ISSUER}:{quote(user.get_username(), safe='')}"
    return (
        f"otpauth://totp/{label}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    )


def qr_code(user: User, secret: str) -> str:
    """The QR code as an SVG element to be put into a page. It has no style of its own, which the CSP would refuse."""
    code = segno.make(uri_of(user, secret), error="m")
    return code.svg_inline(scale=5, border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None)


def confirm_totp(request: HttpRequest, user: User, code: str) -> list[str]:
    """Set the authenticator app up that gave this code for the secret of :func:`begin_totp`.

    Returns new recovery codes if there were none. Raises ``invalid_field`` for a wrong code, ``rate_limited``.
    """
    row = _claim_try(user)
    secret = _decrypt(row.pending_secret)
    step = _step_of(secret, code) if secret else None
    if step is None:
        security_log.record(user, Event.WRONG_CODE, request=request)
        raise wrong_code()
    was_on = is_on(user)
    now = timezone.now()
    SecondFactor.objects.filter(pk=row.pk).update(
        secret=row.pending_secret,
        pending_secret="",
        confirmed_at=now,
        last_used_at=now,
        last_step=step,
        failures=0,
        failed_at=None,
    )
    security_log.record(user, Event.TOTP_ADDED, request=request)
    return [] if was_on and recovery_codes_left(user) else make_recovery_codes(user, request=request)


def check_code(request: HttpRequest, user: User, code: str) -> Factor:
    """Accept a code of the app, or a recovery code, once; returns which it was.

    Raises ``second_factor_required`` for a wrong or used one, ``rate_limited`` after wrong ones. Of a used one the
    owner is told: somebody may have read it over their shoulder.
    """
    code = "".join(code.split()).replace("-", "").lower()
    row = _claim_try(user)
    factor = _accept(row, user, code)
    if not isinstance(factor, Factor):
        security_log.record(user, factor, request=request)
        raise SentinelError(Code.SECOND_FACTOR_REQUIRED, text=WRONG_CODE, headers=CHALLENGE)
    SecondFactor.objects.filter(pk=row.pk).update(failures=0, failed_at=None)
    if factor is Factor.RECOVERY:
        security_log.record(user, Event.RECOVERY_CODE_USED, request=request)
    return factor


def make_recovery_codes(user: User, *, request: HttpRequest) -> list[str]:
    """New recovery codes in place of all earlier ones; only now they can be shown."""
    codes = [base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.filter(user=user).delete()
    RecoveryCode.objects.bulk_create([RecoveryCode(user=user, digest=_digest(user, code)) for code in codes])
    security_log.record(user, Event.RECOVERY_CODES_MADE, request=request)
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]


def recovery_codes_left(user: User) -> int:
    return RecoveryCode.objects.filter(user=user, used_at__isnull=True).count()


def remove_totp(request: HttpRequest, user: User) -> None:
    SecondFactor.objects.filter(user=user).update(secret="", pending_secret="", confirmed_at=None, last_step=-1)
    security_log.record(user, Event.TOTP_REMOVED, request=request)
    forget_recovery_codes_if_off(user)


def forget_recovery_codes_if_off(user: User) -> None:
    """They are for getting in without the second factor; without one they open nothing."""
    if not is_on(user):
        RecoveryCode.objects.filter(user=user).delete()


def reset(user: User, *, actor: User, request: HttpRequest) -> bool:
    """Take everything away from somebody who lost it, so that the password is enough again; False if there was
    nothing. All their log-ins end."""
    passkeys, _by_model = Passkey.objects.filter(user=user).delete()
    factors, _by_model = SecondFactor.objects.filter(user=user).delete()
    codes, _by_model = RecoveryCode.objects.filter(user=user).delete()
    if not passkeys and not factors and not codes:
        return False
    security_log.record(user, Event.SECOND_FACTOR_RESET, request=request, actor=actor)
    return True


def wrong_code() -> SentinelError:
    return SentinelError(Code.INVALID_FIELD, errors={"code": [str(WRONG_CODE)]})


WRONG_CODE = _("This code is wrong or was used already. Wait for the next one.")


def _accept(row: SecondFactor, user: User, code: str) -> Factor | Event:
    """Which factor it was, or why it is none."""
    now = timezone.now()
    if len(code) == DIGITS and row.confirmed_at is not None:
        step = _step_of(_decrypt(row.secret), code)
        if step is None:
            return Event.WRONG_CODE
        # Of two that come with the same code, one moves the step on. With it goes a secret that an old key encrypted.
        taken = SecondFactor.objects.filter(pk=row.pk, last_step__lt=step).update(
            last_step=step, last_used_at=now, secret=_encrypt(_decrypt(row.secret))
        )
        if taken:
            return Factor.TOTP
        is_again = SecondFactor.objects.filter(pk=row.pk, last_step=step).exists()
    else:
        given = RecoveryCode.objects.filter(user=user, digest=_digest(user, code))
        if given.filter(used_at__isnull=True).update(used_at=now):
            return Factor.RECOVERY
        is_again = given.exists()
    return Event.CODE_USED_AGAIN if is_again else Event.WRONG_CODE


def _claim_try(user: User) -> SecondFactor:
    """The row of somebody whose next code may be looked at, counted as wrong until it was right.

    Raises ``rate_limited`` while it may not, and for the slower of two that come at once.
    """
    row, _made = SecondFactor.objects.get_or_create(user=user)
    now = timezone.now()
    if row.failures >= FREE_FAILURES and row.failed_at is not None:
        # The exponent is bounded, so that the number is too.
        wait = min(2 ** min(row.failures - FREE_FAILURES, 20), LONGEST_WAIT_SECONDS)
        left = (row.failed_at + timedelta(seconds=wait) - now).total_seconds()
        # A clock that was put back must not lock anybody out for longer than was meant.
        if 0 < left <= wait:
            raise _too_many(left)
    unchanged = SecondFactor.objects.filter(pk=row.pk, failures=row.failures)
    if not unchanged.update(failures=row.failures + 1, failed_at=now):
        raise _too_many(1)
    return row


def _too_many(seconds: float) -> SentinelError:
    whole = max(int(seconds) + 1, 1)
    return SentinelError(
        Code.RATE_LIMITED,
        text=_("Too many wrong codes. Try again in %(seconds)s seconds."),
        headers={"Retry-After": str(whole)},
        seconds=whole,
    )


def _step_of(secret: bytes, code: str) -> int | None:
    """The 30-second step near now that a code belongs to."""
    if not secret or len(code) != DIGITS or not (code.isascii() and code.isdigit()):
        return None
    now = int(time.time()) // STEP_SECONDS
    for offset in TOLERATED_STEPS:
        expected = str(hotp(secret, now + offset, digits=DIGITS)).zfill(DIGITS)
        if secrets.compare_digest(expected, code):
            return now + offset
    return None


def _digest(user: User, code: str) -> str:
    return hashlib.sha256(f"{user.public_id}|{code}".encode()).hexdigest()


def _cipher() -> MultiFernet:
    """Encrypts with SECRET_KEY; reads what any of SECRET_KEY_FALLBACKS encrypted too."""
    keys: list[Any] = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = [
        HKDF(algorithm=SHA256(), length=32, salt=None, info=b"sentinel second factor").derive(str(key).encode())
        for key in keys
    ]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


def _encrypt(secret: bytes) -> str:
    return _cipher().encrypt(secret).decode() if secret else ""


def _decrypt(text: str) -> bytes:
    """The secret; empty if there is none, or if SECRET_KEY was changed without keeping the old one."""
    if not text:
        return b""
    try:
        return _cipher().decrypt(text.encode())
    except InvalidToken:
        logger.error("A second factor cannot be read: neither SECRET_KEY nor SECRET_KEY_FALLBACKS encrypted it")
        return b""


def encrypt_anew() -> int:
    """Encrypt all secrets with today's SECRET_KEY, after which older ones are not needed; returns how many."""
    count = 0
    for row in SecondFactor.objects.exclude(secret="", pending_secret="").iterator():
        new = {"secret": _encrypt(_decrypt(row.secret)), "pending_secret": _encrypt(_decrypt(row.pending_secret))}
        if (row.secret and not new["secret"]) or (row.pending_secret and not new["pending_secret"]):
            continue
        # Not over what its owner set up meanwhile.
        unchanged = SecondFactor.objects.filter(pk=row.pk, secret=row.secret, pending_secret=row.pending_secret)
        count += unchanged.update(**new)
    return count

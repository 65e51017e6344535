"""Passkeys (WebAuthn, level 2): logging in with a device that has checked its owner by PIN, finger or face.

What the device says is checked by py_webauthn. The challenge lies in the session and is taken out before anything
else happens, so that it works once.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import time
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from accounts import second_factor, security_log
from accounts.errors import Code, SentinelError
from accounts.models import Passkey, User
from accounts.security_log import Event

CHALLENGE = "passkey_challenge"
CHALLENGE_SECONDS = 5 * 60
MAX_PASSKEYS = 10
MAX_NAME_LENGTH = 60
MAX_ANSWER_LENGTH = 16_384
REGISTER, LOG_IN = "register", "log_in"


def are_possible(request: HttpRequest) -> bool:
    """Whether browsers do it on this address: by HTTPS or on this machine, and never by a number for a name."""
    host = _host(request)
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return request.is_secure() or host == "localhost" or host.endswith(".localhost")
    return False


def begin_registration(request: HttpRequest, user: User) -> dict[str, Any]:
    """What the page hands to ``navigator.credentials.create``."""
    known = [
        PublicKeyCredentialDescriptor(id=base64url_to_bytes(key.credential_id))
        for key in Passkey.objects.filter(user=user)
    ]
    options = generate_registration_options(
        rp_id=_host(request),
        rp_name=second_factor.ISSUER,
        user_id=bytes.fromhex(user.public_id),
        user_name=user.get_username(),
        exclude_credentials=known,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )
    return _with_challenge(request, REGISTER, options)


def register(request: HttpRequest, user: User, answer: str, name: str) -> list[str]:
    """Keep the passkey that the browser made. Returns new recovery codes if there were none.

    Raises ``invalid_field`` for an answer that is not the one to our challenge, and for more than ten passkeys.
    """
    credential = _read(answer)
    challenge = _take_challenge(request, REGISTER)
    if challenge is None or credential is None or Passkey.objects.filter(user=user).count() >= MAX_PASSKEYS:
        raise _refused(request, user)
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_host(request),
            expected_origin=_origin(request),
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _refused(request, user) from error
    was_on = second_factor.is_on(user)
    # Somebody else's credential of the same id is a forgery, one's own is registered already.
    passkey, is_new = Passkey.objects.get_or_create(
        credential_digest=_digest(verified.credential_id),
        defaults={
            "user": user,
            "name": name.strip()[:MAX_NAME_LENGTH] or second_factor.ISSUER,
            "credential_id": bytes_to_base64url(verified.credential_id),
            "public_key": bytes_to_base64url(verified.credential_public_key),
            "sign_count": verified.sign_count,
            "backed_up": verified.credential_backed_up,
        },
    )
    if not is_new:
        raise _refused(request, user)
    security_log.record(user, Event.PASSKEY_ADDED, request=request, name=passkey.name)
    if was_on and second_factor.recovery_codes_left(user):
        return []
    return second_factor.make_recovery_codes(user, request=request)


def begin_log_in(request: HttpRequest) -> dict[str, Any]:
    """What the page hands to ``navigator.credentials.get``: any passkey of this site, so nobody is asked for a name."""
    options = generate_authentication_options(
        rp_id=_host(request), user_verification=UserVerificationRequirement.REQUIRED
    )
    return _with_challenge(request, LOG_IN, options)


def user_of(request: HttpRequest, answer: str, *, expected: User | None = None) -> User:
    """Whose passkey signed our challenge, on a device that checked its owner.

    `expected` is whom it has to be, where that is known. Raises ``second_factor_required`` for anything else.
    """
    credential = _read(answer)
    challenge = _take_challenge(request, LOG_IN)
    if challenge is None or credential is None:
        raise _refused(request, expected)
    try:
        passkey = Passkey.objects.select_related("user").get(
            credential_digest=_digest(base64url_to_bytes(str(credential["id"])))
        )
        handle = base64url_to_bytes(str((credential.get("response") or {}).get("userHandle") or ""))
    except (Passkey.DoesNotExist, ValueError, KeyError, AttributeError) as error:
        raise _refused(request, expected) from error
    user = passkey.user
    try:
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_host(request),
            expected_origin=_origin(request),
            credential_public_key=base64url_to_bytes(passkey.public_key),
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _refused(request, user) from error
    mine = handle == bytes.fromhex(user.public_id) and expected in {None, user}
    if not mine or not user.is_active:
        raise _refused(request, user)
    # A counter that two log-ins carry at once shows a copy of the key: one of them is refused.
    rows = Passkey.objects.filter(pk=passkey.pk, sign_count=passkey.sign_count)
    if not rows.update(
        sign_count=verified.new_sign_count, last_used_at=timezone.now(), backed_up=verified.credential_backed_up
    ):
        raise _refused(request, user)
    return user


def rename(request: HttpRequest, user: User, public_id: str, name: str) -> bool:
    name = name.strip()[:MAX_NAME_LENGTH]
    if not name or not Passkey.objects.filter(user=user, public_id=public_id).update(name=name):
        return False
    security_log.record(user, Event.PASSKEY_RENAMED, request=request, name=name)
    return True


def remove(request: HttpRequest, user: User, public_id: str) -> bool:
    passkey = Passkey.objects.filter(user=user, public_id=public_id).first()
    if passkey is None:
        return False
    passkey.delete()
    security_log.record(user, Event.PASSKEY_REMOVED, request=request, name=passkey.name)
    second_factor.forget_recovery_codes_if_off(user)
    return True


def _with_challenge(request: HttpRequest, purpose: str, options: Any) -> dict[str, Any]:
    request.session[CHALLENGE] = [purpose, bytes_to_base64url(options.challenge), int(time.time())]
    made: dict[str, Any] = json.loads(options_to_json(options))
    return made


def _take_challenge(request: HttpRequest, purpose: str) -> bytes | None:
    """The challenge of this session, once, and not long after it was given."""
    kept = request.session.pop(CHALLENGE, None)
    if kept is None or kept[0] != purpose or not 0 <= time.time() - kept[2] < CHALLENGE_SECONDS:
        return None
    return base64url_to_bytes(kept[1])


def _read(answer: str) -> dict[str, Any] | None:
    if len(answer) > MAX_ANSWER_LENGTH:
        return None
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refused(request: HttpRequest, user: User | None) -> SentinelError:
    if user is not None:
        security_log.record(user, Event.WRONG_PASSKEY, request=request)
    return SentinelError(Code.PASSKEY_REFUSED)


def _host(request: HttpRequest) -> str:
    """The name of the site without the port: what passkeys belong to. ALLOWED_HOSTS has been asked."""
    host = request.get_host()
    return host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host


def _origin(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"


def _digest(credential_id: bytes) -> str:
    return hashlib.sha256(credential_id).hexdigest()

"""Where push messages go: Web Push subscriptions (RFC 8030), with the keys that RFC 8291 encrypts for."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.errors import Code, SentinelError
from accounts.models import PushDevice, User

DEVICES_A_USER = 20
# RFC 8291, section 3.1 and 3.2: an uncompressed point on P-256, and 16 random bytes.
POINT_BYTES = 65
AUTH_BYTES = 16

_is_https_url = URLValidator(schemes=["https"], message=_("Give an address that begins with https://."))


def validate_endpoint(endpoint: str) -> None:
    """Raises ValidationError unless it is an https address without credentials in it."""
    _is_https_url(endpoint)
    if "@" in urlsplit(endpoint).netloc:
        raise ValidationError(_("There must be no user name in the address."))


def validate_point(text: str) -> None:
    """Raises ValidationError unless it is an uncompressed point on the curve P-256, in base64url."""
    try:
        raw = _decode(text)
        if len(raw) != POINT_BYTES:
            raise ValueError(len(raw))
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    except ValueError as error:
        raise ValidationError(_("This is no public key of a push subscription.")) from error


def validate_auth(text: str) -> None:
    """Raises ValidationError unless it is 16 bytes in base64url."""
    try:
        if len(_decode(text)) == AUTH_BYTES:
            return
    except ValueError:
        pass
    raise ValidationError(_("This is no secret of a push subscription."))


def register(user: User, *, endpoint: str, p256dh: str, auth: str, name: str = "") -> tuple[PushDevice, bool]:
    """Register a subscription, or change the one with this endpoint; says whether it is new.

    A browser that somebody else was logged in on no longer gets their messages: who holds the subscription's secret
    has it alone. Raises ``invalid_field`` beyond :data:`DEVICES_A_USER`.
    """
    with transaction.atomic():
        # One at a time for a user, so that the count holds.
        User.objects.select_for_update().get(pk=user.pk)
        PushDevice.objects.filter(endpoint=endpoint, auth=auth).exclude(user=user).delete()
        others = PushDevice.objects.filter(user=user).exclude(endpoint=endpoint)
        if others.count() >= DEVICES_A_USER:
            text = _("There are %(number)s devices already. Remove one first.") % {"number": DEVICES_A_USER}
            raise SentinelError(Code.INVALID_FIELD, errors={"endpoint": [str(text)]})
        device, is_new = PushDevice.objects.update_or_create(
            user=user, endpoint=endpoint, defaults={"p256dh": p256dh, "auth": auth, "name": name}
        )
        # Where nothing is locked, others may have come at the same time.
        if is_new and PushDevice.objects.filter(user=user).count() > DEVICES_A_USER:
            device.delete()
            raise _too_many()
    return device, is_new


def devices_of(user: User) -> QuerySet[PushDevice]:
    """Newest first."""
    return PushDevice.objects.filter(user=user)


def _too_many() -> SentinelError:
    text = _("There are %(number)s devices already. Remove one first.") % {"number": DEVICES_A_USER}
    return SentinelError(Code.INVALID_FIELD, errors={"endpoint": [str(text)]})


def _decode(text: str) -> bytes:
    """The bytes of base64url, with or without padding. Raises ValueError."""
    bare = text.rstrip("=")
    try:
        # Python would pass over what does not belong to the alphabet.
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error

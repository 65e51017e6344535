"""The list of all documents that were issued here: told apart by their digests, kept without saying what is in them."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.utils import timezone

from accounts.ids import new_public_id
from reports.models import IssuedDocument

Kind = IssuedDocument.Kind


def register(
    content_sha256: str, kind: Kind, *, public_id: str = "", issued_at: datetime | None = None
) -> IssuedDocument:
    """Note that a document with this SHA-256 (64 hexadecimal digits) was issued, before it is handed out.

    ``public_id`` is the number printed in it, if one is. The same bytes again are the same document, noted once.
    """
    made, _created = IssuedDocument.objects.get_or_create(
        sha256=content_sha256.lower(),
        defaults={
            "kind": kind,
            "public_id": public_id or new_public_id(),
            "issued_at": issued_at or timezone.now(),
        },
    )
    return made


def check_address(public_id: str, site: str = "") -> str:
    """Where a document with this number can be checked: at the address of the settings, else at `site`, else empty."""
    base = settings.SENTINEL_URL or site.rstrip("/")
    return f"{base}/check/?d={public_id}" if base else ""


def find(content_sha256: str) -> IssuedDocument | None:
    """The document with exactly these bytes."""
    return IssuedDocument.objects.filter(sha256=content_sha256.lower()).first()


def find_by_number(public_id: str) -> IssuedDocument | None:
    """The document with this number printed in it."""
    return IssuedDocument.objects.filter(public_id=public_id).first()

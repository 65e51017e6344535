"""The seal on what leaves the building: signing reports and packages, and telling whose signature something carries.

Signatures are CMS (RFC 5652) with SHA-256; in a PDF they are PAdES baseline B-B, or B-T where a time stamping authority
is set. docs/integrity.md says what they prove and what they don't.

Checking never reads a PDF's structure. Anybody may send a file to be checked, and a parser of PDFs is a large thing to
attack; besides, whatever was written behind a signature is a change, be it harmless to the eye or not. So the bytes
are compared with what was signed, and nothing else is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.utils import timezone

from reports.models import SealCertificate, Timestamp

logger = logging.getLogger(__name__)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

FIELD_NAME = "Seal"
# Room for a signature, without the certificates that it holds; and for a time stamp with those of its authority.
SIGNATURE_BYTES = 4096
TIMESTAMP_BYTES = 16384
# Of the signatures in one PDF so many of the first and as many of the last are looked at, so that nobody can make a
# check last long. The one made here comes first, before those of others who sign after us.
MOST_SIGNATURES = 2
# Twice as much as a signature with a long chain and a time stamp has.
MOST_SIGNATURE_BYTES = 64 * 1024
# Digests by which others may have signed.
DIGESTS = {"sha1", "sha224", "sha256", "sha384", "sha512"}


def reason_of(number: str) -> str:
    """What the signature of a document with this number says that it is for; see :func:`numbers_in`."""
    return f"Issued by Sentinel as document {number}"


def numbers_in(pdf: bytes) -> list[str]:
    """The numbers that such signatures in a PDF name, whether they hold or not; the first few of them."""
    return [match[1].decode() for match in _NUMBER.finditer(pdf)][: 2 * MOST_SIGNATURES]


_NUMBER = re.compile(rb"as document ([0-9a-f]{24})\)")


class SealError(Exception):
    """Something could not be signed so that the signature holds."""


class State(StrEnum):
    """What can be said of a signature and the content that it is to fit."""

    INTACT = "intact"
    """It fits, and the key is a trusted one. Of a PDF: the whole file is as it was signed."""
    ADDED_TO = "added_to"
    """The first part of a PDF is intact; something was written behind it later."""
    CHANGED = "changed"
    """It names a trusted key and does not fit: content or signature were changed."""
    OTHER_KEY = "other_key"
    """It fits, and the key is none of the trusted ones."""
    CUT_OFF = "cut_off"
    """The end is missing."""
    UNREADABLE = "unreadable"
    """What should be a signature is none, or neither fits nor names a trusted key."""
    UNSIGNED = "unsigned"
    """A PDF without a signature."""
    NOT_A_PDF = "not_a_pdf"


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found.

    ``fingerprint`` is the SHA-256 of the signer's certificate in hexadecimal, ``signer`` the name in it; both are
    empty where no certificate could be read, and prove nothing unless ``state`` is INTACT or ADDED_TO. ``timestamp`` is
    the time that an authority vouches for, ``authority`` the name in its certificate: whether it deserves trust is for
    the reader to say. ``covered`` counts the bytes of a PDF up to the end of what was signed.
    """

    state: State
    fingerprint: str = ""
    signer: str = ""
    timestamp: datetime | None = None
    authority: str = ""
    covered: int = 0


@dataclass(frozen=True, slots=True)
class SealedPdf:
    content: bytes
    timestamp: Timestamp


@dataclass(frozen=True, slots=True)
class Identity:
    """The key that this site signs with; ``chain`` are the certificates of those who vouch for it, if any do."""

    key: PrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.certificate)


# The key and its certificates


def identity() -> Identity:
    """The key of the settings. Raises ImproperlyConfigured where they hold none that can sign."""
    return _read_identity(settings.SENTINEL_SIGNING_KEY, settings.SENTINEL_SIGNING_KEY_PASSPHRASE)


def require_settings() -> None:
    """Raises ImproperlyConfigured where the settings of the seal can't be understood."""
    identity()
    url = settings.SENTINEL_TIMESTAMP_URL
    if url and not re.match(r"https?://[^/\s]", url):
        raise ImproperlyConfigured("SENTINEL_TIMESTAMP_URL is no address that begins with http:// or https://")


def certificate_pem() -> str:
    """The certificate of the key that signs now, for those who check signatures with other tools."""
    return identity().certificate.public_bytes(Encoding.PEM).decode()


def certificates_pem() -> str:
    """The certificates of all keys that signed here; that of the present one, and who vouch for it, come first."""
    own = identity()
    earlier = [found for mark, found in known_certificates().items() if mark != own.fingerprint]
    return "".join(
        found.public_bytes(Encoding.PEM).decode() for found in (own.certificate, *own.chain, *reversed(earlier))
    )


def certificate_fingerprint() -> str:
    """SHA-256 of that certificate: 64 hexadecimal digits."""
    return identity().fingerprint


def known_certificates() -> dict[str, x509.Certificate]:
    """Every certificate that documents were signed with here, by fingerprint: the present one and older ones."""
    rows = SealCertificate.objects.order_by("created_at", "pk")
    known = {row.fingerprint: x509.load_pem_x509_certificate(row.pem.encode()) for row in rows}
    now = identity()
    return {**known, now.fingerprint: now.certificate}


def fingerprint_of(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


@lru_cache(maxsize=4)
def _read_identity(encoded: bytes, passphrase: str) -> Identity:
    password = passphrase.encode() or None
    try:
        if b"-----BEGIN" in encoded:
            # The check that is skipped takes a third of a second, and every signature is checked when it is made.
            key: Any = load_pem_private_key(encoded, password, unsafe_skip_rsa_key_validation=True)
            certificates = x509.load_pem_x509_certificates(encoded)
        else:
            key, certificate, others = load_key_and_certificates(encoded, password)
            certificates = [*([certificate] if certificate else []), *others]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ImproperlyConfigured(
            f"SENTINEL_SIGNING_KEY is no private key with its certificates in PEM or PKCS#12, "
            f"or SENTINEL_SIGNING_KEY_PASSPHRASE does not open it: {error}"
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ImproperlyConfigured("SENTINEL_SIGNING_KEY holds neither an RSA key nor one on an elliptic curve")
    public = _public_bytes(key.public_key())
    own = [certificate for certificate in certificates if _public_bytes(certificate.public_key()) == public]
    if not own:
        raise ImproperlyConfigured("SENTINEL_SIGNING_KEY holds no certificate of its private key")
    return Identity(key, own[0], tuple(certificate for certificate in certificates if certificate not in own))


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _remember(certificate: x509.Certificate) -> None:
    """Keep a certificate that signs, so that what it signed is known when another one has taken its place."""
    SealCertificate.objects.get_or_create(
        fingerprint=fingerprint_of(certificate), defaults={"pem": certificate.public_bytes(Encoding.PEM).decode()}
    )


def take_over_folder(**_of_the_signal: Any) -> None:
    """Receiver of :data:`media_analysis.signals.worker_starts`: earlier versions kept certificates in a folder."""
    for path in sorted(_folder().glob("*.pem")):
        try:
            for certificate in x509.load_pem_x509_certificates(path.read_bytes()):
                _remember(certificate)
        except (OSError, ValueError) as error:
            logger.error("The certificate in %s cannot be read: what it signed is no longer known (%s)", path, error)
        except DatabaseError:
            # With the next start of a worker.
            logger.exception("The certificate in %s could not be taken over", path)


def forget(fingerprint: str) -> bool:
    """Take a certificate out, after its key was stolen: what it signed is then nobody's. False if it is not known."""
    (_folder() / f"{fingerprint}.pem").unlink(missing_ok=True)
    deleted, _rows = SealCertificate.objects.filter(fingerprint=fingerprint).delete()
    return bool(deleted)


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "certificates"


# Signing


def sign_pdf(pdf: bytes, *, reason: str, contact: str = "") -> SealedPdf:
    """The PDF with an invisible signature over all of it: tags and looks stay as they are.

    ``contact`` is where readers may have it checked. Others may sign after us, which readers of PDFs allow and show;
    anything else that is added they report as a breach. Raises :class:`SealError`.
    """
    stamper = _timestamper()
    if stamper is not None:
        try:
            return SealedPdf(_sign_pdf(pdf, reason, contact, stamper), Timestamp.MADE)
        except SealError as error:
            _give_up_timestamp(error)
    timestamp = Timestamp.FAILED if settings.SENTINEL_TIMESTAMP_URL else Timestamp.NONE
    return SealedPdf(_sign_pdf(pdf, reason, contact, None), timestamp)


def sign_detached(content: bytes) -> bytes:
    """A CMS signature (DER) of `content`, which it does not hold; with time and, where one is set, time stamp.

    Raises :class:`SealError`.
    """
    stamper = _timestamper()
    if stamper is not None:
        try:
            return _sign_detached(content, stamper)
        except SealError as error:
            _give_up_timestamp(error)
    return _sign_detached(content, None)


def _sign_pdf(pdf: bytes, reason: str, contact: str, stamper: Any) -> bytes:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers

    own = identity()
    _remember(own.certificate)
    wanted = signers.PdfSignatureMetadata(
        field_name=FIELD_NAME,
        md_algorithm="sha256",
        reason=reason,
        contact_info=contact or None,
        subfilter=fields.SigSeedSubFilter.PADES,
        certify=True,
        docmdp_permissions=fields.MDPPerm.FILL_FORMS,
    )
    field = fields.SigFieldSpec(
        sig_field_name=FIELD_NAME,
        readable_field_name=FIELD_NAME,
        # PDF/UA wants every field among the tags that is on a page, and PDF/A none that is hidden: it lies beside it.
        invis_sig_settings=fields.InvisSigSettings(box_out_of_bounds=True),
    )
    room = SIGNATURE_BYTES + sum(len(found.public_bytes(Encoding.DER)) for found in (own.certificate, *own.chain))
    if stamper is not None:
        room += TIMESTAMP_BYTES
    signer = signers.PdfSigner(wanted, _signer(own), timestamper=stamper, new_field_spec=field)
    with _told_as_seal_error():
        # Room is counted in hexadecimal digits.
        signed: bytes = signer.sign_pdf(IncrementalPdfFileWriter(BytesIO(pdf)), bytes_reserved=2 * room).getvalue()
    _require_intact(check_pdf(signed), own, stamped=stamper is not None)
    return signed


def _sign_detached(content: bytes, stamper: Any) -> bytes:
    from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes

    own = identity()
    _remember(own.certificate)
    times = PdfCMSSignedAttributes(signing_time=timezone.now())
    signing = _signer(own).async_sign_general_data(content, "sha256", timestamper=stamper, signed_attr_settings=times)
    with _told_as_seal_error():
        signature: bytes = asyncio.run(signing).dump()
    _require_intact(check_detached(content, signature, [own.fingerprint]), own, stamped=stamper is not None)
    return signature


def _require_intact(found: Check, own: Identity, *, stamped: bool) -> None:
    """What is handed out was checked as others will check it."""
    if found.state is not State.INTACT or found.fingerprint != own.fingerprint or stamped != bool(found.timestamp):
        raise SealError(f"the signature does not hold: {found}")


def _signer(own: Identity) -> Any:
    from asn1crypto import x509 as asn1_x509
    from pyhanko.sign.signers import Signer
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    def translated(certificate: x509.Certificate) -> Any:
        return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))

    class KeyInMemory(Signer):
        """pyHanko's own reads and checks the key anew for every signature, which takes longer than signing."""

        async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
            if digest_algorithm != "sha256":
                raise SealError(f"asked to sign with {digest_algorithm}")
            if isinstance(own.key, rsa.RSAPrivateKey):
                return own.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
            return own.key.sign(data, ec.ECDSA(hashes.SHA256()))

    vouching = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    vouching.register_multiple([translated(certificate) for certificate in own.chain])
    return KeyInMemory(signing_cert=translated(own.certificate), cert_registry=vouching)


def _timestamper() -> Any:
    """None where no authority is set, or it failed a moment ago."""
    if not settings.SENTINEL_TIMESTAMP_URL:
        return None
    from reports import timestamps

    if not timestamps.may_ask():
        return None
    return timestamps.BoundedTimeStamper(settings.SENTINEL_TIMESTAMP_URL, settings.SENTINEL_TIMESTAMP_TIMEOUT_SECONDS)


@contextmanager
def _told_as_seal_error() -> Iterator[None]:
    """Raises SealError for whatever goes wrong inside: the document, the key, or an answer that is no time stamp."""
    from pyhanko.pdf_utils.misc import PdfError
    from pyhanko.sign.general import SigningError
    from pyhanko.sign.timestamps.common_utils import TimestampRequestError

    try:
        yield
    except (PdfError, TimestampRequestError, SigningError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise SealError(str(error) or repr(error)) from error


def _give_up_timestamp(error: SealError) -> None:
    from reports import timestamps

    timestamps.rest()
    logger.warning(
        "Signed without a time stamp: %s gave none (%s). It is asked again after %d s.",
        settings.SENTINEL_TIMESTAMP_URL,
        error,
        timestamps.REST_SECONDS,
    )


# Checking


def check_detached(content: bytes, signature: bytes, trusted: Collection[str]) -> Check:
    """Whether a CMS signature (DER) fits `content`; `trusted` are the fingerprints of the keys that count."""
    return _check_cms(signature, lambda name: hashlib.new(name, content).digest(), trusted)


def check_pdf(pdf: bytes, trusted: Collection[str] | None = None) -> Check:
    """What its signatures say of a PDF: the best of them, if there are several.

    ``trusted`` are fingerprints; without them, those of this site's keys, past and present. Where a file was put
    together from parts of several, no part being whole, it is CHANGED: only bytes that were signed and nothing else
    are INTACT.
    """
    if not pdf.startswith(b"%PDF-"):
        return Check(State.NOT_A_PDF)
    trusted = known_certificates() if trusted is None else trusted
    ranges = list(_BYTE_RANGE.finditer(pdf))
    looked_at = [*ranges[:MOST_SIGNATURES], *ranges[MOST_SIGNATURES:][-MOST_SIGNATURES:]]
    found = [_check_signature(pdf, match, trusted) for match in looked_at]
    if not found:
        # Without an end it may have lost its signature with it: signatures are written last.
        return Check(State.UNSIGNED if b"%%EOF" in pdf[-1024:] else State.CUT_OFF)
    return min(found, key=lambda check: _RANK.index(check.state))


_BYTE_RANGE = re.compile(
    rb"/ByteRange\s{0,8}\[\s{0,8}(\d{1,10})\s{1,8}(\d{1,10})\s{1,8}(\d{1,10})\s{1,8}(\d{1,10})\s{0,8}\]"
)
# Not both kinds of letters: nobody writes so, and it would be a change that the signature does not notice.
_HEXADECIMAL = re.compile(rb"[0-9a-f]*|[0-9A-F]*")
# Of several signatures that one is told which says most about this site.
_RANK = [
    State.INTACT,
    State.ADDED_TO,
    State.CHANGED,
    State.CUT_OFF,
    State.OTHER_KEY,
    State.UNREADABLE,
]


def _check_signature(pdf: bytes, byte_range: re.Match[bytes], trusted: Collection[str]) -> Check:
    start, before, after, rest = (int(number) for number in byte_range.groups())
    end = after + rest
    if end > len(pdf):
        return Check(State.CUT_OFF)
    # All from the first byte on but a hole, in which there is a number in hexadecimal and nothing else, and which is
    # what this very dictionary says is its signature.
    hole = pdf[before:after]
    if start != 0 or not before < after <= end:
        return Check(State.UNREADABLE)
    digits = hole[1:-1]
    if hole[:1] != b"<" or hole[-1:] != b">" or len(digits) % 2 or not _HEXADECIMAL.fullmatch(digits):
        return Check(State.UNREADABLE)
    if len(digits) > 2 * MOST_SIGNATURE_BYTES:
        return Check(State.UNREADABLE)

    def digest(name: str) -> bytes:
        computed = hashlib.new(name, pdf[:before])
        computed.update(pdf[after:end])
        return computed.digest()

    found = _check_cms(bytes.fromhex(digits.decode()), digest, trusted, padded=True)
    if found.state is State.INTACT and end < len(pdf):
        found = replace(found, state=State.ADDED_TO)
    return replace(found, covered=end)


def _check_cms(
    encoded: bytes, digest: Callable[[str], bytes], trusted: Collection[str], *, padded: bool = False
) -> Check:
    """What a CMS signature says; ``digest`` computes a digest of the content by the name of its algorithm.

    ``padded``: zeros may follow it.
    """
    from asn1crypto import cms

    try:
        signature = cms.ContentInfo.load(encoded, strict=not padded)
        if signature["content_type"].native != "signed_data":
            return Check(State.UNREADABLE)
        parts = _parts_of(signature["content"])
    except Exception as error:  # noqa: BLE001 -- the library raises whatever hostile bytes lead it into
        logger.info("A signature cannot be read: %r", error)
        return Check(State.UNREADABLE)
    fingerprint = hashlib.sha256(parts.certificate.dump()).hexdigest()
    known = fingerprint in trusted
    try:
        fits = _fits(parts, digest) and not encoded[len(signature.dump()) :].strip(b"\0")
        # Others write what is not signed in their own ways; here it is always the same.
        fits = fits and (not known or _is_as_written_here(signature["content"], parts))
        stamp = _check_timestamp(parts) if fits else None
    except Exception as error:  # noqa: BLE001 -- as above
        logger.info("A signature does not fit: %r", error)
        fits, stamp = False, None
    states = {
        (True, True): State.INTACT,
        (True, False): State.OTHER_KEY,
        (False, True): State.CHANGED,
        (False, False): State.UNREADABLE,
    }
    state = states[fits, known]
    return Check(state, fingerprint, _name_in(parts.certificate), *(stamp or ()))


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of a SignedData: its one signer, the certificate that it names, and the type of what was signed."""

    signer: Any
    certificate: Any
    content_type: str
    content: Any


def _parts_of(signed_data: Any) -> _Parts:
    """Raises whatever else reading a signature that is none leads to."""
    from pyhanko.sign.general import extract_certificate_info, extract_signer_info

    content = signed_data["encap_content_info"]
    return _Parts(
        signer=extract_signer_info(signed_data),
        certificate=extract_certificate_info(signed_data).signer_cert,
        content_type=content["content_type"].native,
        content=content["content"],
    )


def _is_as_written_here(signed_data: Any, parts: _Parts) -> bool:
    """Whether what a signature does not protect, in it and around it, is as it was when it was made."""
    from asn1crypto import cms

    (algorithm,) = signed_data["digest_algorithms"]
    unsigned = [attribute["type"].native for attribute in parts.signer["unsigned_attrs"] or ()]
    again = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier({"issuer_and_serial_number": _name_and_number(parts.certificate)}),
            **{name: parts.signer[name] for name in ("digest_algorithm", "signature_algorithm", "signed_attrs")},
            "signature": parts.signer["signature"],
            **({"unsigned_attrs": parts.signer["unsigned_attrs"]} if unsigned else {}),
        }
    )
    return bool(
        again.dump() == parts.signer.dump()
        and unsigned in ([], ["signature_time_stamp_token"])
        and algorithm.dump() == parts.signer["digest_algorithm"].dump()
        and (signed_data["version"].native, parts.content_type, parts.content.native) == ("v1", "data", None)
    )


def _name_and_number(certificate: Any) -> Any:
    from asn1crypto import cms

    return cms.IssuerAndSerialNumber({"issuer": certificate.issuer, "serial_number": certificate.serial_number})


def _fits(parts: _Parts, digest: Callable[[str], bytes]) -> bool:
    from pyhanko.sign.validation.generic_cms import validate_sig_integrity

    algorithm = parts.signer["digest_algorithm"]["algorithm"].native
    if algorithm not in DIGESTS or not parts.signer["signed_attrs"]:
        return False
    return all(validate_sig_integrity(parts.signer, parts.certificate, parts.content_type, digest(algorithm)))


def _check_timestamp(parts: _Parts) -> tuple[datetime, str] | None:
    """Time and authority of the signature's time stamp, if it has one. Raises ValueError if that does not fit."""
    tokens = [
        value
        for attribute in parts.signer["unsigned_attrs"] or ()
        if attribute["type"].native == "signature_time_stamp_token"
        for value in attribute["values"]
    ]
    if not tokens:
        return None
    signed_data = tokens[0]["content"]
    stamp = _parts_of(signed_data)
    # Not signed, but always so (RFC 3161, RFC 5652).
    if (signed_data["version"].native, stamp.signer["version"].native, stamp.content_type) != ("v3", "v1", "tst_info"):
        raise ValueError("the time stamp is none")
    algorithms = [*signed_data["digest_algorithms"], stamp.signer["digest_algorithm"]]
    if any(found["algorithm"].native not in DIGESTS or found["parameters"].contents for found in algorithms):
        raise ValueError("the time stamp names an unknown algorithm")
    named = stamp.signer["sid"]
    if named.name == "issuer_and_serial_number" and named.chosen.dump() != _name_and_number(stamp.certificate).dump():
        raise ValueError("the time stamp spells its authority's name otherwise")
    encoded: bytes = stamp.content.contents
    told = stamp.content.parsed
    imprint = told["message_imprint"]
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    signature: bytes = parts.signer["signature"].native
    if algorithm not in DIGESTS or hashlib.new(algorithm, signature).digest() != imprint["hashed_message"].native:
        raise ValueError("the time stamp is of another signature")
    if not _fits(stamp, lambda name: hashlib.new(name, encoded).digest()):
        raise ValueError("the time stamp does not hold")
    return told["gen_time"].native.astimezone(UTC), _name_in(stamp.certificate)


def _name_in(certificate: Any) -> str:
    """The common name of a certificate, else all of its names. Somebody else's words: only ever to be shown as text."""
    try:
        names = certificate.subject.native
        name = str(names.get("common_name") or certificate.subject.human_friendly)
    except (ValueError, TypeError, AttributeError, KeyError):
        return ""
    return "".join(character for character in name if character.isprintable())[:200]

"""Evidence packages: everything about one result in one ZIP file, which whoever gets it can check without this site.

What is in it and how it is checked: docs/evidence-package.md and :mod:`reports.verification`, which shares the names
below.

Members are stored, not compressed: films and pictures are so already, the bytes depend on no version of a compressor,
and nothing can unpack to more than the ZIP itself.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files.storage import default_storage
from django.template.loader import render_to_string
from django.utils import timezone, translation

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import custody
from media_analysis.case_details import FIELDS, case_of
from media_analysis.models import Analysis, CustodyEvent, Media
from media_analysis.wording import verdict_text
from ml import __version__
from reports import issued, seal
from reports.models import IssuedDocument
from reports.services import get_report, read_report, require_result

logger = logging.getLogger(__name__)

# Counted up with every change of what is in a package or what it is called.
SCHEMA = 1
MANIFEST, SIGNATURE, CERTIFICATE = "manifest.json", "manifest.sig", "certificate.pem"
ANALYSIS, SCORES, CUSTODY, CHECKSUMS, README = "analysis.json", "scores.csv", "custody.json", "SHA256SUMS", "README.txt"
PICTURES = "pictures/"
# The file as received, under a name that says what it is: whatever name it came with stands in analysis.json.
ORIGINAL = "original"
ENDINGS = {
    "mp4": "mp4",
    "mov": "mov",
    "matroska": "mkv",
    "ogg": "ogv",
    "avi": "avi",
    "jpeg": "jpg",
    "png": "png",
    "webp": "webp",
    "heif": "heic",
}
SCORE_COLUMNS = (
    *("person", "frame", "time_seconds", "left", "top", "right", "bottom"),
    *("detection_probability", "fake_probability", "called_fake"),
)
# Columns that are written as they are.
ANALYSIS_FIELDS = (
    *("status", "outcome", "reason", "fake_probability", "pooled_probability", "confidence"),
    *("real_frames", "fake_frames", "timestamps", "detector", "detector_version", "weights_sha256"),
    *("software_version", "seconds"),
)
MEDIA_FIELDS = (
    *("kind", "original_name", "size", "sha256", "md5", "container", "codec", "width", "height", "rotation"),
    *("duration", "frame_rate", "frame_count", "bit_rate", "has_audio"),
)
LINK_FIELDS = (
    *("url", "canonical_url", "site", "title", "uploader", "uploader_url", "uploaded", "duration", "claims"),
    *("cut_from", "cut_to", "file_url", "server_address", "headers", "fetched_with", "fetched_at"),
    *("whole_sha256", "whole_size"),
)
CUSTODY_FIELDS = ("actor", "address", "address_salt", "address_digest", "details", "previous", "digest")
PIECE_BYTES = 1 << 20


class PackageError(Exception):
    """What is stored is not what it was: a package of it would be no evidence."""


@dataclass(frozen=True, slots=True)
class Package:
    """A finished package. ``file`` is a temporary one, at its beginning, and gone when it is closed."""

    file: BinaryIO
    name: str
    size: int
    sha256: str


class Writer:
    """Writes a package to a file that can seek: the same members and time give the same bytes."""

    def __init__(self, target: BinaryIO, made_at: datetime) -> None:
        self._date = made_at.astimezone(UTC).timetuple()[:6]
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)
        self.members: list[dict[str, Any]] = []

    def add(self, name: str, source: BinaryIO, size: int) -> str:
        """Write `size` bytes; returns their SHA-256. Raises :class:`PackageError` where there are more or fewer."""
        info = zipfile.ZipInfo(name, self._date)
        # An ordinary file that everybody may read, as Unix says it, wherever the package is made.
        info.create_system, info.external_attr = 3, 0o100644 << 16
        # Told beforehand, so that files beyond 4 GB get the longer fields.
        info.file_size = size
        digest, written = hashlib.sha256(), 0
        with self._zip.open(info, "w") as member:
            while piece := source.read(PIECE_BYTES):
                digest.update(piece)
                written += member.write(piece)
        if written != size:
            raise PackageError(f"{name} has {written} bytes and not {size}")
        self.members.append({"name": name, "size": size, "sha256": digest.hexdigest()})
        return digest.hexdigest()

    def add_bytes(self, name: str, content: bytes) -> None:
        self.add(name, io.BytesIO(content), len(content))

    def add_stored(self, name: str, stored: str) -> None:
        with default_storage.open(stored) as file:
            source: Any = file
            self.add(name, source, file.size)

    def close(self) -> None:
        """Write the list of contents."""
        self._zip.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


def make_package(analysis: Analysis, language: str, *, actor: User, site: str = "") -> Package:
    """The package of a finished analysis that `actor` may see, with reports in `language` and in English.

    ``site`` is the address that it was asked for at, for reports and README where the settings name no other.
    That it leaves the building is in the custody log before it does, and so in the package itself. Must not be called
    in a transaction. Raises :class:`SentinelError` as :func:`reports.services.get_report` does, and
    :class:`PackageError` where what is stored is not what was examined.
    """
    require_result(analysis)
    site = settings.SENTINEL_URL or site.rstrip("/")
    reports = _reports(analysis, language, site)
    made_at = timezone.now().astimezone(UTC).replace(microsecond=0)
    media = analysis.media
    custody.record(
        media.public_id,
        custody.Event.DOWNLOADED,
        actor=actor,
        what=str(custody.What.PACKAGE),
        analysis=analysis.public_id,
    )
    events = list(custody.events_of(media.public_id))
    if media.owner_id != actor.pk:
        events = custody.without_addresses(events)
    # Without a name from the beginning: whatever dies meanwhile, it is not left behind.
    target: Any = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 -- handed to the caller
    try:
        write_package(target, analysis, reports, events, made_at, site=site)
        size = target.tell()
        target.seek(0)
        digest = hashlib.file_digest(target, "sha256").hexdigest()
        target.seek(0)
        _require_there(analysis)
        issued.register(digest, IssuedDocument.Kind.PACKAGE, issued_at=made_at)
    except FileNotFoundError as error:
        target.close()
        _require_there(analysis)
        raise PackageError(f"{media.public_id}: a stored file is gone") from error
    except BaseException:
        target.close()
        raise
    return Package(target, f"sentinel-evidence-{media.public_id}.zip", size, digest)


def write_package(
    target: BinaryIO,
    analysis: Analysis,
    reports: Mapping[str, bytes],
    events: Sequence[CustodyEvent],
    made_at: datetime,
    *,
    site: str = "",
) -> None:
    """Write everything that belongs to a result: the same arguments give the same bytes but for the signature.

    ``reports`` are PDFs by their language, the first being that of the README.
    """
    media = analysis.media
    original = original_name(media)
    documents = {f"report-{language}.pdf": pdf for language, pdf in reports.items()}
    with Writer(target, made_at) as writer:
        for name, text in _readmes(analysis, original, reports, made_at=made_at, site=site).items():
            writer.add_bytes(name, text.encode())
        with default_storage.open(str(media.file)) as file:
            source: Any = file
            if writer.add(original, source, media.size) != media.sha256:
                raise PackageError(f"{media.public_id}: the stored file has another SHA-256 than the one received")
        for name, pdf in documents.items():
            writer.add_bytes(name, pdf)
        numbers = describe_analysis(analysis)
        writer.add_bytes(ANALYSIS, to_json(numbers))
        writer.add_bytes(SCORES, scores_csv(numbers["result"]))
        for stored in analysis.evidence:
            writer.add_stored(PICTURES + stored.rpartition("/")[2], stored)
        writer.add_bytes(CUSTODY, to_json(describe_custody(media.public_id, events)))
        writer.add_bytes(CERTIFICATE, seal.certificate_pem().encode())
        writer.add_bytes(CHECKSUMS, checksums(writer.members))
        manifest = to_json(
            {
                "schema": SCHEMA,
                "made_at": _moment(made_at),
                "made_by": {"software": "Sentinel", "version": __version__, "site": site},
                "analysis": analysis.public_id,
                "media": media.public_id,
                "original": original,
                "members": writer.members,
                "reports": {
                    name: {"signed_by": _signer_of(name, pdf), "language": language}
                    for (name, pdf), language in zip(documents.items(), reports, strict=True)
                },
                "custody": {"events": len(events), "last_digest": events[-1].digest},
                "signed_by": seal.certificate_fingerprint(),
                "reproduce": describe_method(numbers),
            }
        )
        writer.add_bytes(MANIFEST, manifest)
        writer.add_bytes(SIGNATURE, seal.sign_detached(manifest))


def original_name(media: Media) -> str:
    return f"{ORIGINAL}.{ENDINGS.get(media.container, 'bin')}"


def to_json(value: Any) -> bytes:
    """The one way in which packages write JSON."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def checksums(members: Iterable[Mapping[str, Any]]) -> bytes:
    """What ``sha256sum -c`` reads."""
    return "".join(f"{member['sha256']}  {member['name']}\n" for member in members).encode()


def scores_csv(result: Mapping[str, Any]) -> bytes:
    """Each face of each person in each frame, a line each; times in seconds, boxes in pixels, probabilities in 0..1.

    ``called_fake`` is 1 where the fake probability is above the frame threshold of the settings.
    """
    threshold = result.get("settings", {}).get("thresholds", {}).get("frame", 0.5)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(SCORE_COLUMNS)
    for track in result["tracks"]:
        for face in track["faces"]:
            probability = face["fake_probability"]
            rows.writerow(
                [
                    track["index"] + 1,
                    face["frame"],
                    face["time"],
                    *face["box"],
                    face["detection_probability"],
                    probability,
                    int(probability > threshold),
                ]
            )
    return text.getvalue().encode()


def describe_analysis(analysis: Analysis) -> dict[str, Any]:
    """analysis.json: all that was found and what it was found in."""
    media = analysis.media
    case = case_of(analysis)
    link = getattr(media, "link", None)
    return {
        "schema": SCHEMA,
        "analysis": {
            "id": analysis.public_id,
            **{name: getattr(analysis, name) for name in ANALYSIS_FIELDS},
            "real_to_fake_ratio": analysis.real_to_fake_ratio,
            "accepted_at": _moment(analysis.created_at),
            "finished_at": _moment(analysis.finished_at),
        },
        "media": {
            "id": media.public_id,
            **{name: getattr(media, name) for name in MEDIA_FIELDS},
            "received_at": _moment(media.arrived_at),
        },
        "submissions": [
            {
                "id": each.public_id,
                "source": each.source,
                "submitted_by": each.submitted_by.public_id,
                "submitted_at": _moment(each.created_at),
            }
            for each in media.submissions.select_related("submitted_by").order_by("created_at", "pk")
        ],
        "link": {name: _plain(getattr(link, name)) for name in LINK_FIELDS} if link else None,
        "case": {name: _plain(getattr(case, name)) for name in FIELDS} if case else None,
        "result": analysis.result,
    }


def describe_method(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody needs to examine the file again: of the manifest, taken from analysis.json."""
    names = ("software_version", "detector", "detector_version", "weights_sha256")
    settings_used = (numbers["result"] or {}).get("settings", {})
    return {**{name: numbers["analysis"][name] for name in names}, "settings": settings_used}


def describe_custody(media_id: str, events: Iterable[CustodyEvent]) -> dict[str, Any]:
    """custody.json: the chain, event by event, with all that its digests are made of."""
    return {
        "schema": SCHEMA,
        "media": media_id,
        "events": [
            {
                "number": event.number,
                "event": str(event.event),
                "at": event.at.astimezone(UTC).isoformat(timespec="milliseconds"),
                **{name: getattr(event, name) for name in CUSTODY_FIELDS},
            }
            for event in events
        ],
    }


def read_custody(described: Mapping[str, Any]) -> list[CustodyEvent]:
    """The events of a custody.json, as rows that are not in the database. Raises ValueError, KeyError, TypeError."""
    return [
        CustodyEvent(
            media_id=described["media"],
            number=event["number"],
            event=event["event"],
            at=datetime.fromisoformat(event["at"]),
            **{name: event[name] for name in CUSTODY_FIELDS},
        )
        for event in described["events"]
    ]


def _reports(analysis: Analysis, language: str, site: str) -> dict[str, bytes]:
    """By language, that of the reader first. Where this server can't write it there is the English one alone."""
    found = {}
    for code in dict.fromkeys((language, settings.LANGUAGE_CODE)):
        try:
            found[code] = read_report(get_report(analysis, code, site=site and f"{site}/"))
        except SentinelError as error:
            if error.code is not Code.LANGUAGE_UNAVAILABLE or code == settings.LANGUAGE_CODE:
                raise
    return found


def _readmes(
    analysis: Analysis, original: str, reports: Mapping[str, bytes], *, made_at: datetime, site: str
) -> dict[str, str]:
    """README.txt in English, and one in the reader's language if that is another."""
    found: dict[str, str] = {}
    for language in (settings.LANGUAGE_CODE, *(each for each in reports if each != settings.LANGUAGE_CODE)):
        with translation.override(language):
            context = {
                "analysis": analysis,
                "media": analysis.media,
                "verdict": verdict_text(analysis),
                "original": original,
                "reports": [f"report-{each}.pdf" for each in reports],
                "has_pictures": bool(analysis.evidence),
                "made_at": made_at,
                "fingerprint": seal.certificate_fingerprint(),
                "site": site,
                "version": __version__,
            }
            name = README if language == settings.LANGUAGE_CODE else f"README-{language}.txt"
            found[name] = render_to_string("reports/package/readme.txt", context)
    return found


def _signer_of(name: str, pdf: bytes) -> str:
    """The fingerprint of the certificate that a report is signed with: perhaps one that this site has since replaced.

    Empty for a report from before there were seals, which only the manifest's signature speaks for.
    """
    found = seal.check_pdf(pdf)
    if found.state is seal.State.UNSIGNED:
        return ""
    if found.state is not seal.State.INTACT:
        raise PackageError(f"{name}: its signature is {found.state}")
    return found.fingerprint


def _require_there(analysis: Analysis) -> None:
    """Raises ``not_found`` where the file was deleted meanwhile: then it leaves with nobody."""
    if not Analysis.objects.filter(pk=analysis.pk, media__deleted_at__isnull=True).exists():
        raise SentinelError(Code.NOT_FOUND)


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _plain(value: Any) -> Any:
    """As JSON takes it."""
    if isinstance(value, datetime):
        return _moment(value)
    return value.isoformat() if isinstance(value, date) else value

"""Hands over for training what owners permitted and reviewers confirmed, in the layouts that ``ml.training`` reads.

The folder has a ``manifest.json`` of what lies in it; every run brings the two in step with the database. Files are
named by their SHA-256, and nothing tells whose they were. Only whole files appear: an entry is written to the manifest
before its file is moved into place, so that no file is ever there that a later run does not know of.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.utils import timezone

from media_analysis import custody, feedback, selectors
from media_analysis.models import Feedback, Media

logger = logging.getLogger(__name__)

SCHEMA = 1
MANIFEST_FILE = "manifest.json"
LOCK_FILE = ".export.lock"
PARTIAL_FILE = ".export.part"
CHUNK_BYTES = 1 << 20
# As in DFDC: splits into folds go by part, so a part must not hold what came on one day.
PARTS = 50
LICENCE_NOTE = (
    "Given by the person who submitted it, for improving the detector of this site only; not for redistribution. The "
    "rights of others in it, and of the people it shows, were not cleared. To be dropped once it is listed as gone."
)
METADATA_FILE = "metadata.json"
PART_PREFIX = "dfdc_train_part_"
# The formats that training reads portraits in.
PHOTO_SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


class Layout(StrEnum):
    """Which commands of ``ml.training`` the folder is for.

    ``training``: photos as ``real/<source>/`` and ``fake/<source>/`` portraits, videos as ``dfdc_train_part_<n>/`` with
    a ``metadata.json``. ``evaluation``: ``<kind>/feedback/real/`` and ``<kind>/feedback/fake/<method>/``.
    """

    TRAINING = "training"
    EVALUATION = "evaluation"


class Left(StrEnum):
    """Why something is not handed over."""

    NO_CONSENT = "no consent, or withdrawn"
    AGREEMENT = "an agreement"
    NOT_REVIEWED = "not reviewed"
    REJECTED = "rejected by the reviewer"
    CONFLICT = "reviewers confirmed the same file as real and as fake, or by two methods"
    NO_ORIGINAL = "a fake video: the DFDC layout needs the original it was made of"
    NOT_GENERATED = "a fake photo that is not wholly generated: training makes other fakes itself"
    UNREAD_FORMAT = "a photo in a format that training does not read"
    MISSING = "its file is missing"
    DAMAGED = "its file is not the one that was received"


# The storage has lost something: worth an alarm.
FAULTS = {Left.MISSING, Left.DAMAGED}


class Gone(StrEnum):
    """Why something handed over earlier must be dropped now."""

    DELETED = "deleted"
    WITHDRAWN = "consent withdrawn"
    NOT_CONFIRMED = "no longer confirmed"


@dataclass(frozen=True, slots=True)
class Item:
    """A file to hand over: its path in the folder, and the feedback that permits it, which agrees about the label."""

    file: str
    media: Media
    group: tuple[Feedback, ...]

    def entry(self) -> dict[str, Any]:
        """What the manifest says of it. No names, no addresses, no ids of ours."""
        reviewed = max(given.reviewed_at for given in self.group if given.reviewed_at)
        consented = min(given.consent_at for given in self.group if given.consent_at)
        analysis = self.group[0].analysis
        return {
            "file": self.file,
            "sha256": self.media.sha256,
            "kind": self.media.kind,
            "label": self.group[0].review,
            "method": self.group[0].fake_method,
            "reviewed_at": reviewed.isoformat(timespec="seconds"),
            "consent_at": consented.isoformat(timespec="seconds"),
            "opinion": self.group[0].opinion,
            "outcome": analysis.outcome,
            "fake_probability": analysis.fake_probability,
            "detector": analysis.detector,
            "detector_version": analysis.detector_version,
            "gone": None,
        }


@dataclass(slots=True)
class Report:
    """What a run did, as paths in the folder. ``gone`` has the reason for each file that must be dropped."""

    exported: list[str] = field(default_factory=list)
    relabelled: list[str] = field(default_factory=list)
    unchanged: int = 0
    gone: dict[str, Gone] = field(default_factory=dict)
    pruned: list[str] = field(default_factory=list)
    left_out: Counter[Left] = field(default_factory=Counter)

    @property
    def faulty(self) -> bool:
        return any(self.left_out[reason] for reason in FAULTS)


class WrongFolder(Exception):
    """The folder cannot be exported to; the text says why, for the command line."""


def export_feedback(
    folder: Path, *, layout: Layout = Layout.TRAINING, include_agreements: bool = False, prune: bool = False
) -> Report:
    """Bring the folder in step with what may be handed over now.

    A second run writes only what is new. What was withdrawn or deleted since is listed in the report and marked in the
    manifest, and removed only with ``prune``. A label that a reviewer corrected is corrected at once. Raises
    :class:`WrongFolder` if the folder belongs to another layout or to something else, or another export is running.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder):
        manifest = Manifest.read(folder, layout)
        report = Report()
        wanted = {item.media.sha256: item for item in _choose(layout, include_agreements, manifest, report)}
        _mark_gone(manifest, wanted, report)
        _enter(manifest, wanted, report)
        manifest.write()
        for sha256, item in wanted.items():
            if (folder / item.file).is_file():
                report.unchanged += item.file not in report.relabelled
            elif left := _hand_over(folder, item):
                report.left_out[left] += 1
                del manifest.items[sha256]
            elif item.file not in report.relabelled:
                report.exported.append(item.file)
        if prune:
            report.pruned = manifest.drop_gone()
        manifest.write_metadata()
        manifest.remove_stale()
        manifest.write()
    return report


class Manifest:
    """What lies in the folder: an entry for each file, by SHA-256, and files that are to be removed."""

    def __init__(self, folder: Path, layout: Layout, items: dict[str, dict[str, Any]], stale: list[str]) -> None:
        self.folder = folder
        self.layout = layout
        self.items = items
        self.stale = stale

    @classmethod
    def read(cls, folder: Path, layout: Layout) -> Manifest:
        """Raises :class:`WrongFolder`."""
        path = folder / MANIFEST_FILE
        if not path.is_file():
            if any(entry.name not in {LOCK_FILE, PARTIAL_FILE} for entry in folder.iterdir()):
                raise WrongFolder(f"{folder} is not empty, and not of an earlier export")
            return cls(folder, layout, {}, [])
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if (document["schema"], document["layout"]) != (SCHEMA, layout):
                raise WrongFolder(f"{folder} holds layout {document['layout']!r} of schema {document['schema']}")
            return cls(folder, layout, {item["sha256"]: item for item in document["items"]}, list(document["stale"]))
        except (ValueError, KeyError, TypeError) as error:
            raise WrongFolder(f"{path} cannot be read: {error!r}") from error

    def write(self) -> None:
        items = sorted(self.items.values(), key=lambda item: str(item["file"]))
        document = {"schema": SCHEMA, "layout": self.layout, "licence": LICENCE_NOTE, "items": items}
        _write_json(self.folder, MANIFEST_FILE, {**document, "stale": sorted(self.stale)})

    def write_metadata(self) -> None:
        """``metadata.json`` of each DFDC part, which makes its videos part of the data."""
        parts: dict[str, dict[str, Any]] = {path.parent.name: {} for path in self.folder.glob(f"*/{METADATA_FILE}")}
        for item in self.items.values():
            part, _, name = str(item["file"]).rpartition("/")
            if part.startswith(PART_PREFIX) and (self.folder / item["file"]).is_file():
                parts.setdefault(part, {})[name] = {"label": item["label"].upper(), "original": None, "split": "train"}
        for part, videos in parts.items():
            if videos:
                _write_json(self.folder, f"{part}/{METADATA_FILE}", dict(sorted(videos.items())))
            else:
                (self.folder / part / METADATA_FILE).unlink()

    def drop_gone(self) -> list[str]:
        """Forget what must be dropped; its files are removed with the stale ones. Returns their paths."""
        gone = [item for item in self.items.values() if item["gone"]]
        for item in gone:
            del self.items[item["sha256"]]
        self.stale += [item["file"] for item in gone]
        self.write()
        return sorted(item["file"] for item in gone)

    def remove_stale(self) -> None:
        in_use = {item["file"] for item in self.items.values()}
        for file in set(self.stale) - in_use:
            (self.folder / file).unlink(missing_ok=True)
        self.stale = []


def _choose(layout: Layout, include_agreements: bool, manifest: Manifest, report: Report) -> Iterator[Item]:
    """One item for each file that may be handed over, by SHA-256; counts what may not."""
    permitted: list[Feedback] = []
    for given in selectors.all_feedback().order_by("analysis__media__sha256", "pk"):
        # Agreements that were asked for once stay.
        agreements_too = include_agreements or given.analysis.media.sha256 in manifest.items
        reason = _reason_against(given, agreements_too)
        if reason is None:
            permitted.append(given)
        else:
            report.left_out[reason] += 1
    for _sha256, same in groupby(permitted, key=lambda given: given.analysis.media.sha256):
        group = list(same)
        place = _place_of(layout, group)
        if isinstance(place, Left):
            report.left_out[place] += 1
        else:
            yield Item(place, group[-1].analysis.media, tuple(group))


def _place_of(layout: Layout, group: Sequence[Feedback]) -> str | Left:
    """Where the file goes in the folder, or why it does not. ``group`` is the feedback on files of the same content."""
    if len({(given.review, given.fake_method) for given in group}) > 1:
        return Left.CONFLICT
    media, method = group[0].analysis.media, group[0].fake_method
    is_video, is_fake = media.kind == Media.Kind.VIDEO, group[0].review == Feedback.Review.FAKE
    suffix = ".mp4" if is_video else PHOTO_SUFFIXES.get(media.codec, "")
    if layout is Layout.EVALUATION:
        truth = f"fake/{method}" if is_fake else "real"
        return f"{'videos' if is_video else 'images'}/feedback/{truth}/{media.sha256}{suffix or '.img'}"
    if is_video:
        part = int(media.sha256[:8], 16) % PARTS
        return Left.NO_ORIGINAL if is_fake else f"{PART_PREFIX}{part}/{media.sha256}{suffix}"
    if is_fake and method != Feedback.Method.GENERATED:
        return Left.NOT_GENERATED
    return f"{'fake' if is_fake else 'real'}/feedback/{media.sha256}{suffix}" if suffix else Left.UNREAD_FORMAT


def _reason_against(given: Feedback, include_agreements: bool) -> Left | None:
    if given.consent_at is None:
        return Left.NO_CONSENT
    if given.opinion == Feedback.Opinion.AGREE and not include_agreements:
        return Left.AGREEMENT
    if given.review == Feedback.Review.WAITING:
        return Left.NOT_REVIEWED
    return Left.REJECTED if given.review == Feedback.Review.REJECTED else None


def _mark_gone(manifest: Manifest, wanted: Mapping[str, Item], report: Report) -> None:
    for sha256, entry in list(manifest.items.items()):
        if sha256 in wanted:
            continue
        if not (manifest.folder / entry["file"]).is_file():
            # A run was killed before the file came, or somebody removed it: there is nothing to drop.
            del manifest.items[sha256]
            continue
        reason = _why_gone(sha256)
        report.gone[entry["file"]] = reason
        if entry["gone"] is None:
            entry["gone"] = {"reason": reason, "noticed_at": timezone.now().isoformat(timespec="seconds")}


def _why_gone(sha256: str) -> Gone:
    left = selectors.all_feedback().filter(analysis__media__sha256=sha256)
    if not left.exists():
        return Gone.DELETED
    return Gone.NOT_CONFIRMED if left.filter(consent_at__isnull=False).exists() else Gone.WITHDRAWN


def _enter(manifest: Manifest, wanted: Mapping[str, Item], report: Report) -> None:
    """Bring the entries in step with what is wanted; files under other names become stale."""
    for sha256, item in wanted.items():
        before = manifest.items.get(sha256)
        entry = manifest.items[sha256] = item.entry()
        if before is None:
            continue
        if before["file"] != item.file:
            manifest.stale.append(before["file"])
        if (before["label"], before["method"]) != (entry["label"], entry["method"]):
            report.relabelled.append(item.file)


def _hand_over(folder: Path, item: Item) -> Left | None:
    """Bring one file into the folder, whole or not at all; why not, if not."""
    stored = str(item.media.file)
    if not default_storage.exists(stored):
        logger.error("The file of media %s is missing", item.media.public_id)
        return Left.MISSING
    partial = folder / PARTIAL_FILE
    if _copy(stored, partial) != item.media.sha256:
        logger.error("The file of media %s is not the one that was received", item.media.public_id)
        partial.unlink()
        return Left.DAMAGED
    keys = [given.pk for given in item.group]
    # Asked last, since copying takes time. From the mark on it counts as handed over.
    if not selectors.all_feedback().filter(pk__in=keys).exists() or not feedback.hand_over(keys):
        partial.unlink()
        return Left.NO_CONSENT
    target = folder / item.file
    target.parent.mkdir(parents=True, exist_ok=True)
    custody.record(
        item.media.public_id,
        custody.Event.DOWNLOADED,
        what=str(custody.What.TRAINING),
        sha256=item.media.sha256,
    )
    partial.replace(target)
    return None


def _copy(stored: str, target: Path) -> str:
    """Copy from the storage to a file on this machine; returns the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with default_storage.open(stored) as source, target.open("wb") as copy:
        while block := source.read(CHUNK_BYTES):
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()


def _write_json(folder: Path, name: str, document: Mapping[str, Any]) -> None:
    partial = folder / PARTIAL_FILE
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises :class:`WrongFolder` while another export writes into the folder."""
    with (folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WrongFolder(f"another export is writing into {folder}") from error
        yield

"""The error rates that were measured for a detector, and those that fit a given file. Imports no torch.

They stand in ``error_rates.json`` beside the detector's weights. ``python -m ml.training evaluate`` writes that file;
nothing in it is typed by hand, and it only counts for the weights, thresholds and aggregation that it was measured
with::

    {"schema": 1,
     "detector": name, "detector_version": text, "weights_sha256": [hex, …],
     "thresholds": {"fake": p, "real": p, "frame": p}, "aggregation": name,
     "frames": frames looked at in a video, "precision": "float32" | "bfloat16",   (float32 where it is not said)
     "used_for_choosing": whether the detector or its thresholds were chosen by these files,
     "measured_on": ISO date, "software": {library: version, …},
     "media": {"files": n, "sha256": digest of the files' digests and labels, "groups": [name, …]},
     "level": 0.95, "interval": "clopper-pearson",
     "cells": [{"kind": "video" | "image",
                "compression": "strong" | "medium" | "light" | null,      (null: all taken together)
                "face_size": "small" | "medium" | "large" | null,
                "reals": {"called_fake": n, "inconclusive": n, "called_real": n},
                "fakes": {"called_fake": n, "inconclusive": n, "called_real": n},
                "not_assessable": {"reals": n, "fakes": n},              (not among the counts above)
                "false_alarms": share, "misses": share, "found": share}, …]}

where a share is ``{"count": n, "files": n, "share": x, "low": x, "high": x}`` or null where there are no files.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ml.contracts import (
    AnalysisError,
    Compression,
    CountedShare,
    ErrorRates,
    FaceSize,
    MediaInfo,
    MediaKind,
    NotMeasured,
    NotMeasuredReason,
    TrackResult,
)
from ml.detectors.catalog import find_detector
from ml.detectors.spec import DetectorSpec

logger = logging.getLogger(__name__)

SCHEMA = 1
FILE = "error_rates.json"
FLOAT32 = "float32"
# With fewer real or fake files a cell says too little, and the broader one is taken.
FEWEST_FILES = 10

# Bits a pixel of a video, sound included, below which compression is strong, and medium. For H.264 the first is about
# CRF 30 and above (FaceForensics++ c40 has .004 to .009), the second covers what phones and sites send (.02 to .1).
# Newer codecs need half as much for the same picture, which is not made up for.
STRONG_BELOW_BITS, MEDIUM_BELOW_BITS = 0.02, 0.1
# The same for the quality of a JPEG.
STRONG_BELOW_QUALITY, MEDIUM_BELOW_QUALITY = 60, 85
# Pixels of a face box's wider side in the file's own resolution.
SMALL_BELOW, MEDIUM_BELOW = 128, 256


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What error rates are told apart by. None: unknown, as the compression of a PNG."""

    kind: MediaKind
    compression: Compression | None
    face_size: FaceSize | None


def facts_of(info: MediaInfo, tracks: Sequence[TrackResult]) -> MediaFacts:
    """`tracks` are those of the result; the one with the highest fake probability decides about the face's size."""
    worst = max(tracks, key=lambda track: track.fake_probability, default=None)
    size = median(max(face.box.width, face.box.height) for face in worst.faces) if worst and worst.faces else None
    return MediaFacts(info.kind, compression_of(info), None if size is None else face_size_of(size))


def compression_of(info: MediaInfo) -> Compression | None:
    """By bits a pixel for a video, by quality for a JPEG; None where neither is known."""
    if info.kind is MediaKind.IMAGE:
        return _step(info.jpeg_quality, STRONG_BELOW_QUALITY, MEDIUM_BELOW_QUALITY) if info.jpeg_quality else None
    pixels = info.width * info.height * info.frame_rate
    if not info.bit_rate or pixels <= 0:
        return None
    return _step(info.bit_rate / pixels, STRONG_BELOW_BITS, MEDIUM_BELOW_BITS)


def _step(value: float, strong: float, medium: float) -> Compression:
    if value < strong:
        return Compression.STRONG
    return Compression.MEDIUM if value < medium else Compression.LIGHT


def face_size_of(pixels: float) -> FaceSize:
    if pixels < SMALL_BELOW:
        return FaceSize.SMALL
    return FaceSize.MEDIUM if pixels < MEDIUM_BELOW else FaceSize.LARGE


def broader(facts: MediaFacts) -> list[MediaFacts]:
    """The cells to look into, from the narrowest to all files of the kind."""
    cells = [
        facts,
        MediaFacts(facts.kind, facts.compression, None),
        MediaFacts(facts.kind, None, facts.face_size),
        MediaFacts(facts.kind, None, None),
    ]
    return list(dict.fromkeys(cells))


def error_rates_for(
    spec: DetectorSpec, weights_sha256: Sequence[str], facts: MediaFacts, settings: Mapping[str, Any]
) -> ErrorRates | NotMeasured:
    """What was measured for exactly this detector on files of this kind.

    `weights_sha256` and `settings` are those of the :class:`AnalysisResult`: with other weights, thresholds, numbers
    of frames or arithmetic, or in the reference's way of judging or without judging copies, the measured figures say
    nothing.
    """
    try:
        folder = find_detector(spec.name).folder
    except AnalysisError:
        # A detector from a folder that was named for this run alone.
        folder = None
    path = None if folder is None else folder / FILE
    if path is None or not path.is_file():
        return NotMeasured(NotMeasuredReason.NO_MEASUREMENT)
    try:
        document = read(path)
    except (OSError, ValueError) as error:
        logger.error("%s cannot be used: %r", path, error)
        return NotMeasured(NotMeasuredReason.UNREADABLE)
    if document["weights_sha256"] != list(weights_sha256):
        return NotMeasured(NotMeasuredReason.OTHER_WEIGHTS)
    as_measured = (
        document["thresholds"] == asdict(spec.thresholds)
        and document["aggregation"] == spec.aggregation
        and not settings.get("parity")
        and settings.get("stability", True)
        and settings.get("frames_requested", document["frames"]) == document["frames"]
        and settings.get("precision", FLOAT32) == document.get("precision", FLOAT32)
    )
    if not as_measured:
        return NotMeasured(NotMeasuredReason.OTHER_SETTINGS)
    return lookup(document, facts)


def lookup(document: Mapping[str, Any], facts: MediaFacts) -> ErrorRates | NotMeasured:
    """The narrowest cell around `facts` with at least FEWEST_FILES reals and as many fakes."""
    cells = {(cell["kind"], cell["compression"], cell["face_size"]): cell for cell in document["cells"]}
    for wanted in broader(facts):
        cell = cells.get((wanted.kind, wanted.compression, wanted.face_size))
        if cell is None or min(sum(cell["reals"].values()), sum(cell["fakes"].values())) < FEWEST_FILES:
            continue
        return ErrorRates(
            kind=wanted.kind,
            compression=wanted.compression,
            face_size=wanted.face_size,
            false_alarms=CountedShare(**cell["false_alarms"]),
            misses=CountedShare(**cell["misses"]),
            found=CountedShare(**cell["found"]),
            measured_on=document["measured_on"],
            used_for_choosing=bool(document["used_for_choosing"]),
        )
    return NotMeasured(NotMeasuredReason.TOO_FEW_FILES)


def read(path: Path) -> dict[str, Any]:
    """An error_rates.json. Raises OSError, or ValueError if it is no such file or its shares are not its counts."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"{path}: not of schema {SCHEMA}")
    try:
        for key in ("weights_sha256", "thresholds", "aggregation", "frames", "measured_on", "used_for_choosing"):
            document[key]
        for cell in document["cells"]:
            _check(cell)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error!r}") from error
    return document


def _check(cell: Mapping[str, Any]) -> None:
    """Raises ValueError, KeyError or TypeError."""
    MediaKind(cell["kind"])
    counted = {
        "false_alarms": ("reals", "called_fake"),
        "misses": ("fakes", "called_real"),
        "found": ("fakes", "called_fake"),
    }
    for name, (label, verdict) in counted.items():
        files = sum(cell[label].values())
        if cell[name] is None and not files:
            continue
        share = CountedShare(**cell[name])
        if (share.count, share.files) != (cell[label][verdict], files):
            raise ValueError(f"{name} are not what was counted")
        if abs(share.share - share.count / share.files) > 1e-6 or not 0 <= share.low <= share.share <= share.high <= 1:
            raise ValueError(f"{name} are not the share of what was counted")

"""Counting verdicts on labelled files into the ``error_rates.json`` of a detector: see :mod:`ml.error_rates`."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from ml.contracts import Compression, CountedShare, FaceSize, MediaKind, Outcome
from ml.detectors.spec import DetectorSpec
from ml.error_rates import SCHEMA
from ml.training.scoring import FileScore, media_digest
from ml.training.statistics import LEVEL, exact_rate

VERDICTS = {"called_fake": Outcome.FAKE, "inconclusive": Outcome.INCONCLUSIVE, "called_real": Outcome.REAL}


def count_error_rates(
    scores: Sequence[FileScore],
    spec: DetectorSpec,
    weights_sha256: Sequence[str],
    *,
    frames: int,
    precision: str,
    used_for_choosing: bool,
    measured_on: date,
    software: dict[str, str],
) -> dict[str, Any]:
    """The document, with a cell for each combination of kind, compression and face size in which there is a file."""
    return {
        "schema": SCHEMA,
        "detector": spec.name,
        "detector_version": spec.version,
        "weights_sha256": list(weights_sha256),
        "thresholds": asdict(spec.thresholds),
        "aggregation": spec.aggregation.value,
        "frames": frames,
        "precision": precision,
        "used_for_choosing": used_for_choosing,
        "measured_on": measured_on.isoformat(),
        "software": software,
        "media": {
            "files": len(scores),
            "sha256": media_digest(scores),
            "groups": sorted({score.group for score in scores}),
        },
        "level": LEVEL,
        "interval": "clopper-pearson",
        "cells": list(_cells(scores)),
    }


def _cells(scores: Sequence[FileScore]) -> Iterable[dict[str, Any]]:
    combinations = itertools.product(MediaKind, (None, *Compression), (None, *FaceSize))
    for kind, compression, face_size in combinations:
        members = [score for score in scores if _lies_in(score, kind, compression, face_size)]
        if members:
            yield {
                "kind": kind.value,
                "compression": compression and compression.value,
                "face_size": face_size and face_size.value,
                **_count(members),
            }


def _lies_in(score: FileScore, kind: MediaKind, compression: Compression | None, face_size: FaceSize | None) -> bool:
    facts = score.facts
    return (
        facts is not None
        and facts.kind is kind
        and compression in {None, facts.compression}
        and face_size in {None, facts.face_size}
    )


def _count(scores: Sequence[FileScore]) -> dict[str, Any]:
    by_label = {label: [score for score in scores if score.label == label] for label in ("real", "fake")}
    counts = {
        label: {name: sum(score.outcome == verdict for score in members) for name, verdict in VERDICTS.items()}
        for label, members in by_label.items()
    }
    return {
        "reals": counts["real"],
        "fakes": counts["fake"],
        "not_assessable": {
            f"{label}s": sum(score.outcome == Outcome.NOT_ASSESSABLE for score in members)
            for label, members in by_label.items()
        },
        "false_alarms": _share(counts["real"], "called_fake"),
        "misses": _share(counts["fake"], "called_real"),
        "found": _share(counts["fake"], "called_fake"),
    }


def _share(counts: dict[str, int], verdict: str) -> dict[str, Any] | None:
    files = sum(counts.values())
    if not files:
        return None
    rate = exact_rate(counts[verdict], files)
    return asdict(CountedShare(rate.count, rate.total, rate.value, rate.low, rate.high))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)

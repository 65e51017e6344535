"""Which bytes are these weights? SHA-256 of files, and the lock file that remembers it. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml.contracts import AnalysisError, ErrorCode

LOCK_FILE = "weights.lock.json"

logger = logging.getLogger(__name__)


def sha256_of(path: Path) -> str:
    """Hex digest of a file. Raises AnalysisError(MODEL_UNAVAILABLE) if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, str(error)) from error
    return digest.hexdigest()


def read_lock(directory: Path) -> dict[str, dict[str, Any]]:
    """File name → {sha256, size, source, recorded} of a folder of weights; empty if nothing is recorded.

    Raises AnalysisError(MODEL_UNAVAILABLE) if the lock is there and unreadable: then nothing in it can be trusted.
    """
    path = directory / LOCK_FILE
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: {error}") from error
    if not isinstance(lock, dict) or not all(isinstance(entry, dict) for entry in lock.values()):
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: not a lock file")
    return lock


def record(path: Path, digest: str, *, source: str = "") -> None:
    """Remember the digest of a weights file in the lock beside it. Raises OSError where the folder is read-only."""
    lock = read_lock(path.parent)
    lock[path.name] = {
        "sha256": digest,
        "size": path.stat().st_size,
        "source": source,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    target = path.parent / LOCK_FILE
    partial = target.with_name(f"{LOCK_FILE}.{os.getpid()}.part")
    partial.write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(target)


def verify(path: Path, *, expected: str = "") -> str:
    """SHA-256 of a weights file after comparing it with `expected`, or else with the lock beside the file.

    Where neither knows the file, the digest is recorded: first use decides, every later use must agree.
    Raises AnalysisError(MODEL_UNAVAILABLE) if the file is missing or the digest another.
    """
    digest = sha256_of(path)
    known = expected or str(read_lock(path.parent).get(path.name, {}).get("sha256", ""))
    if known and known.lower() != digest:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: SHA-256 is {digest}, expected {known}")
    if not known:
        try:
            record(path, digest)
        except OSError as error:
            logger.warning("SHA-256 %s of %s could not be recorded: %s", digest, path, error)
    return digest

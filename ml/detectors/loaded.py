"""Remembers which detectors were loaded here, so that a worker that starts again need not try first. Imports no torch.

Trying takes a process of its own and seconds of a processor, which a worker that was killed should spend on what waits.
What was tried is told by a digest over everything that decides whether it works: the detector, the bytes of its
weights, the versions of the libraries; and by the converted networks that it left.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ml import __version__
from ml.contracts import AnalysisError
from ml.detectors.catalog import find_detector, verified_weights
from ml.engine_cache import cache_folder

LIBRARIES = ("torch", "timm", "facenet-pytorch", "openvino", "safetensors", "numpy")
# Settings that decide what is loaded, and how.
VARIABLES = ("SENTINEL_ENGINE", "SENTINEL_PRECISION", "CUDA_VISIBLE_DEVICES")

logger = logging.getLogger(__name__)


def was_loaded(name: str, weights: Sequence[Path] = ()) -> bool:
    """Whether this detector with these weights was loaded here before and nothing that matters has changed since.

    Reads the weights, but does not load them. False where nothing is remembered, and where they are missing or wrong.
    """
    note = _note(name, weights)
    if note is None:
        return False
    try:
        left = json.loads(note.read_text(encoding="utf-8"))["files"]
        return all((note.parent / file).stat().st_size == size for file, size in left.items())
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be read, so the detector is tried: %s", note, error)
        return False


def remember(name: str, weights: Sequence[Path] = ()) -> None:
    """Note that it was loaded just now. Where that cannot be kept, the next start tries again."""
    note = _note(name, weights)
    if note is None:
        return
    partial = note.with_name(f"{note.name}.{os.getpid()}.part")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        left = {file.name: file.stat().st_size for file in _converted(note.parent)}
        partial.write_text(json.dumps({"detector": name, "files": left}, indent=1) + "\n", encoding="utf-8")
        partial.replace(note)
    except OSError as error:
        logger.warning("That the detector %s was loaded could not be kept: %s", name, error)


def _note(name: str, weights: Sequence[Path]) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    try:
        listed = find_detector(name)
        digests = [digest for _path, digest in verified_weights(listed, weights)]
    except AnalysisError:
        # Whoever tries it says what is wrong.
        return None
    decides = {
        "version": __version__,
        "spec": asdict(listed.spec),
        "weights": digests,
        "libraries": {library: _version(library) for library in LIBRARIES},
        "variables": {variable: os.environ.get(variable, "") for variable in VARIABLES},
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    return folder / f"loaded-{digest[:32]}.json"


def _converted(folder: Path) -> Iterator[Path]:
    return (file for file in folder.iterdir() if file.suffix in {".xml", ".bin"} and ".part" not in file.suffixes)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""

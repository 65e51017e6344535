"""Brings checkpoints into a folder of weights and remembers their digests. Imports no torch."""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.integrity import read_lock, record, sha256_of

TIMEOUT_SECONDS = 60
_BLOCK = 1 << 20

# Called with the bytes so far and in all (0 if unknown).
FetchProgress = Callable[[int, int], None]


def fetch_weights(
    source: str | Path, directory: Path, *, sha256: str = "", on_progress: FetchProgress | None = None
) -> Path:
    """Copy a checkpoint from a path or an http(s) address into `directory` under its own name; returns the new path.

    The digest must be `sha256` if that is given, and the one in the folder's lock if the file was there before;
    otherwise it is recorded in the lock. A file already there and as recorded is not fetched again. Nothing is left
    behind on failure. Raises AnalysisError(MODEL_UNAVAILABLE).
    """
    name = _file_name(source)
    target = directory / name
    known = sha256 or str(read_lock(directory).get(name, {}).get("sha256", ""))
    if known and target.is_file() and sha256_of(target) == known.lower():
        if name not in read_lock(directory):
            record(target, known.lower(), source=str(source))
        return target
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{name}.{os.getpid()}.part"
    try:
        _copy(source, partial, on_progress)
        digest = sha256_of(partial)
        if known and digest != known.lower():
            raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{source}: SHA-256 is {digest}, expected {known}")
        partial.replace(target)
    except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError) as error:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{source}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    record(target, digest, source=str(source))
    return target


def _is_address(source: str | Path) -> bool:
    return isinstance(source, str) and urlsplit(source).scheme in {"http", "https"}


def _file_name(source: str | Path) -> str:
    name = PurePosixPath(unquote(urlsplit(str(source)).path)).name if _is_address(source) else Path(source).name
    if not name or name.startswith("."):
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{source}: names no file")
    return name


def _copy(source: str | Path, target: Path, on_progress: FetchProgress | None) -> None:
    if not _is_address(source):
        path = Path(source)
        with path.open("rb") as stream:
            _stream(stream, target, path.stat().st_size, on_progress)
        return
    # The scheme is http or https: checked by _is_address.
    with urllib.request.urlopen(str(source), timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        size = int(answer.headers.get("Content-Length") or 0)
        _stream(cast(BinaryIO, answer), target, size, on_progress)
        if size and target.stat().st_size != size:
            raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{source}: the connection broke off")


def _stream(source: BinaryIO, target: Path, size: int, on_progress: FetchProgress | None) -> None:
    with target.open("wb") as output:
        if on_progress is None:
            shutil.copyfileobj(source, output, _BLOCK)
            return
        done = 0
        while block := source.read(_BLOCK):
            output.write(block)
            done += len(block)
            on_progress(done, size)

"""Judges files and folders from a command line; shared by ``python -m ml.infer`` and ``manage.py classify``."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from ml.contracts import (
    RESULT_SCHEMA,
    AnalysisError,
    AnalysisResult,
    CountedShare,
    ErrorCode,
    ErrorRates,
    MediaInfo,
    MediaKind,
    Outcome,
    ProgressCallback,
    Reason,
    Stage,
)
from ml.detectors.catalog import DEFAULT_DETECTOR, find_detector
from ml.detectors.registry import Detector, load_detector
from ml.faces.detection import FaceDetector, ScaleRule
from ml.inference import analyze
from ml.media.container import has_media_signature
from ml.media.frames import SAMPLED_FRAMES
from ml.media.sandbox import probe

logger = logging.getLogger(__name__)

EXIT_OK, EXIT_SOME_FAILED, EXIT_UNUSABLE = 0, 1, 2

VERDICTS = {
    Outcome.FAKE: "Signs of manipulation found",
    Outcome.REAL: "No sign of manipulation found",
    Outcome.INCONCLUSIVE: "Can't tell",
    Outcome.NOT_ASSESSABLE: "Could not be examined",
}
REASONS: dict[str, str] = {
    Reason.NO_FACE: "no face was found",
    Reason.FACES_TOO_SMALL: "the faces are too small",
    Reason.TOO_FEW_FRAMES: "there are too few usable frames of any one person",
    Reason.WEAK_EVIDENCE: "the evidence is too weak either way",
    Reason.UNSTABLE_EVIDENCE: "the evidence changes from frame to frame",
    Reason.UNSTABLE_COPIES: "the result changes when the picture is compressed once more",
    ErrorCode.FILE_MISSING: "there is no such file",
    ErrorCode.UNREADABLE_MEDIA: "the file is damaged or is no video or photo",
    ErrorCode.NO_VIDEO_STREAM: "the file holds no moving picture",
    ErrorCode.UNSUPPORTED_TYPE: "files of this kind are not taken",
    ErrorCode.MODEL_UNAVAILABLE: "the detector is not available",
    ErrorCode.INTERNAL_ERROR: "of an internal error",
}


# In the CSV, where there are links among the files.
ORIGIN_COLUMNS = ("canonical_url", "fetched_at", "sha256")


class Output(Protocol):
    """What is written to: a text stream, or a Django command's wrapper around one."""

    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """The file of a link, with the decoder's word on it and where it comes from, which goes into the JSON as it is.

    Of ``origin``, ``canonical_url``, ``title``, ``uploader``, ``uploaded``, ``cut_from``, ``cut_to``, ``fetched_at``
    and ``sha256`` are for the text and the CSV too.
    """

    path: Path
    info: MediaInfo
    origin: Mapping[str, Any]


class LinkRefusedError(Exception):
    """A link gives no file that may be examined: a machine name, a text for users, and what is known of the origin."""

    def __init__(self, code: str, text: str, origin: Mapping[str, Any]) -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        self.origin = origin


# Fetches the file of a link, telling the share in [0, 1] that has come, for as long as it is entered.
# Raises LinkRefusedError.
FetchLink = Callable[[str, Callable[[float], None]], AbstractContextManager[LinkedFile]]


@dataclass(frozen=True, slots=True)
class _Item:
    """A file to judge, or the link to one.

    ``name`` is for the CSV: the path inside the folder given, the file's own name, or the link.
    """

    path: Path
    name: str
    in_folder: bool
    link: str = ""

    @property
    def given(self) -> str:
        """As it was given."""
        return self.link or str(self.path)


@dataclass(slots=True)
class _Tally:
    judged: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one file gave: a result, or the code and detail of why there is none.

    ``text`` explains the code of a refused link; ``origin`` is None where the file was given itself.
    """

    item: _Item
    seconds: float
    result: AnalysisResult | None = None
    code: str = ""
    detail: str = ""
    text: str = ""
    origin: Mapping[str, Any] | None = None


@dataclass(slots=True)
class _Writers:
    """Where answers go; each may be absent."""

    json: Output | None = None
    csv: Any = None
    text: Output | None = None
    # Whether the CSV has columns for where files come from.
    origins: bool = False
    written: int = field(default=0)


def add_arguments(parser: argparse.ArgumentParser, *, links: bool = False) -> None:
    """The arguments that :func:`run` reads; with ``links``, it has to get a way to fetch them."""
    parser.add_argument(
        "paths",
        nargs="+",
        type=_path_or_link if links else Path,
        metavar="FILE_OR_LINK" if links else "FILE",
        help="videos, photos, folders of them, or links to them" if links else "videos, photos, or folders of them",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON array, an object a file")
    form.add_argument("--csv", metavar="OUT", help="also write filename,label lines (label: fake probability) to OUT")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--weights",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="PATH",
        help="checkpoints to use instead",
    )
    parser.add_argument("--frames", type=int, default=SAMPLED_FRAMES, metavar="N", help="frames a video: %(default)s")
    parser.add_argument("--device", help="torch device; default: a GPU if there is one")
    parser.add_argument(
        "--no-stability", action="store_true", help="do not judge compressed copies of a few faces again"
    )
    parser.add_argument(
        "--parity", action="store_true", help="as the reference does: faces at half size, all people in one average"
    )


def _path_or_link(text: str) -> Path | str:
    """A link stays a string: in a path, its two slashes would become one."""
    return text if re.match(r"https?://", text, re.IGNORECASE) else Path(text)


def run(options: argparse.Namespace, stdout: Output, stderr: Any, fetch: FetchLink | None = None) -> int:
    """Judge what the options name; returns the exit code: 0 all judged, 1 some file failed, 2 nothing could be done.

    Results go to `stdout`, progress and remarks to `stderr`, a text stream. Links are fetched by `fetch`, each when its
    turn comes.
    """
    if options.frames < 1:
        stderr.write("--frames must be at least 1\n")
        return EXIT_UNUSABLE
    rule = ScaleRule.HALF if options.parity else ScaleRule.WIDTH
    try:
        detector = load_detector(options.detector, weights=options.weights, device=options.device)
        finder = FaceDetector(scale_rule=rule, device=detector.device)
    except (AnalysisError, ValueError) as error:
        # A ValueError names an engine that there is not.
        stderr.write(f"The detector cannot be used: {getattr(error, 'detail', '') or error}\n")
        return EXIT_UNUSABLE
    items = list(_items(options.paths))
    tally = _Tally()
    with ExitStack() as open_files:
        writers = _Writers(json=stdout) if options.json else _Writers(text=stdout)
        if options.csv:
            try:
                stream = open_files.enter_context(_new_csv(options.csv))
            except OSError as error:
                stderr.write(f"{error}\n")
                return EXIT_UNUSABLE
            writers.csv = csv.writer(stream)
            writers.origins = any(item.link for item in items)
            writers.csv.writerow(["filename", "label", *(ORIGIN_COLUMNS if writers.origins else ())])
        if writers.json:
            writers.json.write("[")
        # disable=None: no bar where nobody looks.
        with tqdm(total=len(items), file=stderr, unit="file", disable=None, leave=False) as bar:
            for place, item in enumerate(items):
                answer = _judge(item, detector, finder, options, partial(_advance, bar, place), fetch=fetch)
                if answer is None:
                    tally.skipped += 1
                    continue
                tally.judged += answer.result is not None
                tally.failed += answer.result is None
                _write(writers, answer, detector)
                if answer.detail:
                    bar.write(_printable(f"{item.given}: {answer.detail}"), file=stderr)
        if writers.json:
            writers.json.write("\n]\n" if writers.written else "]\n")
        if writers.text:
            writers.text.write(_footer(detector, options, tally))
    if tally.skipped:
        stderr.write(f"{tally.skipped} files in folders are no videos or photos and were skipped\n")
    return EXIT_SOME_FAILED if tally.failed else EXIT_OK


def _advance(bar: Any, place: int, _stage: Stage, share: float) -> None:
    bar.n = round(place + share, 2)
    bar.refresh()


def _items(paths: Sequence[Path | str]) -> Iterator[_Item]:
    """Files, and links (strings), in the order given; those of a folder by name, deep, without following symlinks."""
    for path in paths:
        if isinstance(path, str):
            yield _Item(Path(), path, in_folder=False, link=path)
            continue
        if not path.is_dir():
            yield _Item(path, path.name, in_folder=False)
            continue
        closed: list[OSError] = []
        for folder, subfolders, files in os.walk(path, onerror=closed.append):
            subfolders.sort()
            for file in sorted(files):
                inner = Path(folder) / file
                yield _Item(inner, str(inner.relative_to(path)), in_folder=True)
        # What could not be looked into fails by its name: nobody shall take it for judged.
        for error in closed:
            inner = Path(os.fsdecode(error.filename))
            yield _Item(inner, str(inner.relative_to(path)), in_folder=False)


def _judge(
    item: _Item,
    detector: Detector,
    finder: FaceDetector,
    options: argparse.Namespace,
    show: ProgressCallback,
    *,
    fetch: FetchLink | None,
) -> _Answer | None:
    """None for a file inside a folder that is not media."""
    started = time.monotonic()
    path, origin = item.path, {"url": item.link} if item.link else None
    info: MediaInfo | None
    try:
        with ExitStack() as fetched:
            if item.link and fetch is not None:
                # Nothing of it has been judged before all of it is here.
                linked = fetched.enter_context(fetch(item.link, lambda _share: show(Stage.READING, 0.0)))
                path, info, origin = linked.path, linked.info, dict(linked.origin)
            elif (info := _probe(item)) is None:
                return None
            result = analyze(
                path,
                detector,
                info=info,
                face_detector=finder,
                on_progress=show,
                frames=options.frames,
                parity=options.parity,
                stability=not options.no_stability,
            )
    except LinkRefusedError as error:
        seconds = time.monotonic() - started
        return _Answer(item, seconds, code=error.code, text=error.text, origin=error.origin)
    except AnalysisError as error:
        seconds, detail = time.monotonic() - started, error.detail or str(error)
        return _Answer(item, seconds, code=error.code, detail=detail, origin=origin)
    except Exception as error:
        # One file that breaks a library must not cost the others their answer.
        logger.exception("analysis of %s failed", item.given)
        seconds = time.monotonic() - started
        return _Answer(item, seconds, code=ErrorCode.INTERNAL_ERROR, detail=repr(error), origin=origin)
    return _Answer(item, time.monotonic() - started, result=result, origin=origin)


def _probe(item: _Item) -> MediaInfo | None:
    """Facts about a file; None if it lies in a folder and is something else than a video or photo."""
    try:
        return probe(item.path)
    except AnalysisError as error:
        not_media = {ErrorCode.UNSUPPORTED_TYPE, ErrorCode.NO_VIDEO_STREAM}
        if item.in_folder and (error.code in not_media or not has_media_signature(item.path)):
            return None
        raise


def _write(writers: _Writers, answer: _Answer, detector: Detector) -> None:
    if writers.json:
        text = json.dumps(_as_object(answer, detector), ensure_ascii=False)
        # A name that is not UTF-8 becomes the escapes by which JSON readers get the same name again.
        text = text.encode(errors="backslashreplace").decode()
        writers.json.write(("," if writers.written else "") + "\n" + text)
    if writers.csv:
        probability = answer.result.fake_probability if answer.result else None
        origin = answer.origin or {}
        columns = [origin.get(name) or "" for name in ORIGIN_COLUMNS] if writers.origins else []
        writers.csv.writerow([answer.item.name, "" if probability is None else f"{probability:.6f}", *columns])
    if writers.text:
        writers.text.write(_as_text(answer))
    writers.written += 1


def _as_object(answer: _Answer, detector: Detector) -> dict[str, Any]:
    """AnalysisResult.to_dict with the file in front; the same keys, empty, where there is no result.

    ``link`` is where the file comes from, null for one that was given itself.
    """
    given = {"file": answer.item.given, "link": answer.origin}
    if answer.result is not None:
        return {**given, **answer.result.to_dict()}
    return {
        **given,
        "schema": RESULT_SCHEMA,
        "outcome": None,
        "reason": answer.code,
        "fake_probability": None,
        "pooled_probability": None,
        "confidence": None,
        "tracks": [],
        "timestamps": [],
        "detector": detector.spec.name,
        "detector_version": detector.spec.version,
        "weights_sha256": list(detector.weights_sha256),
        "seconds": round(answer.seconds, 6),
    }


def _as_text(answer: _Answer) -> str:
    lines = [_printable(answer.item.given)]
    result = answer.result
    if answer.text:
        lines.append(f"{VERDICTS[Outcome.NOT_ASSESSABLE]} ({answer.code}). {answer.text}")
    elif result is None:
        lines.append(f"{VERDICTS[Outcome.NOT_ASSESSABLE]}, because {REASONS.get(answer.code, answer.code)}.")
    elif result.outcome in {Outcome.FAKE, Outcome.REAL}:
        lines.append(f"{VERDICTS[result.outcome]}. Confidence {result.confidence:.1f} %.")
    else:
        reason = REASONS.get(str(result.reason), str(result.reason))
        lines.append(f"{VERDICTS[result.outcome]}, because {reason}.")
    if result is not None and result.tracks:
        people = f"{len(result.tracks)} people" if len(result.tracks) > 1 else "1 person"
        frames = f"{len(result.frames)} frames" if len(result.frames) > 1 else "1 frame"
        scores = ", ".join(f"{track.fake_probability:.3f}" for track in result.tracks)
        lines.append(
            f"{people} in {frames}; fake probability {scores} (all faces together {result.pooled_probability:.3f})."
        )
        if result.timestamps:
            stretches = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in result.timestamps)
            lines.append(f"Frames called fake: {stretches}.")
        lines.append(_error_rates(result))
    if answer.origin and (origin := _origin(answer.origin)):
        lines.append(origin)
    return "\n  ".join(lines) + "\n"


def _printable(text: str) -> str:
    """What a file's name must not do, escaped: end a line and go on with a verdict, steer a terminal, be no UTF-8."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _new_csv(path: str) -> TextIO:
    """Raises OSError."""
    return Path(path).open("w", newline="", encoding="utf-8", errors="backslashreplace")


def _origin(origin: Mapping[str, Any]) -> str:
    """Where a file comes from, shortly; empty where nothing is known. But for digest and time it is the site's word."""
    said = {
        "lasting link": origin.get("canonical_url"),
        "title": origin.get("title"),
        "uploaded by": origin.get("uploader"),
        "uploaded": origin.get("uploaded"),
        "part judged": _part(origin),
        "fetched": origin.get("fetched_at"),
        "SHA-256": origin.get("sha256"),
    }
    known = "; ".join(f"{label} {value}" for label, value in said.items() if value)
    return f"Origin: {known}." if known else ""


def _part(origin: Mapping[str, Any]) -> str:
    start, end = origin.get("cut_from"), origin.get("cut_to")
    return "" if start is None or end is None else f"{start:.1f} to {end:.1f} s"


def _error_rates(result: AnalysisResult) -> str:
    """How often the detector errs on such files, in the counts that it was measured by."""
    rates = result.error_rates
    if not isinstance(rates, ErrorRates):
        return "How often the detector errs on such files was not measured."
    media = "videos" if rates.kind is MediaKind.VIDEO else "photos"
    alarms, found, misses = rates.false_alarms, rates.found, rates.misses
    return (
        f"Of {alarms.files} real {media} of this kind, {alarms.count} were called fake ({_share(alarms)}); "
        f"of {found.files} fabricated ones, {found.count} were called fake ({_share(found)}) "
        f"and {misses.count} real ({_share(misses)})."
    )


def _share(counted: CountedShare) -> str:
    return f"{counted.share:.1%}, 95 % interval {counted.low:.1%} to {counted.high:.1%}"


def _footer(detector: Detector, options: argparse.Namespace, tally: _Tally) -> str:
    """A score is no evidence without its error rate: say where that is found."""
    spec = detector.spec
    card = None if options.weights else find_detector(options.detector).card
    limits = f"Its measured error rates and limits: {card}" if card else "No measured error rate is known for it."
    return f"\n{tally.judged} judged, {tally.failed} failed. Detector {spec.name} {spec.version}. {limits}\n"

"""What this site says of its detectors: facts, measured error rates and model cards. Loads no network."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import nh3
from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from markdown_it import MarkdownIt

from accounts.errors import Code, SentinelError
from ml import error_rates
from ml.contracts import AnalysisError
from ml.detectors.catalog import Listed, fetched_weights, list_detectors
from ml.detectors.integrity import read_lock, sha256_of
from ml.detectors.spec import DetectorSpec

logger = logging.getLogger(__name__)

# What `evaluate` wrote, where somebody put it beside the weights: see docs/evaluation.md.
EVALUATION_FILE = "evaluation.json"
EVALUATION_SCHEMA = 1
ALL_METHODS = "all"
FIGURES = (
    *("auc", "average_precision", "equal_error_rate", "tpr_at_fpr_1", "tpr_at_fpr_5"),
    *("log_loss", "calibration_error"),
)
# Pictures that a card may show lie beside it. No SVG: opened by itself, it could run scripts.
PICTURE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]*\.(?:png|jpg|jpeg|webp)"
PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}

# The kinds of files that error rates are told apart by, as ml.error_rates names them.
KINDS: dict[str, Promise] = {"video": _("videos"), "image": _("photos")}
COMPRESSIONS: dict[str, Promise] = {
    "strong": _("strongly compressed"),
    "medium": _("compressed as usual"),
    "light": _("lightly compressed"),
}
FACE_SIZES: dict[str, Promise] = {
    "small": _("with small faces"),
    "medium": _("with faces of medium size"),
    "large": _("with large faces"),
}

_TAGS = {
    *("p", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "br", "hr"),
    *("a", "img", "div", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {"a": {"href"}, "img": {"src", "alt"}, "ol": {"start"}, "div": {"class", "tabindex", "role"}}


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights. ``size`` in bytes, None where it is not here; ``sha256`` is empty until it is known."""

    name: str
    sha256: str
    size: int | None


@dataclass(frozen=True, slots=True)
class FigureRow:
    """How well the scores tell one kind of fake from the reals of one group of files.

    ``method`` is empty for all methods together. ``figures`` maps the names in :data:`FIGURES`, as far as they could be
    computed, to ``{"value", "low", "high"}``.
    """

    group: str
    method: str
    fakes: int
    reals: int
    figures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What ``evaluate`` found for exactly these weights on so many files."""

    measured_on: date
    files: int
    rows: tuple[FigureRow, ...]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A detector as the site has it.

    ``in_use``: new files are examined with it. ``ready``: its weights are here and, where their digest is known, they
    are those. ``measured``: the document that :mod:`ml.error_rates` describes, None where nothing was measured for
    exactly these weights, thresholds and way of judging. ``evaluation``: likewise, for exactly these weights.
    """

    spec: DetectorSpec
    weights: tuple[Weights, ...]
    ready: bool
    in_use: bool
    card: Path | None
    measured: Mapping[str, Any] | None
    evaluation: Evaluation | None

    @property
    def measured_on(self) -> date | None:
        return date.fromisoformat(self.measured["measured_on"]) if self.measured else None

    @property
    def size(self) -> int | None:
        """Bytes of all weights together; None where one is not here."""
        sizes = [file.size for file in self.weights]
        return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None


def list_models() -> list[ModelFacts]:
    """All detectors of this site, the one in use first, then by name. Raises ``model_unavailable``."""
    try:
        models = [_facts(listed) for listed in list_detectors().values()]
    except AnalysisError as error:
        logger.error("The detectors cannot be listed: %s", error)
        raise SentinelError(Code.MODEL_UNAVAILABLE) from error
    return sorted(models, key=lambda model: (not model.in_use, model.spec.name))


def get_model(name: str) -> ModelFacts:
    """Raises ``not_found``, or ``model_unavailable`` where the list itself is broken."""
    model = next((model for model in list_models() if model.spec.name == name), None)
    if model is None:
        raise SentinelError(Code.NOT_FOUND)
    return model


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """Error rates on one kind of files. The shares are the document's: count, files, share, low, high, or None.

    ``which`` says in words which videos or photos were counted, and is empty for all of them.
    """

    kind: str
    which: tuple[str, ...]
    false_alarms: Mapping[str, Any] | None
    found: Mapping[str, Any] | None
    misses: Mapping[str, Any] | None


def measured_rows(document: Mapping[str, Any]) -> list[MeasuredRow]:
    """A row for each kind of files that anything was measured on, the broadest of each kind first."""
    compressions, sizes = [None, *COMPRESSIONS], [None, *FACE_SIZES]
    cells = [cell for cell in document["cells"] if cell["false_alarms"] or cell["found"]]
    cells.sort(
        key=lambda cell: (
            cell["kind"] != "video",
            compressions.index(cell["compression"]),
            sizes.index(cell["face_size"]),
        )
    )
    return [
        MeasuredRow(
            kind=str(KINDS[cell["kind"]]),
            which=tuple(
                str(words[cell[name]])
                for name, words in (("compression", COMPRESSIONS), ("face_size", FACE_SIZES))
                if cell[name]
            ),
            false_alarms=cell["false_alarms"],
            found=cell["found"],
            misses=cell["misses"],
        )
        for cell in cells
    ]


def card_text(model: ModelFacts) -> str:
    """The model card as Markdown. Raises ``not_found`` if there is none."""
    if model.card is None:
        raise SentinelError(Code.NOT_FOUND)
    return model.card.read_text(encoding="utf-8")


def card_picture(model: ModelFacts, name: str) -> tuple[bytes, str]:
    """A picture beside the card, with its content type. Raises ``not_found``."""
    path = model.card.parent / name if model.card else None
    if path is None or not re.fullmatch(PICTURE_PATTERN, name) or not path.is_file():
        raise SentinelError(Code.NOT_FOUND)
    return path.read_bytes(), PICTURE_TYPES[path.suffix]


@lru_cache(maxsize=32)
def render_card(markdown: str, pictures_url: str) -> str:
    """Markdown → HTML that is safe on our pages, below a heading of level 1.

    Raw HTML in it is shown as text. Links to other sites stay; pictures, if their name is that of a file beside the
    card, are looked for under ``pictures_url``, which ends in a slash.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
    # A table may be wider than a phone: then it scrolls by itself, with the keyboard too.
    html = parser.renderer.render(tokens, parser.options, {})
    html = html.replace("<table>", '<div class="scroll" tabindex="0" role="group"><table>')
    html = html.replace("</table>", "</table></div>")

    def keep(tag: str, attribute: str, value: str) -> str | None:
        if (tag, attribute) == ("img", "src"):
            return pictures_url + value if re.fullmatch(PICTURE_PATTERN, value) else None
        if (tag, attribute) == ("a", "href"):
            return value if value.startswith(("https://", "http://")) else None
        return value

    return nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, attribute_filter=keep)


def _facts(listed: Listed) -> ModelFacts:
    in_use = listed.spec.name == settings.SENTINEL_DETECTOR
    if in_use and settings.SENTINEL_DETECTOR_WEIGHTS:
        weights = tuple(_recorded(Path(path)) for path in settings.SENTINEL_DETECTOR_WEIGHTS)
        ready = all(file.size is not None for file in weights)
    elif listed.folder is not None and listed.spec.weights_file:
        weights, ready = _own(listed.folder / listed.spec.weights_file, listed.spec.weights_sha256)
    else:
        weights = tuple(_recorded(path) for path in fetched_weights(listed.spec.name))
        ready = bool(weights) and all(file.size is not None for file in weights)
    digests = [file.sha256 for file in weights]
    return ModelFacts(
        spec=listed.spec,
        weights=weights,
        ready=ready,
        in_use=in_use,
        card=listed.card,
        measured=_measured(listed, digests),
        evaluation=_evaluation(listed, digests),
    )


def _own(path: Path, expected: str) -> tuple[tuple[Weights, ...], bool]:
    """Weights in the detector's folder, and whether they are those that its detector.json names."""
    if not path.is_file():
        return (Weights(path.name, expected, None),), False
    status = path.stat()
    ready = bool(expected) and _digest(path, status.st_mtime_ns, status.st_size) == expected
    return (Weights(path.name, expected, status.st_size),), ready


def _recorded(path: Path) -> Weights:
    """Weights from elsewhere, with the digest recorded when they came or were first used."""
    digest = str(read_lock(path.parent).get(path.name, {}).get("sha256", ""))
    return Weights(path.name, digest, path.stat().st_size if path.is_file() else None)


@lru_cache(maxsize=32)
def _digest(path: Path, _modified: int, _size: int) -> str:
    """Computed anew only when the file has changed."""
    return sha256_of(path)


def _measured(listed: Listed, digests: list[str]) -> Mapping[str, Any] | None:
    if listed.folder is None or not (listed.folder / error_rates.FILE).is_file():
        return None
    try:
        document = error_rates.read(listed.folder / error_rates.FILE)
        # What the pages need of it, too.
        date.fromisoformat(document["measured_on"])
        measured_rows(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.error("The error rates of %s cannot be used: %r", listed.spec.name, error)
        return None
    as_measured = (
        document["weights_sha256"] == digests
        and document["thresholds"] == asdict(listed.spec.thresholds)
        and document["aggregation"] == listed.spec.aggregation
    )
    return document if as_measured else None


def _evaluation(listed: Listed, digests: Sequence[str]) -> Evaluation | None:
    path = listed.folder / EVALUATION_FILE if listed.folder else None
    if path is None or not path.is_file():
        return None
    status = path.stat()
    read = _read_evaluation(path, status.st_mtime_ns, status.st_size)
    return read[1] if read and read[0] == tuple(digests) else None


@lru_cache(maxsize=8)
def _read_evaluation(path: Path, _modified: int, _size: int) -> tuple[tuple[str, ...], Evaluation] | None:
    """The digests of the weights that were measured, and what was found; None if the file is of no use.

    Read anew only when the file has changed: it holds every single score too.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != EVALUATION_SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        rows = tuple(
            FigureRow(
                group=group,
                method="" if method == ALL_METHODS else method,
                fakes=int(row["fakes"]),
                reals=int(row["reals"]),
                figures={name: {at: float(row[name][at]) for at in row[name]} for name in FIGURES if row.get(name)},
            )
            for group, found in document["groups"].items()
            for method, row in found["by_file"].items()
        )
        evaluation = Evaluation(date.fromisoformat(document["measured_on"]), int(document["media"]["files"]), rows)
        return tuple(document["weights_sha256"]), evaluation
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.error("%s cannot be used: %r", path, error)
        return None

"""Which detectors there are and where their files lie. Imports no torch, so that web code can list them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.integrity import LOCK_FILE, read_lock, verify
from ml.detectors.spec import Aggregation, DetectorSpec, Preprocessing, Thresholds

BUILT_IN = Path(__file__).parent / "weights"
SPEC_FILE = "detector.json"
# More folders of detectors, separated as in PATH.
DETECTORS_VARIABLE = "SENTINEL_DETECTORS_DIR"
# Where `fetch` puts checkpoints: one folder a detector.
WEIGHTS_VARIABLE = "SENTINEL_WEIGHTS_DIR"

DEFAULT_DETECTOR = "sentinel-lite"

# The winning solution of the Deepfake Detection Challenge. Its networks were chosen by log loss and score near .5
# where they don't know: between .35 and .65 it is taken to say nothing. These two are not calibrated on the
# published weights: measure before relying on them.
REFERENCE_B7 = DetectorSpec(
    name="reference-b7",
    version="0.0.1",
    title="DFDC winning solution (EfficientNet-B7)",
    architecture="tf_efficientnet_b7",
    outputs=("fake",),
    preprocessing=Preprocessing(input_size=380),
    thresholds=Thresholds(fake=0.65, real=0.35, frame=0.5),
    aggregation=Aggregation.CONFIDENT_STRATEGY,
    licence="MIT",
)
_REFERENCE_URL = "https://github.com/selimsef/dfdc_deepfake_challenge/releases/download/0.0.1/"
REFERENCE_CHECKPOINTS = tuple(
    f"{_REFERENCE_URL}final_{seed}_DeepFakeClassifier_tf_efficientnet_b7_ns_0_{epoch}"
    for seed, epoch in ((111, 36), (555, 19), (777, 29), (777, 31), (888, 37), (888, 40), (999, 23))
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A detector that can be named. ``folder`` holds its files; None where its checkpoints are kept elsewhere."""

    spec: DetectorSpec
    folder: Path | None = None

    @property
    def card(self) -> Path | None:
        """The model card, if there is one."""
        if self.folder is None or not self.spec.card:
            return None
        path = self.folder / self.spec.card
        return path if path.is_file() else None


def _search_path(search: Sequence[Path]) -> Iterator[Path]:
    yield from search
    yield from (Path(entry) for entry in os.environ.get(DETECTORS_VARIABLE, "").split(os.pathsep) if entry)
    yield BUILT_IN


def list_detectors(search: Sequence[Path] = ()) -> dict[str, Listed]:
    """All detectors by name: those under `search`, then SENTINEL_DETECTORS_DIR, then the built-in ones; the first wins.

    Raises AnalysisError(MODEL_UNAVAILABLE) for a folder whose detector.json is broken.
    """
    found: dict[str, Listed] = {}
    for directory in _search_path(search):
        for path in sorted(directory.glob(f"*/{SPEC_FILE}")):
            try:
                spec = DetectorSpec.load(path)
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: {error!r}") from error
            found.setdefault(spec.name, Listed(spec, path.parent))
    found.setdefault(REFERENCE_B7.name, Listed(REFERENCE_B7))
    return found


def find_detector(name: str, search: Sequence[Path] = ()) -> Listed:
    """Raises AnalysisError(MODEL_UNAVAILABLE) if no detector has that name."""
    listed = list_detectors(search)
    if name not in listed:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"no detector {name!r}; there are {', '.join(sorted(listed))}")
    return listed[name]


def fetched_weights(name: str) -> list[Path]:
    """Checkpoints of a detector that were fetched into SENTINEL_WEIGHTS_DIR/`name`, by name; may be empty."""
    root = os.environ.get(WEIGHTS_VARIABLE, "")
    if not root:
        return []
    directory = Path(root) / name
    if not (directory / LOCK_FILE).is_file():
        return []
    return [directory / file for file in sorted(read_lock(directory))]


def verified_weights(listed: Listed, weights: Sequence[Path] = ()) -> list[tuple[Path, str]]:
    """The files that a detector is loaded from, at least one, each with its SHA-256, which was compared with the known.

    These are `weights`, if any are given, else the file in its folder, else what was fetched.
    Raises AnalysisError(MODEL_UNAVAILABLE): a file missing or its digest wrong.
    """
    spec = listed.spec
    if weights:
        return [(path, verify(path)) for path in weights]
    if listed.folder is not None and spec.weights_file:
        if not spec.weights_sha256:
            raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{spec.name}: its detector.json names no SHA-256")
        own = listed.folder / spec.weights_file
        return [(own, verify(own, expected=spec.weights_sha256))]
    if fetched := fetched_weights(spec.name):
        return [(path, verify(path)) for path in fetched]
    raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{spec.name}: no weights given and none fetched")

"""``python -m ml.detectors.check NAME [CHECKPOINT…]``: whether a detector can be loaded; exit code 0 if so.

Networks are converted here too where converted ones are kept, so that the first analysis after it need not wait for
that (:mod:`ml.engine_cache`), and that it went well is remembered there (:mod:`ml.detectors.loaded`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from ml.contracts import AnalysisError
from ml.detectors.loaded import remember
from ml.detectors.registry import Detector, load_detector
from ml.engine_cache import cache_folder
from ml.faces.detection import FaceDetector


def prepare(detector: Detector) -> None:
    """Build what an analysis needs, in the way in which it will, and with that the converted networks."""
    _ = detector.runner
    FaceDetector(device=detector.device)


def main(arguments: list[str]) -> int:
    name, weights = arguments[0], [Path(path) for path in arguments[1:]]
    try:
        detector = load_detector(name, weights=weights)
        if cache_folder():
            prepare(detector)
            remember(name, weights)
    except AnalysisError as error:
        sys.stderr.write(f"The detector {name} cannot be loaded: {error.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

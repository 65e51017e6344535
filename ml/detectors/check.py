"""``python -m ml.detectors.check NAME [CHECKPOINT…]``: whether a detector can be loaded; exit code 0 if so."""

from __future__ import annotations

import sys
from pathlib import Path

from ml.contracts import AnalysisError
from ml.detectors.registry import load_detector


def main(arguments: list[str]) -> int:
    name, *weights = arguments
    try:
        load_detector(name, weights=[Path(path) for path in weights], device="cpu")
    except AnalysisError as error:
        sys.stderr.write(f"The detector {name} cannot be loaded: {error.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Where networks converted for another engine are kept. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

# None are kept without it.
CACHE_VARIABLE = "SENTINEL_ENGINE_CACHE_DIR"


def cache_folder() -> Path | None:
    """The folder that they are kept in from one start to the next, if there is one; it need not exist yet."""
    folder = os.environ.get(CACHE_VARIABLE, "")
    return Path(folder) if folder else None

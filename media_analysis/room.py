"""Room on this machine's disks: uploads are refused while there is little, before a byte of them is read.

A reserve (SENTINEL_MIN_FREE_BYTES) is left on every disk that we write to, since a database, a log or a report that
finds none at all does more harm than a file that comes later.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

from django.conf import settings

from media_analysis.storage import media_storage


def lacks_room(size: int = 0) -> bool:
    """Whether `size` bytes can't come in without touching the reserve of a disk that they pass through."""
    needed: defaultdict[int, int] = defaultdict(int)
    free: dict[int, int] = {}
    for folder, wanted in _needs(size):
        there = _existing(folder)
        device = there.stat().st_dev
        needed[device] += wanted
        free[device] = shutil.disk_usage(there).free
    return any(free[device] < wanted + settings.SENTINEL_MIN_FREE_BYTES for device, wanted in needed.items())


def _needs(size: int) -> list[tuple[Path, int]]:
    """Folders, and how much of a body of this size lies in each at once."""
    incoming = Path(settings.FILE_UPLOAD_TEMP_DIR)
    # Django keeps a body here until it is answered, and we the file in it there.
    needs = [(Path(tempfile.gettempdir()), size), (incoming, size)]
    if media_storage().on_disk:
        stored = Path(settings.MEDIA_ROOT)
        # Moved, where it is the same disk.
        same = _existing(stored).stat().st_dev == _existing(incoming).stat().st_dev
        needs.append((stored, 0 if same else size))
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        needs.append((Path(str(database["NAME"])).parent, 0))
    return needs


def _existing(folder: Path) -> Path:
    """The folder, or what it would be made in."""
    while not folder.exists():
        folder = folder.parent
    return folder

"""Signs of life of this host's worker that need no database, so that its absence restarts nobody.

For systemd (`Type=notify` with `WatchdogSec=`) over its socket, for everybody else as the age of a file:
`manage.py worker_health`. What the site knows of its workers is in :mod:`media_analysis.health`.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

FILE = "worker.alive"
# The worker's main loop turns every few seconds, but may wait for a database that does not answer.
STALE_SECONDS = 300.0


def show(state: str = "WATCHDOG=1") -> None:
    """The worker's main loop turns; or, by another word of sd_notify(3), something else about it."""
    _file().touch()
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
            # An abstract socket is written with an @ in front.
            systemd.connect("\0" + address[1:] if address.startswith("@") else address)
            systemd.sendall(state.encode())
    except OSError:
        logger.exception("systemd could not be told %s", state)


def gone() -> None:
    """The worker ended as it was asked to."""
    _file().unlink(missing_ok=True)


def silent_for() -> float | None:
    """Seconds since the last sign of life; None when there is no worker on this host."""
    try:
        return max(time.time() - _file().stat().st_mtime, 0.0)
    except FileNotFoundError:
        return None


def _file() -> Path:
    return Path(settings.DATA_DIR) / FILE

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from media_analysis import signs_of_life


class Command(BaseCommand):
    help = "Say whether the worker that writes to this data folder is alive, without asking the database: 0 or 1."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        seconds = signs_of_life.silent_for()
        if seconds is None:
            self.stderr.write("There is no worker here.")
            sys.exit(1)
        if seconds > signs_of_life.STALE_SECONDS:
            self.stderr.write(f"The worker was last heard of {seconds:.0f} seconds ago.")
            sys.exit(1)
        self.stdout.write(f"The worker was heard of {seconds:.0f} seconds ago.")

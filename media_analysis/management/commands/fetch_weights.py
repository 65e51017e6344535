from __future__ import annotations

import sys
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from ml.contracts import AnalysisError
from ml.detectors.catalog import REFERENCE_B7, REFERENCE_CHECKPOINTS, find_detector
from ml.detectors.fetch import fetch_weights


class Command(BaseCommand):
    help = (
        "Bring a detector's checkpoints into the weights folder, from paths or addresses. The SHA-256 of each is "
        "recorded at its first use and compared from then on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "sources",
            nargs="*",
            metavar="PATH_OR_URL",
            help="checkpoint files; none: the published ones of the reference detector",
        )
        parser.add_argument("--detector", default=REFERENCE_B7.name, metavar="NAME", help="default: %(default)s")
        parser.add_argument("--sha256", default="", help="the digest that a single checkpoint must have")

    def handle(self, *args: Any, **options: Any) -> None:
        name, sources = options["detector"], options["sources"]
        if not sources and name == REFERENCE_B7.name:
            sources = list(REFERENCE_CHECKPOINTS)
        if not sources:
            raise CommandError(f"Name the checkpoints of {name}.")
        if options["sha256"] and len(sources) > 1:
            raise CommandError("--sha256 goes with a single checkpoint.")
        try:
            find_detector(name)
            for source in sources:
                with tqdm(unit="B", unit_scale=True, desc=source[-40:], file=sys.stderr, disable=None) as bar:
                    path = fetch_weights(
                        source,
                        settings.SENTINEL_WEIGHTS_DIR / name,
                        sha256=options["sha256"],
                        on_progress=partial(show, bar),
                    )
                self.stdout.write(str(path))
        except AnalysisError as error:
            raise CommandError(error.detail or str(error)) from error


def show(bar: Any, done: int, size: int) -> None:
    bar.total = size or None
    bar.update(done - bar.n)

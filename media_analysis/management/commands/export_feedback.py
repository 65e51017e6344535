from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from media_analysis.export import Layout, Report, WrongFolder, export_feedback


class Command(BaseCommand):
    help = (
        "Write the disagreements that users permitted to use and reviewers confirmed, in the layout that training or "
        "evaluation reads. Run it again to add what is new. Exit code 1 if a file was missing or damaged."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="empty, or of an earlier export with the same layout")
        parser.add_argument(
            "--layout",
            type=Layout,
            choices=list(Layout),
            default=Layout.TRAINING,
            help="for `prepare`, `train` and the DFDC steps, or for `evaluate`; never measure on what was trained on",
        )
        parser.add_argument("--include-agreements", action="store_true", help="reviewed agreements too")
        parser.add_argument("--prune", action="store_true", help="delete what has been withdrawn or deleted since")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = export_feedback(
                options["folder"],
                layout=options["layout"],
                include_agreements=options["include_agreements"],
                prune=options["prune"],
            )
        except WrongFolder as error:
            raise CommandError(str(error)) from error
        self._tell(report)
        if report.faulty:
            sys.exit(1)

    def _tell(self, report: Report) -> None:
        for title, files in (
            ("new", report.exported),
            ("relabelled", report.relabelled),
            ("pruned", report.pruned),
        ):
            for file in files:
                self.stdout.write(f"{title}: {file}")
        for file, reason in report.gone.items():
            if file not in report.pruned:
                self.stdout.write(f"to be dropped ({reason}): {file}")
        self.stdout.write(
            f"{len(report.exported)} new, {len(report.relabelled)} relabelled, {report.unchanged} unchanged, "
            f"{len(report.gone) - len(report.pruned)} to be dropped, {len(report.pruned)} pruned"
        )
        for left, count in sorted(report.left_out.items()):
            self.stdout.write(f"left out, {left}: {count}")

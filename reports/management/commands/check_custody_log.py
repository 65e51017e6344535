from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from media_analysis.custody import Fault
from media_analysis.custody_check import Printed, check_log
from reports.models import Report

# For whoever runs the site, as all commands are: in English.
TEXTS = {
    Fault.GAP: "an event before this one is missing, or the numbers were changed",
    Fault.BROKEN_LINK: "does not follow the event before it, one of the two was changed",
    Fault.CHANGED: "was changed after it was written",
    Fault.WRONG_ADDRESS: "the network address was changed",
    Fault.WRONG_BEGINNING: "the log does not begin with receiving the file",
    Fault.WRONG_HASH: "another SHA-256 than the file's row or receipt has",
    Fault.WRONG_RESULT: "a finished examination is not in the log, or with another end",
    Fault.VANISHED: "the file is gone and the log does not say that it was deleted, or was cut off",
    Fault.WRONG_END: "the log and the tables do not agree on whether the file was deleted",
    Fault.NOT_AS_PRINTED: "a report printed another log: events were cut off or made anew",
}


class Command(BaseCommand):
    help = (
        "Check the custody logs: every chain of hashes, and whether it agrees with the files, the results, and what "
        "reports printed of it. Ends with 1 if anything is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("media_ids", nargs="*", metavar="MEDIA_ID", help="check these files only")

    def handle(self, *args: Any, **options: Any) -> None:
        media_ids: list[str] = options["media_ids"]
        result = check_log(media_ids, _printed(media_ids))
        for finding in result.findings:
            self.stdout.write(f"{finding.media_id} event {finding.number + 1}: {TEXTS[finding.fault]}")
        count = f"{result.files} files, {result.events} events"
        if result.findings:
            self.stderr.write(f"{count}, {len(result.findings)} faults")
            sys.exit(1)
        self.stdout.write(f"{count}: nothing is wrong")


def _printed(media_ids: list[str]) -> dict[str, list[Printed]]:
    """What the reports that are still here printed, by the file."""
    reports = Report.objects.filter(analysis__media__deleted_at__isnull=True).exclude(custody_digest="")
    if media_ids:
        reports = reports.filter(analysis__media__public_id__in=media_ids)
    printed: dict[str, list[Printed]] = defaultdict(list)
    for media_id, events, digest in reports.values_list(
        "analysis__media__public_id", "custody_events", "custody_digest"
    ).iterator():
        printed[media_id].append(Printed(events, digest))
    return printed

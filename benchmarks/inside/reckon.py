"""Whether everything that a site took in was done exactly once: `python -m benchmarks.inside.reckon`, one JSON object.

`faults` lists what must not be, empty where all is well. What a killed process left in the storage is swept first, as
housekeeping does an hour later; `swept` is how much that was.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.core.files.storage import default_storage
from django.db.models import Count

from accounts.models import UsageEntry
from media_analysis import custody_check, housekeeping
from media_analysis.custody import Event
from media_analysis.models import Analysis, CustodyEvent, Delivery, LiveEvent, Media, Notification

# Enough to see what is wrong.
EXAMPLES = 5


def stored_names(folder: str = "") -> Iterator[str]:
    """Everything in the storage."""
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in files:
        yield f"{folder}/{name}".lstrip("/")
    for name in folders:
        yield from stored_names(f"{folder}/{name}".lstrip("/"))


def wrong_counts(counted: Counter[str], expected: set[str]) -> list[str]:
    """Those of which there is not exactly one, with how many there are."""
    keys = expected | set(counted)
    return [f"{key}: {counted[key]}" for key in sorted(keys) if counted[key] != (key in expected)]


def check_once() -> dict[str, list[str]]:
    """Each analysis done, with one event in the custody log and one notification."""
    analyses = list(Analysis.objects.values_list("public_id", "status", "error_code", "attempts"))
    done = {public_id for public_id, status, _error, _tries in analyses if status == Analysis.Status.DONE}
    told = Notification.objects.values_list("analysis__public_id", flat=True)
    ends = CustodyEvent.objects.filter(event__in=[Event.ANALYSED, Event.FAILED]).values_list("event", "details")
    return {
        "not done": [
            f"{found[0]}: {found[1]} {found[2]} tries {found[3]}" for found in analyses if found[0] not in done
        ],
        "examined other than once by the custody log": wrong_counts(
            Counter(details["analysis"] for event, details in ends if event == Event.ANALYSED), done
        ),
        "failed by the custody log": [details["analysis"] for event, details in ends if event == Event.FAILED],
        "told other than once": wrong_counts(Counter(told), done),
        "a claim is left": list(
            Analysis.objects.filter(status=Analysis.Status.DONE)
            .exclude(claim_token="")
            .values_list("public_id", flat=True)
        ),
        "e-mail not sent": [
            f"{public_id}: {status} {error}"
            for public_id, status, error in Delivery.objects.exclude(status=Delivery.Status.SENT).values_list(
                "notification__analysis__public_id", "status", "error"
            )
        ],
    }


def check_ledger() -> dict[str, list[str]]:
    """What was accepted was paid for, once, and nothing else was."""
    paid = Counter(UsageEntry.objects.values_list("reference", flat=True))
    over = [
        f"{user}: {used} of {limit}"
        for user, limit, used in UsageEntry.objects.values_list("user__username", "user__daily_limit").annotate(
            used=Count("pk")
        )
        if limit is not None and used != limit
    ]
    return {
        "paid other than once": wrong_counts(paid, set(Analysis.objects.values_list("public_id", flat=True))),
        "not as many as the limit": over,
    }


def check_storage() -> dict[str, list[str]]:
    """Originals and evidence are there, and nothing else is."""
    expected = set(Media.objects.values_list("file", flat=True))
    for names in Analysis.objects.values_list("evidence", flat=True):
        expected.update(names)
    stored = set(stored_names())
    return {
        "in the storage, but of nothing": sorted(stored - expected),
        "not in the storage": sorted(expected - stored),
        "live events left": [str(LiveEvent.objects.count())] if LiveEvent.objects.exists() else [],
    }


def check_results() -> dict[str, list[str]]:
    """The same bytes got the same result, whichever host and try it was."""
    results: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
    fields = ("media__sha256", "outcome", "reason", "fake_probability", "real_frames", "fake_frames", "status")
    for sha256, *result, status in Analysis.objects.values_list(*fields):
        if status == Analysis.Status.DONE:
            results[sha256].add(tuple(result))
    return {
        "other results of the same bytes": [f"{sha[:12]}: {found}" for sha, found in results.items() if len(found) > 1]
    }


def sweep() -> int:
    """What housekeeping does with whatever is an hour old, now."""
    with patch.object(housekeeping, "ABANDONED_AFTER", timedelta(0)):
        # A part of the storage in each round.
        return sum(housekeeping.sweep_abandoned_files() for _ in range(5))


def reckon() -> dict[str, Any]:
    swept = sweep()
    log = custody_check.check_log()
    faults = {
        **check_once(),
        **check_ledger(),
        **check_storage(),
        **check_results(),
        "the custody log": [str(finding) for finding in log.findings],
    }
    analyses = Analysis.objects.all()
    return {
        "analyses": dict(Counter(analyses.values_list("status", flat=True))),
        "outcomes": dict(
            Counter(f"{outcome} {reason}".strip() for outcome, reason in analyses.values_list("outcome", "reason"))
        ),
        "tries": dict(sorted(Counter(analyses.values_list("attempts", flat=True)).items())),
        "custody events": log.events,
        "swept": swept,
        "faults": {what: [len(found), *found[:EXAMPLES]] for what, found in faults.items() if found},
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(json.dumps(reckon()))


if __name__ == "__main__":
    main()

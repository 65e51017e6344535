"""How long single steps take with so many rows in the database: `python -m benchmarks.inside.rows ROWS…`.

Runs in an empty, migrated database, and prints a line of JSON for each number of rows: of each step the median of its
repetitions in milliseconds, and how many queries it makes. A hundredth of the analyses wait, all of them with
`--waiting`; a tenth are the asking user's, 1,000 at most, the rest other people's. No file belongs to the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import tokens
from accounts.ids import new_public_id
from accounts.models import UsageEntry, User
from media_analysis import estimates, health, housekeeping, scheduling, selectors, services, validators
from media_analysis.custody import Event
from media_analysis.models import Analysis, CustodyEvent, Media, Notification, Submission
from media_analysis.uploads import StagedFile
from ml.contracts import MediaInfo, MediaKind
from tests.media_analysis.factories import a_result

BATCH = 2000
OTHERS = 50
MOST_OWN = 1000
REPETITIONS = 15
FACTS = {
    **{"kind": "video", "original_name": "clip.mp4", "file": "media/none/original", "size": 5},
    **{"container": "mp4", "codec": "h264", "width": 320, "height": 240, "duration": 2.0, "frame_rate": 25.0},
}
FOUND = {
    **{"status": "done", "progress": 100, "outcome": "FAKE", "fake_probability": 0.91, "pooled_probability": 0.91},
    **{"confidence": 91.0, "real_frames": 4, "fake_frames": 28, "detector": "tiny", "detector_version": "1"},
    **{"seconds": 1.5, "result": a_result()},
}
INFO = MediaInfo(
    kind=MediaKind.IMAGE,
    container="jpeg",
    codec="mjpeg",
    width=64,
    height=64,
    duration=0.0,
    frame_rate=0.0,
    frame_count=1,
    bit_rate=0,
    rotation=0,
    has_audio=False,
)


class Filler:
    """Rows as a site of some age has them, one a minute up to now."""

    def __init__(self, *, waiting: bool) -> None:
        self.waiting = waiting
        self.asking = User.objects.create(
            username="asking", email="asking@example.org", is_staff=True, is_superuser=True
        )
        self.others = User.objects.bulk_create(
            User(public_id=new_public_id(), username=f"other-{n}", email=f"other-{n}@example.org")
            for n in range(OTHERS)
        )
        self.rows = 0
        self.now = timezone.now()

    def fill(self, rows: int) -> None:
        """Bring the table of analyses to so many, give or take what was measured."""
        while self.rows < rows:
            count = min(BATCH, rows - self.rows)
            self._add(range(self.rows, self.rows + count))
            self.rows += count
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # As it does by itself after a while. SQLite doesn't.
                cursor.execute("ANALYZE")

    def _add(self, numbers: range) -> None:
        times = [self.now - timedelta(minutes=number) for number in numbers]
        owners = [self._owner(number) for number in numbers]
        media = Media.objects.bulk_create(
            Media(
                public_id=new_public_id(),
                owner=owner,
                created_at=at,
                sha256=hashlib.sha256(str(number).encode()).hexdigest(),
                md5="b" * 32,
                **FACTS,
            )
            for number, owner, at in zip(numbers, owners, times, strict=True)
        )
        Submission.objects.bulk_create(
            Submission(
                public_id=new_public_id(), media=one, submitted_by=one.owner, source="web", created_at=one.created_at
            )
            for one in media
        )
        analyses = Analysis.objects.bulk_create(
            self._analysis(number, one) for number, one in zip(numbers, media, strict=True)
        )
        done = [(analysis, analysis.finished_at) for analysis in analyses if analysis.finished_at]
        Notification.objects.bulk_create(
            Notification(
                public_id=new_public_id(),
                user=analysis.media.owner,
                analysis=analysis,
                finished_at=ended,
                kind=Notification.Kind.DONE,
                created_at=ended,
                read_at=ended,
            )
            for analysis, ended in done
        )
        UsageEntry.objects.bulk_create(
            UsageEntry(
                user=analysis.media.owner,
                day=analysis.created_at.date() - timedelta(days=1 + number // 20_000),
                slot=number % 20_000,
                reference=analysis.public_id,
            )
            for number, analysis in zip(numbers, analyses, strict=True)
        )
        CustodyEvent.objects.bulk_create(
            CustodyEvent(
                media_id=one.public_id, number=number, event=event, at=one.created_at, actor=actor, digest="d" * 64
            )
            for one in media
            for number, (event, actor) in enumerate(
                [(Event.RECEIVED, one.owner.public_id), (Event.HASHED, one.owner.public_id), (Event.ANALYSED, "")]
            )
        )

    def _owner(self, number: int) -> User:
        is_own = number % 10 == 0 and number < 10 * MOST_OWN
        return self.asking if is_own else self.others[number % OTHERS]

    def _analysis(self, number: int, media: Media) -> Analysis:
        at = media.created_at
        made: dict[str, Any] = {
            "public_id": new_public_id(),
            "media": media,
            "created_at": at,
            "requester": media.owner,
            "queued_at": at,
            # The number of turns that each of the others had.
            "turn": max(1_000_000 - number // OTHERS, 0),
        }
        if self.waiting or number % 100 == 0:
            return Analysis(**made)
        ended = at + timedelta(seconds=5)
        return Analysis(**made, started_at=at, finished_at=ended, announced_at=ended, **FOUND)


class Steps:
    """What is measured, by name."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.client = Client(headers={"host": "localhost"})
        self.client.force_login(user)
        self.token = tokens.log_in(user).access
        self.number = 0

    def all(self) -> dict[str, Callable[[], object]]:
        mine = selectors.own_analyses(self.user)
        waiting = mine.filter(status=Analysis.Status.QUEUED).latest("created_at")
        done = mine.filter(status=Analysis.Status.DONE).first()
        watched = list(Analysis.objects.filter(status=Analysis.Status.QUEUED).values_list("pk", flat=True)[:20])
        pages = {
            "history page": "/analyses/",
            "history page, of one outcome": "/analyses/?state=FAKE",
            "history page, by name": "/analyses/?name=clip",
            "history, last page": "/analyses/?page=999999",
            "history, API": "/api/v1/analyses/",
            "status of one that waits, API": f"/api/v1/analyses/{waiting.public_id}/progress/",
            "page of one that waits": f"/analyses/{waiting.public_id}/",
            "notifications, API": "/api/v1/notifications/",
            "bell": "/api/v1/notifications/state/",
            "health, API": "/api/v1/health/",
            "admin, analyses": "/admin/media_analysis/analysis/",
            "admin, media": "/admin/media_analysis/media/",
            "admin, submissions": "/admin/media_analysis/submission/",
            "admin, custody log": "/admin/media_analysis/custodyevent/",
        }
        if done is not None:
            pages["result, API"] = f"/api/v1/analyses/{done.public_id}/"
        return {
            "submit": self.submit,
            "claim the next": self.claim,
            **{name: self._getter(path) for name, path in pages.items()},
            "history, /fetch-history": self.fetch_history,
            "place in the queue": lambda: scheduling.position(waiting),
            "outlook for 20 who watch": lambda: estimates.outlooks(watched, [scheduling.own_ability()]),
            "state of the queue": health.queue_state,
            "housekeeping, every 5 s": housekeeping.tidy_up,
            "housekeeping, every 10 min": self.sweep,
        }

    def submit(self) -> None:
        """With everything but the decoder's word."""
        self.number += 1
        content = f"{os.getpid()}-{self.number}".encode()
        handle, name = tempfile.mkstemp(dir=settings.FILE_UPLOAD_TEMP_DIR)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        staged = StagedFile(Path(name), "a.jpg", len(content), hashlib.sha256(content).hexdigest(), "c" * 32)
        with mock.patch.object(validators, "probe_media", return_value=INFO):
            services.submit_media(owner=self.user, source=Submission.Source.API, staged=staged)

    def claim(self) -> None:
        claimed = services.claim_next()
        if claimed is None:
            raise RuntimeError("nothing was left to be claimed")
        # Running ones would be given up by housekeeping.
        now = timezone.now()
        Analysis.objects.filter(pk=claimed.pk).update(finished_at=now, announced_at=now, **FOUND)

    def fetch_history(self) -> None:
        token = {"authorization": f"Bearer {self.token}"}
        self._expect(self.client.post("/fetch-history", headers=token), "/fetch-history")

    def sweep(self) -> None:
        housekeeping.sweep_abandoned_files()
        housekeeping.sweep_expired()

    def _getter(self, path: str) -> Callable[[], None]:
        return lambda: self._expect(self.client.get(path), path)

    @staticmethod
    def _expect(answer: Any, path: str) -> None:
        if answer.status_code not in {200, 503} or (answer.status_code == 503 and "health" not in path):
            raise RuntimeError(f"{path} was answered {answer.status_code}: {answer.content[:200]!r}")


def time_of(step: Callable[[], object], repetitions: int) -> tuple[float, int]:
    """Median in milliseconds, and the number of queries."""
    queries: list[str] = []

    def count(execute: Any, sql: str, *more: Any) -> Any:
        queries.append(sql)
        return execute(sql, *more)

    with connection.execute_wrapper(count):
        step()
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times), len(queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="+")
    parser.add_argument("--waiting", action="store_true")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    options = parser.parse_args()
    filler = Filler(waiting=options.waiting)
    for rows in sorted(options.rows):
        filler.fill(rows)
        steps = Steps(filler.asking).all()
        found = {name: time_of(step, options.repetitions) for name, step in steps.items()}
        print(json.dumps({"rows": rows, "steps": found}), flush=True)


if __name__ == "__main__":
    main()

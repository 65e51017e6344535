"""Progress of a running analysis: written on its row, which is the truth for every page that shows it."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from django.db import Error, connection
from django.utils import timezone

from accounts import correlation
from accounts.outages import is_outage
from media_analysis.heartbeat import Heartbeat
from media_analysis.models import Analysis

logger = logging.getLogger(__name__)

# Writing more often than this makes nothing look smoother.
MIN_INTERVAL_SECONDS = 0.25
# While the database is away, an analysis does not stand still for each try to reach it.
AWAY_SECONDS = 2.0


class AnalysisTaken(Exception):
    """The analysis was deleted, or taken from this try, so there is no point in going on."""


class ProgressReporter:
    """Writes stage and percentage of one claimed analysis, and a heartbeat while it is entered.

    Calling it raises :class:`AnalysisTaken` once the row no longer belongs to this try. While the database is away it
    goes on as if it did: whoever finishes it will see.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._last_stage = ""
        self._last_time = 0.0
        self._steps = correlation.Steps()
        self._away_until = 0.0
        self._heartbeat = Heartbeat(f"analysis {analysis}", self._write)

    def __call__(self, stage: str, share: float) -> None:
        self._steps.reach(stage)
        now = time.monotonic()
        if stage == self._last_stage and now - self._last_time < MIN_INTERVAL_SECONDS:
            return
        if now < self._away_until:
            return
        self._last_stage, self._last_time = stage, now
        # 100 is kept for a finished analysis.
        if not self._write(stage=stage, progress=min(int(share * 100), 99)):
            raise AnalysisTaken

    def __enter__(self) -> ProgressReporter:
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        self._steps.__exit__(kind, error, traceback)

    def _write(self, **fields: object) -> bool:
        rows = Analysis.objects.filter(
            pk=self._analysis.pk,
            status=Analysis.Status.RUNNING,
            claim_token=self._analysis.claim_token,
        )
        try:
            return bool(rows.update(heartbeat_at=timezone.now(), **fields))
        except Error as error:
            if not is_outage(error):
                raise
            logger.warning("Analysis %s goes on without the database: %s", self._analysis, type(error).__name__)
            self._away_until = time.monotonic() + AWAY_SECONDS
            connection.close()
            return True

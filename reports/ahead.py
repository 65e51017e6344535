"""Makes reports before anybody asks, in the worker: the click on "download" then waits for nothing.

Only one language is made ahead, that of the owner's account, with the English original that goes with it; others are
made when they are asked for. Only where the settings name the site's address: it is printed in the report, and here no
request tells it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import Case, Exists, F, OuterRef, QuerySet, Value, When
from django.utils import timezone

from accounts.errors import SentinelError
from media_analysis.models import Analysis
from reports import services
from reports.document import VERSION
from reports.models import Report

logger = logging.getLogger("sentinel.worker")

POLL_SECONDS = 3.0
# Older ones, from before a new version of the form for instance, are made when somebody asks.
LOOK_BACK = timedelta(minutes=15)
# What the thread's wish for the processor is lowered by: an examination goes first.
NICENESS = 15
UNDER_WAY = (Analysis.Status.QUEUED, Analysis.Status.RUNNING)


def start(**_of_the_signal: Any) -> Maker | None:
    """Receiver of :data:`media_analysis.signals.worker_starts`."""
    if not settings.SENTINEL_URL:
        logger.info("SENTINEL_URL is not set, so reports are made when they are asked for")
        return None
    maker = Maker()
    maker.start()
    return maker


def missing() -> QuerySet[Analysis]:
    """Analyses that were done lately and have no report in their owner's language, ``wanted``; the oldest first."""
    made = Report.objects.filter(analysis=OuterRef("pk"), version=VERSION, language=OuterRef("wanted"))
    language = Case(
        When(media__owner__language="", then=Value(services.ORIGINAL_LANGUAGE)), default=F("media__owner__language")
    )
    return (
        Analysis.objects.filter(
            status=Analysis.Status.DONE,
            finished_at__gte=timezone.now() - LOOK_BACK,
            media__deleted_at__isnull=True,
            media__owner__deleted_at__isnull=True,
        )
        .annotate(wanted=language)
        .filter(~Exists(made))
        .order_by("finished_at", "pk")
    )


class Maker(threading.Thread):
    """Makes what is missing, one after the other, while no examination is waited for."""

    def __init__(self) -> None:
        super().__init__(name="reports", daemon=True)
        self._stopped = threading.Event()
        self._given_up: set[int] = set()

    def stop(self) -> None:
        """Ask it to end, and wait as long as one report usually takes. One half made leaves nothing behind."""
        self._stopped.set()
        self.join(5)

    def run(self) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        try:
            while not self._stopped.is_set():
                if not self.make_one():
                    self._stopped.wait(POLL_SECONDS)
        finally:
            # This thread's own connection: nobody else would close it.
            connections.close_all()

    def make_one(self) -> bool:
        """Whether there was a report to make. What can't be made is tried once, and told in the log."""
        analysis = None
        try:
            if not Analysis.objects.filter(status__in=UNDER_WAY).exists():
                analysis = missing().exclude(pk__in=self._given_up).first()
            if analysis is not None:
                language: str = analysis.wanted  # type: ignore[attr-defined]
                services.get_report(analysis, language)
        except DatabaseError:
            # The database may be away for a moment; the next round tries again, on a new connection.
            logger.exception("Making reports ahead could not reach the database")
            connections.close_all()
            return False
        except SentinelError as error:
            # Deleted meanwhile, or in a language that this machine can't write.
            logger.info("No report of %s is made ahead: %s", analysis, error)
            self._give_up(analysis)
        except Exception:
            logger.exception("The report of %s could not be made ahead", analysis)
            self._give_up(analysis)
        return analysis is not None

    def _give_up(self, analysis: Analysis | None) -> None:
        if analysis is not None:
            self._given_up.add(analysis.pk)

"""What /metrics tells. Imported only where SENTINEL_METRICS is set.

Two kinds of figures. What one web process sees (requests, submissions, queries) it counts itself, and each web process
is a target of its own. What the whole site does (queue, workers, results, deliveries) is read from the database when
somebody asks: it is exact, the same from every web process, and neither a restart nor a killed worker loses any of it;
hosts that only examine need no port. So there is no directory that all processes of a host would have to share, as
prometheus_client's mode for several processes wants. Results go with their files when those are deleted: that is why
they are told as "of the last hour" and not as counters, which must never fall.
"""

from __future__ import annotations

import logging
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from datetime import timedelta
from typing import Any

import django
from django.conf import settings
from django.db import Error, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Avg, Count, F, Max, Sum
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts import clock
from accounts.models import SecurityEvent
from media_analysis import health
from media_analysis.models import Analysis, Delivery, LinkSource, WorkerState
from media_analysis.signals import submission_judged
from ml import __version__
from reports.models import IssuedDocument

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
WINDOW = timedelta(hours=1)
# Longest that the database is waited for; Prometheus itself gives up after 10 seconds.
DATABASE_SECONDS = 5.0
# Several may ask at once: what was read is told again for so long.
KEPT_SECONDS = 5.0

submissions = Counter(
    "sentinel_submissions_total",
    "Files and links handed in at this process, by way in and what was said: accepted, or the error code.",
    ["source", "kind", "result"],
)
query_seconds = Histogram(
    "sentinel_database_query_seconds",
    "Seconds that queries of this process took. SQL databases only.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 20),
)
query_errors = Counter("sentinel_database_query_errors_total", "Queries of this process that failed.", ["error"])

# Never more than one at a time: who asks for figures must not add to a database's trouble.
_asker = ThreadPoolExecutor(1, thread_name_prefix="metrics")


def start() -> None:
    """Count from now on."""
    submission_judged.connect(count_submission, dispatch_uid="sentinel_site.measures")
    connection_created.connect(watch_connection, dispatch_uid="sentinel_site.measures")
    REGISTRY.register(SiteCollector())


def exposition() -> bytes:
    return generate_latest(REGISTRY)


def count_submission(*, source: str, kind: str, result: str, **_of_the_signal: Any) -> None:
    submissions.labels(source=source, kind=kind, result=result).inc()


def watch_connection(*, connection: BaseDatabaseWrapper, **_of_the_signal: Any) -> None:
    if time_query not in connection.execute_wrappers:
        connection.execute_wrappers.append(time_query)


def time_query(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Around each query. django-prometheus' own way is an engine in place of Django's, for some databases."""
    begun = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    except Exception as error:
        query_errors.labels(error=type(error).__name__).inc()
        raise
    finally:
        query_seconds.observe(time.perf_counter() - begun)


class SiteCollector(Collector):
    """Reads the state of the site when somebody asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: list[Metric] = []
        self._read_at = -KEPT_SECONDS

    def describe(self) -> Iterable[Metric]:
        # Nothing is asked of the database at the start.
        return []

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "sentinel",
            "What runs here.",
            value={"version": __version__, "python": platform.python_version(), "django": django.get_version()},
        )
        disk = shutil.disk_usage(settings.DATA_DIR)
        yield GaugeMetricFamily("sentinel_disk_free_bytes", "Free where this host writes.", value=disk.free)
        yield GaugeMetricFamily("sentinel_disk_bytes", "Size of the disk where this host writes.", value=disk.total)
        with self._lock:
            if time.monotonic() - self._read_at > KEPT_SECONDS:
                self._known = self._ask()
                self._read_at = time.monotonic()
            yield from self._known

    @staticmethod
    def _ask() -> list[Metric]:
        begun = time.monotonic()
        try:
            found = _asker.submit(read_site).result(timeout=DATABASE_SECONDS)
        except (Error, TooLate) as error:
            logger.error("The database did not tell the figures: %r", error)
            return [GaugeMetricFamily("sentinel_database_up", "Whether the database answers.", value=0)]
        seconds = time.monotonic() - begun
        return [
            GaugeMetricFamily("sentinel_database_up", "Whether the database answers.", value=1),
            GaugeMetricFamily("sentinel_database_answer_seconds", "How long all of this took.", value=seconds),
            *found,
        ]


def read_site() -> list[Metric]:
    """What the database says of the whole site."""
    try:
        since = timezone.now() - WINDOW
        return [*_queue(), *_workers(), *_analyses(since), *_deliveries(since), *_others(since)]
    finally:
        # This thread's own connection: nobody else would close it.
        connection.close()


def _gauge(name: str, text: str, rows: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _queue() -> Iterator[Metric]:
    figures = health.queue_figures()
    labels = ("lane", "priority")
    for name, text in (
        ("waiting", "Analyses that wait."),
        ("running", "Analyses that are being examined."),
        ("oldest_seconds", "For how long the oldest of those that wait has; 0 when none waits."),
    ):
        rows = [((each.lane, each.priority), getattr(each, name) or 0) for each in figures]
        yield _gauge(f"sentinel_queue_{name}", text, rows, labels)
    fetching = Analysis.objects.filter(status=Analysis.Status.QUEUED, stage=Analysis.Stage.FETCHING).count()
    yield GaugeMetricFamily("sentinel_links_waiting", "Links whose file is not here yet.", value=fetching)


def _workers() -> Iterator[Metric]:
    state = health.workers_state()
    unserved = health.queue_state(state.abilities).unserved
    yield GaugeMetricFamily("sentinel_queue_unserved", "Of those that wait, what no worker can do.", value=unserved)
    yield GaugeMetricFamily("sentinel_workers_alive", "Workers heard of in the last 30 seconds.", value=state.alive)
    alive = WorkerState.objects.filter(seen_at__gt=clock.now() - health.ALIVE_FOR).exclude(detector="")
    loaded = alive.filter(name__contains=health.BELOW).values_list("detector", "detector_version")
    yield _gauge(
        "sentinel_detector_processes",
        "Processes that have loaded this detector.",
        [((name, version), count) for name, version, count in loaded.annotate(count=Count("pk")).order_by()],
        ("detector", "version"),
    )


def _analyses(since: Any) -> Iterator[Metric]:
    finished = Analysis.objects.filter(
        status__in=[Analysis.Status.DONE, Analysis.Status.FAILED], finished_at__gte=since
    ).order_by()
    ends = finished.values_list("status", "outcome", "error_code").annotate(count=Count("pk"))
    yield _gauge(
        "sentinel_analyses_finished_last_hour",
        "Analyses that ended within the last hour, by outcome, or error code of failed ones.",
        [((outcome if status == Analysis.Status.DONE else "", error), n) for status, outcome, error, n in ends],
        ("outcome", "error"),
    )
    done = finished.filter(status=Analysis.Status.DONE, seconds__isnull=False, started_at__isnull=False)
    figures = done.aggregate(
        mean=Avg("seconds"),
        longest=Max("seconds"),
        total=Sum("seconds"),
        frames=Sum(F("real_frames") + F("fake_frames")),
    )
    for name, text in (
        ("mean", "Seconds that an examination of the last hour took, on average."),
        ("longest", "Seconds that the longest examination of the last hour took."),
        ("total", "Seconds that all examinations of the last hour took together."),
    ):
        yield GaugeMetricFamily(f"sentinel_analysis_seconds_{name}_last_hour", text, value=figures[name] or 0)
    yield GaugeMetricFamily(
        "sentinel_frames_judged_last_hour",
        "Frames with a face that was judged, of analyses that ended within the last hour.",
        value=figures["frames"] or 0,
    )


def _deliveries(since: Any) -> Iterator[Metric]:
    status = Delivery.Status
    waiting = Delivery.objects.filter(status__in=[status.WAITING, status.SENDING]).order_by()
    yield _gauge(
        "sentinel_notifications_waiting",
        "Push messages and e-mails that have not gone out.",
        [((channel,), n) for channel, n in waiting.values_list("channel").annotate(n=Count("pk"))],
        ("channel",),
    )
    sent = Delivery.objects.filter(status=status.SENT, sent_at__gte=since).order_by()
    failed = Delivery.objects.filter(status=status.FAILED, claimed_at__gte=since).order_by()
    yield _gauge(
        "sentinel_notifications_last_hour",
        "Push messages and e-mails that went out, or were given up, within the last hour.",
        [
            ((channel, result), n)
            for result, rows in (("sent", sent), ("failed", failed))
            for channel, n in rows.values_list("channel").annotate(n=Count("pk"))
        ],
        ("channel", "result"),
    )


def _others(since: Any) -> Iterator[Metric]:
    fetched = LinkSource.objects.filter(fetched_at__gte=since).count()
    yield GaugeMetricFamily("sentinel_links_fetched_last_hour", "Links whose file came.", value=fetched)
    issued = IssuedDocument.objects.filter(issued_at__gte=since).order_by()
    yield _gauge(
        "sentinel_documents_issued_last_hour",
        "Reports, packages and certificates that were made.",
        [((kind,), n) for kind, n in issued.values_list("kind").annotate(n=Count("pk"))],
        ("kind",),
    )
    happened = SecurityEvent.objects.filter(at__gte=since).order_by()
    yield _gauge(
        "sentinel_security_events_last_hour",
        "What the security log was told of accounts.",
        [((event,), n) for event, n in happened.values_list("event").annotate(n=Count("pk"))],
        ("event",),
    )

from __future__ import annotations

import sys
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings

# Of manage.py's commands, those that stay.
SERVICES = {"run_worker", "run_twitterbot"}


class SentinelSiteConfig(AppConfig):
    name = "sentinel_site"

    def ready(self) -> None:
        from sentinel_site import checks  # noqa: F401 -- they register themselves

        # Libraries that most sites do without, so that those need not wait for them.
        if settings.SENTRY_DSN:
            from sentinel_site import error_reports

            error_reports.start()
        if settings.SENTINEL_METRICS:
            from sentinel_site import measures

            measures.start()
        if settings.OTEL_EXPORTER_OTLP_ENDPOINT and is_service():
            from sentinel_site import tracing

            tracing.start()


def is_service() -> bool:
    """Whether this process is a part of the running site, and not one command of somebody's."""
    program = Path(sys.argv[0])
    is_command = program.name in {"manage.py", "django-admin"} or program.parent.name == "django"
    return not is_command or not SERVICES.isdisjoint(sys.argv[1:2])

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from reports.case_maker import make_waiting


class Command(BaseCommand):
    help = "Make the reports and exports of cases that wait, then end. The worker starts this by itself."

    def handle(self, *args: Any, **options: Any) -> None:
        make_waiting()

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from media_analysis import health


class Command(BaseCommand):
    help = "Tell what waits and runs in each lane, since when, and which workers live: for people and autoscalers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        workers = health.workers_state()
        state = health.queue_state(workers.abilities)
        figures = health.queue_figures()
        if options["json"]:
            found = {
                "waiting": state.waiting,
                "running": state.running,
                "oldest_waiting_seconds": state.oldest_waiting_seconds,
                "unserved": state.unserved,
                "workers_alive": workers.alive,
                "lanes": [asdict(lane) for lane in state.lanes],
                "priorities": [figure._asdict() for figure in figures],
            }
            self.stdout.write(json.dumps(found))
            return
        for figure in figures:
            since = "" if figure.oldest_seconds is None else f", the oldest for {figure.oldest_seconds:.0f} s"
            self.stdout.write(
                f"{figure.lane:12} {figure.priority:8} {figure.waiting} waiting{since}; {figure.running} running"
            )
        for lane in state.lanes:
            self.stdout.write(f"{lane.lane:12} {lane.workers} workers")
        if state.unserved:
            self.stdout.write(self.style.WARNING(f"{state.unserved} wait for what no worker that lives can do."))

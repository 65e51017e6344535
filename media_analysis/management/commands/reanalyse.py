from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from media_analysis import scheduling, services
from media_analysis.models import Analysis, Media


class Command(BaseCommand):
    help = (
        "Have files examined again, when nobody else waits. The results that they have stay; it costs nobody anything."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("media", nargs="*", metavar="ID", help="ids of files; without any, all that have a result")
        parser.add_argument(
            "--unless-by",
            metavar="NAME:VERSION",
            help="leave out files whose latest result is by this detector, such as sentinel-lite:2.0.0",
        )
        parser.add_argument("--detector", default="", help="one of those that are offered; without, the workers' own")
        parser.add_argument("--limit", type=int, help="at most so many files, the latest first")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["detector"] and options["detector"] not in scheduling.offered_detectors():
            raise CommandError(f"{options['detector']} is not among SENTINEL_OFFERED_DETECTORS.")
        files = Media.objects.filter(deleted_at__isnull=True).exclude(file="").order_by("-created_at", "-pk")
        if ids := options["media"]:
            files = files.filter(public_id__in=ids)
            if missing := set(ids) - set(files.values_list("public_id", flat=True)):
                raise CommandError(f"There are no files {', '.join(sorted(missing))}.")
        queued = 0
        for pk in list(files.values_list("pk", flat=True)):
            if options["limit"] is not None and queued >= options["limit"]:
                break
            media = Media.objects.select_related("owner").filter(pk=pk).first()
            latest = Analysis.objects.filter(media_id=pk, status=Analysis.Status.DONE).order_by("-finished_at").first()
            if media is None or latest is None:
                continue
            if f"{latest.detector}:{latest.detector_version}" == options["unless_by"]:
                continue
            queued += bool(services.examine_again(media, requester=media.owner, detector=options["detector"]))
        self.stdout.write(f"{queued} files wait to be examined again.")

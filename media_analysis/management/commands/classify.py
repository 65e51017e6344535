from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounts.errors import SentinelError
from media_analysis import links
from media_analysis.downloads import CODES, Wanted, Watch, fetch_file, temporary_folder
from media_analysis.link_addresses import Cut
from media_analysis.link_forms import LinkForm
from media_analysis.models import LinkSource
from media_analysis.serializers import LinkOutput
from media_analysis.video_sites import SiteError
from media_analysis.wording import LINK_PROBLEMS
from ml import batch

# Of `link` in the API, what only a site with accounts knows.
NOT_HERE = {"claims", "same_as", "same_as_at"}


class Command(BaseCommand):
    help = (
        "Judge videos and photos, files of any length or links within the site's limits, without server or account. "
        "Exit code 1 if one of them failed."
    )
    # It reads no database and answers no request: nothing of the site needs to be in order.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        batch.add_arguments(parser, links=True)
        parser.add_argument("--from", dest="start", metavar="TIME", help="of links, judge the part from here, as 1:30")
        parser.add_argument("--to", dest="end", metavar="TIME", help="up to here")
        parser.set_defaults(
            detector=settings.SENTINEL_DETECTOR,
            weights=[Path(path) for path in settings.SENTINEL_DETECTOR_WEIGHTS],
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            cut = self._cut(**options)
        except ValueError as error:
            self.stderr.write(str(error))
            sys.exit(batch.EXIT_UNUSABLE)
        fetch = partial(linked_file, cut=cut)
        code = batch.run(argparse.Namespace(**options), Unchanged(self.stdout), sys.stderr, fetch)
        if code:
            sys.exit(code)

    def _cut(self, *, start: str | None, end: str | None, paths: list[Path | str], **_options: Any) -> Cut | None:
        """The part of links that is asked for, if one is. Raises ValueError with a text for an impossible one."""
        form = LinkForm({"start": start or "", "end": end or ""})
        wrong: dict[str, list[str]] = {}
        if not form.is_valid():
            wrong = {name: [str(each) for each in errors] for name, errors in form.errors.items()}
        elif form.cut is not None:
            try:
                links.check_cut(form.cut)
            except SentinelError as error:
                wrong = error.errors
        if wrong:
            raise ValueError("\n".join(f"{OPTION[name]}: {text}" for name in wrong for text in wrong[name]))
        if form.cut is not None and not any(isinstance(path, str) for path in paths):
            raise ValueError("--from and --to are for links; files are judged as they are.")
        return form.cut


OPTION = {"start": "--from", "end": "--to"}


@contextmanager
def linked_file(url: str, told: Callable[[float], None], cut: Cut | None) -> Iterator[batch.LinkedFile]:
    """The file at a link, fetched as on the site, for as long as it is entered. Raises batch.LinkRefusedError."""
    known: dict[str, Any] = {"url": url}
    if cut is not None:
        known |= {"cut_start": cut.start, "cut_end": cut.end}

    def note(*, name: str = "", **origin: Any) -> None:
        known.update(origin)

    with temporary_folder() as folder:
        try:
            address = links.read_link(url, cut).url
            fetched = fetch_file(Wanted(address, cut), folder, Watch(told), note)
        except SiteError as error:
            known["problem"] = error.problem
            text = str(LINK_PROBLEMS[error.problem])
            raise batch.LinkRefusedError(CODES[error.problem], text, described(known)) from error
        except SentinelError as error:
            raise batch.LinkRefusedError(error.code, error.text, described(known)) from error
        staged = fetched.staged
        facts = {"name": staged.name, "size": staged.size, "sha256": staged.sha256, "md5": staged.md5}
        yield batch.LinkedFile(staged.path, fetched.info, {**described({**known, **fetched.origin}), **facts})


def described(known: dict[str, Any]) -> dict[str, Any]:
    """What is known of the origin, fields of LinkSource, as the API would say it."""
    said = LinkOutput(LinkSource(**known)).data
    return {name: value for name, value in said.items() if name not in NOT_HERE}


class Unchanged:
    """Writes to Django's wrapper without the line end that it would add to every piece."""

    def __init__(self, output: Any) -> None:
        self._output = output

    def write(self, text: str, /) -> None:
        self._output.write(text, ending="")

from __future__ import annotations

import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from twitterbot.bot import Bot, make_client, missing_keys
from twitterbot.budget import BudgetSpent
from twitterbot.client import XError
from twitterbot.health import health_line

EXIT_FAILED = 1
EXIT_NO_KEYS = 2


class Command(BaseCommand):
    help = "Run the bot on X (Twitter): answers posts that tag it. Ends on SIGTERM after the request under way."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then end")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done with new mentions; send and keep nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if missing := missing_keys():
            self.stderr.write(f"The bot has no keys: set {', '.join(missing)}. docs/twitter.md says how to get them.")
            sys.exit(EXIT_NO_KEYS)
        if not settings.SENTINEL_URL:
            self.stderr.write("SENTINEL_URL is not set: replies will hold no link to the result.")
        bot = Bot(make_client())
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, lambda *_: bot.stop()) for number in numbers]
        try:
            self._run(bot, once=options["once"], dry=options["dry_run"])
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _run(self, bot: Bot, *, once: bool, dry: bool) -> None:
        if dry:
            self._preview(bot)
        elif once:
            if not bot.round():
                sys.exit(EXIT_FAILED)
            self.stdout.write(health_line())
        else:
            self.stdout.write("The bot is running.")
            bot.run()

    def _preview(self, bot: Bot) -> None:
        try:
            for line in bot.preview():
                self.stdout.write(line)
        except (XError, BudgetSpent) as error:
            self.stderr.write(f"Mentions could not be read: {error}")
            sys.exit(EXIT_FAILED)

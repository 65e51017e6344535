"""The step between a new SECRET_KEY and throwing the old one away."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import second_factor
from accounts.models import SecondFactor


class Command(BaseCommand):
    help = "Encrypts the secrets of code apps with today's SECRET_KEY: see docs/secrets.md."

    def handle(self, *args: Any, **options: Any) -> None:
        done = second_factor.encrypt_anew()
        left = SecondFactor.objects.exclude(secret="", pending_secret="").count() - done
        self.stdout.write(f"{done} secrets are encrypted with today's SECRET_KEY.")
        if left > 0:
            raise CommandError(
                f"{left} could not be read with SECRET_KEY or SECRET_KEY_FALLBACKS, or changed meanwhile: run it again."
            )

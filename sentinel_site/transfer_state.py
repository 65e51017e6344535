"""How far a transfer is: two tables of the target, there only until it is complete.

They are no part of the site's tables, and so in registries of their own: nothing that goes through all tables finds
them. :mod:`sentinel_site.transfer` makes and removes them.
"""

from __future__ import annotations

from typing import ClassVar

from django.apps.registry import Apps
from django.db import models


class TransferProgress(models.Model):
    """Of one table, by its label; the row with the label :data:`SOURCE` says where everything comes from."""

    label = models.CharField(primary_key=True, max_length=100)
    # The key in the source of the last row that is here; of SOURCE, what names the source.
    last = models.JSONField()
    rows = models.BigIntegerField(default=0)
    objects: ClassVar[models.Manager[TransferProgress]] = models.Manager()

    class Meta:
        app_label = "sentinel_site"
        apps = Apps()
        db_table = "sentinel_transfer_progress"

    def __str__(self) -> str:
        return f"{self.label}: {self.rows}"


class TransferKey(models.Model):
    """Which key a row of the source has here, where it could not keep its own."""

    # Label and key in the source.
    old = models.CharField(primary_key=True, max_length=200)
    new = models.CharField(max_length=64)
    objects: ClassVar[models.Manager[TransferKey]] = models.Manager()

    class Meta:
        app_label = "sentinel_site"
        apps = Apps()
        db_table = "sentinel_transfer_keys"

    def __str__(self) -> str:
        return f"{self.old} {self.new}"


SOURCE = "source"
# Stands there once everything was written and compared, where more follows that changes it.
COMPARED = "compared"

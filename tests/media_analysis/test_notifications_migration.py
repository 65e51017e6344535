"""Nobody is told today of what ended before there were notifications."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.ids import new_public_id
from media_analysis import notifications
from media_analysis.models import Analysis

BEFORE = [("media_analysis", "0006_live_events")]


@pytest.mark.skipif(connection.vendor == "mongodb", reason="its migrations begin with what is here today")
@pytest.mark.django_db(transaction=True)
def test_what_ended_before_counts_as_told_and_the_way_back_is_open() -> None:
    executor = MigrationExecutor(connection)
    latest = executor.loader.graph.leaf_nodes()
    try:
        executor.migrate(BEFORE)
        old = executor.loader.project_state([*BEFORE, *executor.loader.graph.leaf_nodes("accounts")]).apps
        user = old.get_model("accounts", "User").objects.create(username="old", public_id=new_public_id())
        media = old.get_model("media_analysis", "Media").objects.create(
            owner=user, kind="video", size=1, width=1, height=1, public_id=new_public_id()
        )
        analyses = old.get_model("media_analysis", "Analysis").objects
        ended = analyses.create(media=media, status="done", finished_at=timezone.now(), public_id=new_public_id()).pk
        waiting = analyses.create(media=media, public_id=new_public_id()).pk
    finally:
        MigrationExecutor(connection).migrate(latest)
    assert notifications.announce_missed() == 0
    assert Analysis.objects.get(pk=ended).announced_at == Analysis.objects.get(pk=ended).finished_at
    assert Analysis.objects.get(pk=waiting).announced_at is None

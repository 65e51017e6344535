"""What lists need of old results is found in its column after the update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts.ids import new_public_id

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("media_analysis", "0004_upload_metadata")]
AFTER = [("media_analysis", "0005_timestamps")]


@pytest.fixture
def executor() -> Iterator[Any]:
    """Goes to any state; every table is as the code wants it afterwards."""

    def migrate(targets: list[tuple[str, str]]) -> Any:
        executor = MigrationExecutor(connection)
        executor.migrate(targets)
        accounts = executor.loader.graph.leaf_nodes("accounts")
        return executor.loader.project_state([*targets, *accounts]).apps

    yield migrate
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


@pytest.mark.skipif(connection.vendor == "mongodb", reason="its migrations begin with what is here today")
def test_stretches_of_old_results_get_their_column(executor: Any) -> None:
    old = executor(BEFORE)
    user = old.get_model("accounts", "User").objects.create(username="old", public_id=new_public_id())
    media = old.get_model("media_analysis", "Media").objects.create(
        owner=user, kind="video", size=1, width=1, height=1, public_id=new_public_id()
    )
    analyses = old.get_model("media_analysis", "Analysis").objects
    results: tuple[Any, ...] = ({"timestamps": [[0.2, 0.6]]}, {"timestamps": []}, None)
    keys = [analyses.create(media=media, result=each, public_id=new_public_id()).pk for each in results]

    new = executor(AFTER).get_model("media_analysis", "Analysis").objects

    assert [new.get(pk=key).timestamps for key in keys] == [[[0.2, 0.6]], [], []]

    executor(BEFORE)
    assert analyses.count() == 3

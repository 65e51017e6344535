"""Databases as older versions left them are brought to the newest, and everything in them can be read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from django.utils import timezone

from accounts.models import User
from media_analysis.models import Analysis, CustodyEvent, Media
from tests.media_analysis.factories import a_result
from tests.sentinel_site.filling import fill

OURS = ("accounts", "media_analysis", "reports", "twitterbot")
# The newest migration of each app at a time: the states of the main line from which sites may come. Each released
# version adds its own here; none was released before these. What lies between them passes through on the way.
STATES: dict[str, dict[str, str]] = {
    "the first intake": {"accounts": "0001_initial", "media_analysis": "0001_initial"},
    "notifications": {
        "accounts": "0003_notification_preferences",
        "media_analysis": "0007_notifications",
        "reports": "0001_reports",
    },
    "custody log, cases, links and the bot": {
        "accounts": "0003_notification_preferences",
        "media_analysis": "0011_custody_hand_over",
        "reports": "0003_issued_documents",
        "twitterbot": "0001_bot",
    },
}


@pytest.fixture
def new_file(tmp_path: Path, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The connection leads to an SQLite file that is not there yet."""
    if connection.vendor != "sqlite":
        pytest.skip("older versions are brought up on SQLite")
    before = connection.settings_dict["NAME"]
    with django_db_blocker.unblock():
        connection.close()
        connection.settings_dict["NAME"] = str(tmp_path / "old.sqlite3")
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = before


def in_order(tables: list[Any]) -> list[Any]:
    """Each after those that it refers to."""
    ordered: list[Any] = []
    while tables:
        ready = [
            table
            for table in tables
            if not {field.remote_field.model for field in table._meta.concrete_fields if field.remote_field}
            & (set(tables) - {table})
        ]
        ordered += ready
        tables = [table for table in tables if table not in ready]
    return ordered


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_a_database_of_an_older_version_is_brought_up_and_read(new_file: None, state: str) -> None:
    executor = MigrationExecutor(connection)
    others = [node for node in executor.loader.graph.leaf_nodes() if node[0] not in OURS]
    targets = [*STATES[state].items(), *others]
    executor.migrate(targets)
    old = executor.loader.project_state(targets).apps
    tables = in_order([table for table in old.get_models() if table._meta.app_label in OURS])
    result = {"status": "done", "outcome": "FAKE", "result": a_result(), "finished_at": timezone.now(), "evidence": []}
    real: dict[str, dict[str, Any]] = {
        "media_analysis.analysis": result,
        "media_analysis.linksource": {"headers": {}, "claims": {}},
        "twitterbot.mention": {"claims": {}, "bystanders": []},
    }
    fill(tables, 2, real)
    counted = {table._meta.label_lower: table._base_manager.count() for table in tables}
    # As they are in any database; what was filled in says nothing.
    for media in old.get_model("media_analysis", "Media")._base_manager.all():
        name = default_storage.save(f"media/{media.public_id}/original", ContentFile(b"bytes"))
        type(media)._base_manager.filter(pk=media.pk).update(file=name, sha256="a" * 64, deleted_at=None)
    for name in ("CustodyEvent", "DeletionReceipt"):
        if name.lower() in old.all_models["media_analysis"]:
            old.get_model("media_analysis", name)._base_manager.all().delete()
            counted.pop(f"media_analysis.{name.lower()}")

    call_command("migrate", interactive=False, verbosity=0)

    for label, rows in counted.items():
        found = apps.get_model(label)._base_manager.all()
        assert len(found) >= rows, label
        assert all(str(row) for row in found)
    read_everything()
    if "custody log" not in state:
        assert CustodyEvent.objects.filter(event=CustodyEvent.Event.BEGUN).count() == Media.objects.count()
        said = io.StringIO()
        call_command("check_custody_log", stdout=said, stderr=said)
        assert "nothing is wrong" in said.getvalue()


def read_everything() -> None:
    """The pages that show all of it, to those who may see it."""
    for analysis in Analysis.objects.all():
        client = Client()
        User.objects.filter(pk=analysis.media.owner_id).update(deleted_at=None, is_active=True, language="")
        owner = User.objects.get(pk=analysis.media.owner_id)
        client.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
        for address in (
            "/analyses/new/",
            "/analyses/",
            f"/analyses/{analysis.public_id}/",
            "/notifications/",
            "/accounts/",
        ):
            assert client.get(address).status_code == 200, address
        seen = client.get(f"/api/v1/analyses/{analysis.public_id}/").json()
        assert (seen["status"], seen["outcome"]) == ("done", "FAKE")
    staff = User.objects.create(username="staff", email="staff@example.org", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(staff, backend="accounts.backends.UsernameOrEmailBackend")
    for model in admin.site._registry:
        if model._meta.app_label in OURS:
            address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            assert client.get(address).status_code == 200, address


def test_every_migration_can_be_taken_back_or_says_why_not() -> None:
    """One that cannot leaves a site no way back: it has to say so, as `irreversible = "…"`."""
    loader = MigrationLoader(None)
    silent = [
        f"{label}.{name}"
        for (label, name), migration in loader.disk_migrations.items()
        if label in OURS
        and not all(operation.reversible for operation in migration.operations)
        and not getattr(migration, "irreversible", "")
    ]
    assert silent == []


def test_the_table_of_states_names_migrations_that_are_there() -> None:
    graph = MigrationLoader(None).graph
    for state in STATES.values():
        for node in state.items():
            assert node in graph.nodes

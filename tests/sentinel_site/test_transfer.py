from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import User
from media_analysis.health import WorkerBeat
from media_analysis.models import Case, CustodyEvent
from sentinel_site import transfer
from sentinel_site.transfer_records import (
    MATCHED,
    TransferError,
    digest,
    digest_all,
    key_kind,
    label_of,
    models_to_move,
    read_value,
    target_of,
    write_value,
)
from tests.conftest import make_user
from tests.postgresql_process import running_postgresql
from tests.sentinel_site.filling import fill

ROOT = Path(__file__).resolve().parent.parent.parent
TABLES = [table for table in models_to_move() if label_of(table) not in MATCHED]
Batches = list[tuple[str, list[dict[str, Any]]]]


def empty() -> None:
    for table in reversed(TABLES):
        table._base_manager.all()._raw_delete("default")
    if transfer.is_under_way():
        transfer.forget_state()


def read_all() -> tuple[transfer.Header, Batches]:
    """What would be sent, as text and back, as it goes through a pipe."""
    header = transfer.read_header(transfer.describe_source().to_json())
    return header, json.loads(json.dumps(list(transfer.read_rows())))


def from_mongodb(header: transfer.Header, batches: Batches) -> tuple[transfer.Header, Batches]:
    """The same as if it came from there, where keys are ObjectIds."""
    tables = {label_of(table): table for table in models_to_move()}
    given = {label for label, kind in header.keys.items() if kind == "number"}
    made: dict[tuple[str, Any], str] = {}

    def key_of(label: str, old: Any) -> Any:
        if old is None or label not in given:
            return old
        return made.setdefault((label, old), f"6{len(made):023x}")

    changed = []
    for label, rows in batches:
        table = tables[label]
        targets = {field.attname: target_of(field) for field in table._meta.concrete_fields}
        columns = {attname: label_of(target) for attname, target in targets.items() if target}
        if label in given:
            columns[table._meta.pk.attname] = label
        for row in rows:
            for attname, target_label in columns.items():
                while key_kind(tables[target_label]) == "reference":
                    target_label = label_of(target_of(tables[target_label]._meta.pk))  # type: ignore[arg-type]  # noqa: PLW2901
                row[attname] = key_of(target_label, row[attname])
            if label == "admin.logentry" and row["object_id"] and row["object_id"].isdigit():
                row["object_id"] = key_of("media_analysis.case", int(row["object_id"]))
            if label == "sessions.session" and row["session_key"] == "of a user":
                content = SessionStore().decode(row["session_data"])
                content["_auth_user_id"] = key_of("accounts.user", int(content["_auth_user_id"]))
                row["session_data"] = SessionStore().encode(content)
        changed.append((label, rows))
    keys = {label: "object_id" if kind == "number" else kind for label, kind in header.keys.items()}
    return transfer.Header(header.format, header.source, keys, header.columns), changed


@pytest.fixture
def filled(transactional_db: None) -> Iterator[User]:
    """A row or more in every table, and keys in texts: who is logged in, and what an administrator changed."""
    # The keys of here are others than those that a new database gives.
    make_user("nobody").delete()
    fill(TABLES, 2)
    user = User.objects.order_by("-pk")[0]
    store = SessionStore("of a user")
    content = {"_auth_user_id": str(user.pk), "_auth_user_hash": "hash", "language": "हिन्दी"}
    Session.objects.create(session_key="of a user", session_data=store.encode(content), expire_date="2027-01-01T00:00Z")
    case = Case.objects.order_by("-pk")[0]
    LogEntry.objects.all().delete()
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Case),
        object_id=str(case.pk),
        object_repr=case.title,
        action_flag=CHANGE,
    )
    yield user
    if transfer.is_under_way():
        transfer.forget_state()


@pytest.mark.parametrize("kept_keys", [True, False])
def test_everything_arrives_also_where_keys_are_of_another_kind(filled: User, kept_keys: bool) -> None:
    before, (header, batches) = digest_all(), read_all()
    if not kept_keys:
        header, batches = from_mongodb(header, batches)
    case = Case.objects.order_by("-pk")[0]
    empty()
    loader = transfer.Loader(header)
    assert loader.begin() == {}
    for label, rows in batches:
        loader.load(label, rows)
    loader.finish()
    assert digest_all() == before
    assert all(found.rows for found in before.values())
    user = User.objects.get(public_id=filled.public_id)
    assert (user.pk == filled.pk) is kept_keys
    assert SessionStore("of a user").load()["_auth_user_id"] == str(user.pk)
    assert LogEntry.objects.get().get_edited_object() == Case.objects.get(public_id=case.public_id)
    assert user.password == filled.password
    transfer.forget_state()
    # The next key is a new one.
    make_user("later")


def test_what_a_kill_left_is_gone_on_with(filled: User, monkeypatch: pytest.MonkeyPatch) -> None:
    before, (header, batches) = digest_all(), from_mongodb(*read_all())
    empty()
    loader = transfer.Loader(header)
    loader.begin()
    half = len(batches) // 2
    for label, rows in batches[:half]:
        loader.load(label, rows)
    # Killed where no transaction takes back what was written: keys and a row are there, and how far it is is not.
    label, rows = batches[half]
    monkeypatch.setattr(transfer.Loader, "_advance", lambda *_: None)
    loader.load(label, rows[:1])
    monkeypatch.undo()
    again = transfer.Loader(header)
    after = again.begin()
    assert after
    assert label not in after
    for label, rows in batches:
        key = next(table._meta.pk.attname for table in models_to_move() if label_of(table) == label)
        if rest := rows[next((n + 1 for n, row in enumerate(rows) if row[key] == after.get(label)), 0) :]:
            again.load(label, rest)
    again.finish()
    assert digest_all() == before


def test_what_differs_is_noticed(filled: User) -> None:
    before = digest_all()
    event = CustodyEvent.objects.order_by("pk")[0]
    CustodyEvent.objects.filter(pk=event.pk).update(details={**event.details, "added": 1})
    after = digest_all()
    assert [label for label in before if before[label] != after[label]] == ["media_analysis.custodyevent"]
    Case.objects.update(owner=User.objects.order_by("pk")[0])
    assert digest(Case) != before["media_analysis.case"]


def test_a_database_with_data_is_refused(filled: User) -> None:
    header = transfer.describe_source()
    with pytest.raises(TransferError, match=r"has data already, in accounts\.user, "):
        transfer.Loader(header).begin()
    empty()
    transfer.Loader(header).begin()
    other = transfer.Header(header.format, "another", header.keys, header.columns)
    with pytest.raises(TransferError, match="from elsewhere"):
        transfer.Loader(other).begin()


def test_another_version_is_refused() -> None:
    header = transfer.describe_source()
    columns = {**header.columns, "media_analysis.case": ["id", "title"]}
    with pytest.raises(TransferError, match=r"another version .* media_analysis\.case"):
        transfer.Loader(transfer.Header(header.format, header.source, header.keys, columns))
    with pytest.raises(TransferError, match="form 2"):
        transfer.read_header(json.dumps({**json.loads(header.to_json()), "format": 2}))


def test_a_row_that_cannot_be_written_is_named(filled: User) -> None:
    header, batches = read_all()
    empty()
    loader = transfer.Loader(header)
    loader.begin()
    for label, rows in batches:
        if label == "accounts.user":
            rows[1]["email"] = rows[0]["email"]
            with pytest.raises(TransferError, match=f"accounts.user {rows[1]['id']} cannot be written"):
                loader.load(label, rows)
            assert User.objects.count() == 1
            break
        loader.load(label, rows)


def test_what_refers_to_nothing_is_an_error_or_left_out(filled: User) -> None:
    header, batches = read_all()
    empty()
    loader = transfer.Loader(header)
    loader.begin()
    with pytest.raises(TransferError, match="refers by owner_id to what is not there"):
        loader.load("media_analysis.case", next(rows for label, rows in batches if label == "media_analysis.case"))
    loader = transfer.Loader(header, repair=True)
    for label, rows in batches:
        if label != "accounts.user":
            loader.load(label, rows)
    assert Case.objects.count() == 0
    assert loader.repaired["media_analysis.case"] == 2
    assert CustodyEvent.objects.count() == 2


def test_nothing_is_moved_while_workers_run(db: None) -> None:
    WorkerBeat.begin().alive()
    with pytest.raises(CommandError, match=r"1 worker.* Stop all workers, web servers and the bot first"):
        call_command("transfer_data", to="sqlite:////nowhere/at/all", stdout=StringIO())


def test_every_kind_of_column_is_known() -> None:
    for table in TABLES:
        row: Any = table()
        for field in table._meta.concrete_fields:
            written = json.loads(json.dumps(write_value(field, field.value_from_object(row))))
            assert write_value(field, read_value(field, written)) == written, field


def manage(*arguments: str, url: str, data: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "SENTINEL_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


FILL = """
from sentinel_site.transfer_records import *
from tests.sentinel_site.filling import fill
fill([table for table in models_to_move() if label_of(table) not in MATCHED], 12)
from media_analysis import custody
from media_analysis.models import CustodyEvent
CustodyEvent.objects.all().delete()
for n in range(100):
    custody.record(f"{n:024x}", custody.Event.RECEIVED, source="web")
    custody.record(f"{n:024x}", custody.Event.DELETED)
"""
ONE_MORE = """
from accounts.models import User
assert User.objects.count() == 12
print(User.objects.create_user("later", "later@example.org", "a long and unlikely one").pk)
"""


@pytest.mark.slow
@pytest.mark.long
def test_to_postgresql_and_back_through_a_kill(prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    first = f"sqlite:///{data}/first.sqlite3"
    (data / "first.sqlite3").write_bytes((prepared / "sentinel.sqlite3").read_bytes())
    filling = manage("shell", "-c", FILL, url=first, data=data)
    assert filling.returncode == 0, filling.stderr
    with running_postgresql(tmp_path / "postgresql") as server:
        second = server.create_database("sentinel")
        assert manage("migrate", "-v0", url=second, data=data).returncode == 0
        # Killed with all its children at a time of its own.
        moving = subprocess.Popen(
            [sys.executable, "manage.py", "transfer_data", "--to", second],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": first, "SENTINEL_DATA_DIR": str(data)},
            start_new_session=True,
        )
        tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'sentinel_transfer_progress'"
        while not (
            server.execute(tables, name="sentinel")[0][0]
            and int(str(server.execute("SELECT count(*) FROM sentinel_transfer_progress", name="sentinel")[0][0])) > 9
        ):
            assert moving.poll() is None
            time.sleep(0.01)
        os.killpg(moving.pid, signal.SIGKILL)
        moving.wait()
        time.sleep(0.5)
        moved = manage("transfer_data", "--to", second, url=first, data=data)
        assert moved.returncode == 0, moved.stderr
        assert "Going on with a transfer that was interrupted" in moved.stdout
        assert " 200 " in next(line for line in moved.stdout.splitlines() if "custodyevent" in line)
        # Once more would be into a database with data.
        assert "has data already" in manage("transfer_data", "--to", second, url=first, data=data).stderr
        third = f"sqlite:///{data}/third.sqlite3"
        back = manage("transfer_data", "--to", third, url=second, data=data)
        assert back.returncode == 0, back.stderr
        assert [line for line in back.stdout.splitlines() if ".custody" in line or ".media" in line] == [
            line for line in moved.stdout.splitlines() if ".custody" in line or ".media" in line
        ]
        later = manage("shell", "-c", ONE_MORE, url=second, data=data)
        assert later.returncode == 0, later.stderr

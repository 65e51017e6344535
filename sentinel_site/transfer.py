"""Moving everything from one database into another, whichever two they are.

The two are read and written by different processes, each with the settings of its own database, since the tables have
other kinds of keys on MongoDB. In between is text: a :class:`Header`, then batches of rows (see
:mod:`sentinel_site.transfer_records`). Backups hold the same text.

Every batch is written so that it may be written again: on a database with transactions it is there wholly or not at
all, on others rows that are there already are passed over. So a transfer that is killed at any point goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.core import signing
from django.core.management.color import no_style
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor

from accounts.models import User
from sentinel_site.transfer_records import (
    LOG_ENTRY,
    MATCHED,
    SECOND_FACTOR_IN_SESSION,
    SESSION,
    USER_IN_SESSION,
    Row,
    TransferError,
    fields_of,
    key_kind,
    label_of,
    models_to_move,
    read_batches,
    read_session,
    read_value,
    target_of,
    write_row,
)
from sentinel_site.transfer_state import COMPARED, SOURCE, TransferKey, TransferProgress

FORMAT = 1
# Keys given by a database, and so other ones where another kind is given.
GIVEN = {"number", "object_id"}


@dataclass(frozen=True, slots=True)
class Header:
    """What comes before the rows: whose they are, and how the tables look that they come from."""

    format: int
    # Names the source, so that a transfer is only ever gone on with from the same one.
    source: str
    # By label: how the keys come about, and the columns.
    keys: dict[str, str]
    columns: dict[str, list[str]]

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def describe_source(source: str = "") -> Header:
    """The tables of this process's database; `source` names what is none, such as a backup."""
    settings = connection.settings_dict
    place = [str(settings.get(name, "")) for name in ("ENGINE", "HOST", "PORT", "NAME")]
    tables = models_to_move()
    return Header(
        format=FORMAT,
        source=source or hashlib.sha256(json.dumps(place).encode()).hexdigest(),
        keys={label_of(model): key_kind(model) for model in tables},
        columns={label_of(model): [field.attname for field in fields_of(model)] for model in tables},
    )


def read_header(text: str) -> Header:
    """Raises TransferError where another version of this software wrote it."""
    content = json.loads(text)
    if content.get("format") != FORMAT:
        raise TransferError(f"it has form {content.get('format')!r:.20}, and this software knows form {FORMAT}")
    return Header(**content)


def require_migrated() -> None:
    """Raises TransferError unless this process's database has the tables that this software wants."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise TransferError("the database has not all tables of this version: run `manage.py migrate` first")


def tables_with_rows() -> list[str]:
    """Labels of the tables that are there and not empty, but for what Django puts into every database."""
    there = set(connection.introspection.table_names())
    return [
        label_of(model)
        for model in models_to_move()
        if label_of(model) not in MATCHED and model._meta.db_table in there and model._base_manager.exists()
    ]


def require_empty() -> None:
    """Raises TransferError for a database that has data, be it of an older version."""
    if filled := tables_with_rows():
        raise TransferError(f"the target has data already, in {', '.join(filled)}: give an empty one")


def read_rows(after: dict[str, Any] | None = None) -> Iterator[tuple[str, list[Row]]]:
    """All rows of this process's database, a batch at a time, from behind the keys `after`, by label."""
    after = after or {}
    for model in models_to_move():
        label = label_of(model)
        last = None if label in MATCHED or label not in after else read_value(model._meta.pk, after[label])
        for batch in read_batches(model, last):
            yield label, [write_row(model, row) for row in batch]


class Loader:
    """Writes rows into this process's database. See the module for what happens when it is killed.

    With `repair`, rows that refer to others that are not there are left out, or lose the reference where they may;
    `repaired` says how many. Without it, that is an error: a transfer loses nothing.
    """

    def __init__(self, header: Header, *, repair: bool = False) -> None:
        self._header = header
        self._repair = repair
        self._models = {label_of(model): model for model in models_to_move()}
        self._matched: dict[str, dict[Any, Any]] = {label: {} for label in MATCHED}
        self.repaired: dict[str, int] = {}
        self._require_same_tables()

    def begin(self) -> dict[str, Any]:
        """The keys behind which rows are wanted, by label: none at the start, and what is here of a transfer that was
        interrupted. Raises TransferError for a database that has other data.
        """
        if not is_under_way():
            require_empty()
            with connection.schema_editor() as editor:
                for model in (TransferKey, TransferProgress):
                    if model._meta.db_table not in connection.introspection.table_names():
                        editor.create_model(model)
            TransferProgress.objects.get_or_create(label=SOURCE, defaults={"last": self._header.source})
        source = TransferProgress.objects.filter(label=SOURCE).first()
        if source is None or source.last != self._header.source:
            raise TransferError("the target holds the beginning of a transfer from elsewhere: give an empty one")
        return {row.label: row.last for row in TransferProgress.objects.exclude(label=SOURCE)}

    def load(self, label: str, rows: list[Row]) -> None:
        """Write one batch, in the order that :func:`read_rows` gives them. Raises TransferError."""
        model = self._models[label]
        if label in MATCHED:
            self._match(model, rows)
            return
        try:
            with transaction.atomic():
                self._write(model, rows)
                self._advance(model, rows)
        except (DatabaseError, ValueError, OverflowError) as error:
            if len(rows) == 1:
                key = rows[0][model._meta.pk.attname]
                raise TransferError(f"{label} {key} cannot be written: {error}") from error
            # One at a time, to name the one.
            for row in rows:
                self.load(label, [row])

    def finish(self) -> None:
        """All rows are here: the next key that the database gives is a new one."""
        statements = connection.ops.sequence_reset_sql(no_style(), list(self._models.values()))
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def _require_same_tables(self) -> None:
        here = describe_source()
        if here.columns != self._header.columns:
            other = [
                label
                for label in sorted({*here.columns, *self._header.columns})
                if here.columns.get(label) != self._header.columns.get(label)
            ]
            raise TransferError(f"it comes from another version of this software, with other {', '.join(other)}")

    def _is_remapped(self, label: str) -> bool:
        theirs, ours = self._header.keys[label], key_kind(self._models[label])
        if label in MATCHED:
            return True
        if theirs == "reference":
            target = target_of(self._models[label]._meta.pk)
            return target is not None and self._is_remapped(label_of(target))
        return theirs in GIVEN and theirs != ours

    def _match(self, model: type[models.Model], rows: list[Row]) -> None:
        known = self._matched[label_of(model)]
        for row in rows:
            if model is ContentType:
                found: Any = ContentType.objects.get_or_create(app_label=row["app_label"], model=row["model"])[0]
            else:
                found = model._base_manager.get_or_create(
                    content_type_id=self._matched["contenttypes.contenttype"][row["content_type_id"]],
                    codename=row["codename"],
                    defaults={"name": row["name"]},
                )[0]
            known[row["id"]] = found.pk

    def _write(self, model: type[models.Model], rows: list[Row]) -> None:
        label, key = label_of(model), model._meta.pk
        fields = fields_of(model)
        references = {field.attname: self._resolve(field, rows) for field in fields if target_of(field)}
        own_keys = self._new_keys(model, rows) if key_kind(model) in GIVEN and self._is_remapped(label) else None
        made = []
        for row in rows:
            values = {
                field.attname: read_value(field, row[field.attname])
                for field in fields
                if field.attname not in references and not (field.primary_key and own_keys is not None)
            }
            if own_keys is not None:
                values[key.attname] = own_keys[row[key.attname]]
            if not self._refer(model, row, references, values):
                continue
            self._rewrite(label, values)
            made.append(model(**values))
        there = set(model._base_manager.filter(pk__in=[row.pk for row in made]).values_list("pk", flat=True))
        _insert(model, [row for row in made if row.pk not in there])

    def _refer(
        self, model: type[models.Model], row: Row, references: dict[str, dict[Any, Any]], values: dict[str, Any]
    ) -> bool:
        """Add to the values of a row the keys that it refers to. False if it has to be left out."""
        for attname, here in references.items():
            old = row[attname]
            values[attname] = here.get(old)
            if old is None or old in here:
                continue
            if not self._repair:
                raise TransferError(f"{label_of(model)} {row} refers by {attname} to what is not there")
            self.repaired[label_of(model)] = self.repaired.get(label_of(model), 0) + 1
            if not model._meta.get_field(attname).null:
                return False
        return True

    def _resolve(self, field: Any, rows: list[Row]) -> dict[Any, Any]:
        """The keys here of the rows that a column refers to, by those of the source."""
        target = target_of(field)
        assert target is not None  # noqa: S101 -- asked only of columns that have one
        label = label_of(target)
        olds = {old for row in rows if (old := row[field.attname]) is not None}
        if label in MATCHED:
            return {old: self._matched[label][old] for old in olds if old in self._matched[label]}
        if self._is_remapped(label):
            return self._mapped(target, olds)
        read = {old: read_value(target._meta.pk, old) for old in olds}
        there = set(target._base_manager.filter(pk__in=list(read.values())).values_list("pk", flat=True))
        return {old: key for old, key in read.items() if key in there}

    def _mapped(self, target: type[models.Model], olds: Iterable[Any]) -> dict[Any, Any]:
        label, kind = label_of(target), self._header.keys[label_of(target)]
        if kind == "reference":
            above = target_of(target._meta.pk)
            assert above is not None  # noqa: S101 -- that is what the kind says
            return self._mapped(above, olds)
        by_name = {f"{label} {old}": old for old in olds}
        found = TransferKey.objects.filter(old__in=list(by_name)).values_list("old", "new")
        return {by_name[old]: target._meta.pk.to_python(new) for old, new in found}

    def _new_keys(self, model: type[models.Model], rows: list[Row]) -> dict[Any, Any]:
        """A key for each of these rows, written down before any of them is, so that it is the same after a kill."""
        label, key = label_of(model), model._meta.pk
        olds = [row[key.attname] for row in rows]
        known = self._mapped(model, olds)
        missing = [old for old in olds if old not in known]
        if key_kind(model) == "object_id":
            # Never one that the database gives, which begin with the time; and in the order of the old ones.
            given = [f"{int(old):024x}" for old in missing]
        else:
            begin = TransferKey.objects.filter(old__startswith=f"{label} ").count() + 1 if missing else 0
            given = [str(number) for number in range(begin, begin + len(missing))]
        _insert(
            TransferKey, [TransferKey(old=f"{label} {old}", new=new) for old, new in zip(missing, given, strict=True)]
        )
        known.update({old: key.to_python(new) for old, new in zip(missing, given, strict=True)})
        return known

    def _rewrite(self, label: str, values: dict[str, Any]) -> None:
        """Keys in texts: of the user in a session, and of the object in the admin's log."""
        if label == SESSION and self._is_remapped(label_of(User)):
            content = read_session(values["session_data"])
            if content is None:
                return
            content.pop(SECOND_FACTOR_IN_SESSION, None)
            if USER_IN_SESSION in content:
                users = self._mapped_texts(User, content[USER_IN_SESSION])
                content[USER_IN_SESSION] = users.get(content[USER_IN_SESSION], "")
            store = SessionStore()
            values["session_data"] = signing.dumps(
                content, salt=store.key_salt, serializer=store.serializer, compress=True
            )
        elif label == LOG_ENTRY and values["content_type_id"] is not None and values["object_id"]:
            model = ContentType.objects.get_for_id(values["content_type_id"]).model_class()
            if model is not None and label_of(model) in self._models and self._is_remapped(label_of(model)):
                values["object_id"] = self._mapped_texts(model, values["object_id"]).get(
                    values["object_id"], values["object_id"]
                )

    def _mapped_texts(self, model: type[models.Model], old: str) -> dict[str, str]:
        if label_of(model) in MATCHED:
            matched = self._matched[label_of(model)]
            return {str(key): str(new) for key, new in matched.items() if str(key) == old}
        return {text: str(new) for text, new in self._mapped(model, [old]).items()}

    def _advance(self, model: type[models.Model], rows: list[Row]) -> None:
        label, last = label_of(model), rows[-1][model._meta.pk.attname]
        progress, _created = TransferProgress.objects.get_or_create(label=label, defaults={"last": last})
        progress.last, progress.rows = last, progress.rows + len(rows)
        progress.save()


def is_under_way(source: str = "") -> bool:
    """Whether this process's database holds a transfer that is not complete, from this source or from any."""
    if TransferProgress._meta.db_table not in set(connection.introspection.table_names()):
        return False
    found = TransferProgress.objects.filter(label=SOURCE).first()
    return found is not None and source in {"", found.last}


def note_compared() -> None:
    """Everything is here: what comes next is no part of the transfer, which is not to be gone through again."""
    TransferProgress.objects.get_or_create(label=COMPARED, defaults={"last": True})


def is_compared() -> bool:
    """Whether that was said of the transfer that is under way."""
    return TransferProgress.objects.filter(label=COMPARED).exists()


def forget_state() -> None:
    """Remove what was only of use while the transfer ran."""
    with connection.schema_editor() as editor:
        # This one first: without it, no transfer is under way.
        for model in (TransferProgress, TransferKey):
            if model._meta.db_table in connection.introspection.table_names():
                editor.delete_model(model)


def _insert(model: type[models.Model], rows: list[Any]) -> None:
    """As they are: no column is filled with the time of now, and no signal is sent."""
    fields = fields_of(model)
    while rows:
        size = max(connection.ops.bulk_batch_size(fields, rows), 1)
        model._base_manager.all()._insert(rows[:size], fields=fields, raw=True)  # type: ignore[attr-defined]
        rows = rows[size:]

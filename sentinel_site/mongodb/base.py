"""The engine. What differs from django-mongodb-backend:

* Unique indexes are partial only where a column may be empty. The backend makes all of them partial, to a BSON type,
  and those the server does not use to look anything up: each search by a public id would read the whole collection.
* ``migrate`` goes on where a killed one stopped, though creating a collection is no transaction.
* A process that was forked opens connections of its own. The driver's are shared by all threads and are not meant for
  two processes.
* A server that cannot be reached is an OperationalError, as with other engines.
* What was created holds its times as the database does, to the millisecond.
* Rows are chosen by their own columns before others are joined to them, and not after.
* Counts that are asked for together, in a union, are counted once.
* A malformed key is a ValueError, as with the integers of other engines: to whoever looks for its row, there is none.
"""

from __future__ import annotations

import os
from typing import Any

from django.db import OperationalError, connections
from django_mongodb_backend import base, introspection, operations, schema
from pymongo.errors import PyMongoError
from pymongo.operations import IndexModel

# Kept so that their destructors do not run: what they would close belongs to the parent too.
_of_the_parent: list[Any] = []


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    def table_names(self, cursor: Any = None, include_views: bool = False) -> list[str]:
        """Raises OperationalError where no server answers."""
        try:
            return list(super().table_names(cursor, include_views))
        except PyMongoError as error:
            raise OperationalError(str(error)) from error


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    def create_model(self, model: Any) -> None:
        """Harmless where it was done, or half done, before."""
        if not self.collect_sql and model._meta.db_table in self.connection.introspection.table_names():
            self._create_model_indexes(model)
            for field in model._meta.local_many_to_many:
                if field.remote_field.through._meta.auto_created:
                    self.create_model(field.remote_field.through)
            return
        super().create_model(model)

    def add_index(self, model: Any, index: Any, *, unique: bool = False, **options: Any) -> None:
        # A column that is being added is not in the model yet.
        added = options.get("field")
        fields = [added] if added else [model._meta.get_field(name) for name, _order in index.fields_orders]
        if not unique or index.condition or any(field.null for field in fields) or options.get("column_prefix"):
            super().add_index(model, index, unique=unique, **options)
            return
        orders = [-1 if order else 1 for _name, order in index.fields_orders]
        keys = [(field.column, order) for field, order in zip(fields, orders, strict=True)]
        self.get_collection(model._meta.db_table).create_indexes([IndexModel(keys, name=index.name, unique=True)])


class DatabaseOperations(operations.DatabaseOperations):
    compiler_module = "sentinel_site.mongodb.compiler"


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor
    introspection_class = DatabaseIntrospection

    def is_usable(self) -> bool:
        """Whether the server answers."""
        try:
            self.ensure_connection()
            self.connection.admin.command("ping")
        except PyMongoError:
            return False
        return True


def _forget_connections() -> None:
    """In a child, right after the fork, while it has one thread."""
    _of_the_parent.extend(DatabaseWrapper._connection_pools.values())
    DatabaseWrapper._connection_pools.clear()
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.connection = None
            connection.session = None
            connection.__dict__.pop("database", None)


os.register_at_fork(after_in_child=_forget_connections)

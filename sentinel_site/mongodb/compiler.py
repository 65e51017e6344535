"""What turns queries into MongoDB's: see ``base`` for what differs from django-mongodb-backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import DatabaseError, OperationalError
from django.db.models import DateTimeField
from django_mongodb_backend import compiler, query
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

# Of the server or of the way to it, not of what was asked.
OUTAGES = (ConnectionFailure, ExecutionTimeout, WTimeoutError)


def tell_outages(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """A server that is away is an OperationalError, as with other engines; any other trouble stays a DatabaseError."""

    @wraps(function)
    def wrapper(*args: Arguments.args, **options: Arguments.kwargs) -> Answer:
        try:
            return function(*args, **options)
        except DatabaseError as error:
            if isinstance(error.__cause__, OUTAGES):
                raise OperationalError(str(error.__cause__)) from error.__cause__
            raise
        except OUTAGES as error:
            raise OperationalError(str(error)) from error
        except PyMongoError as error:
            raise DatabaseError(str(error)) from error

    return wrapper


class MongoQuery(query.MongoQuery):
    query: Any
    match_mql: dict[str, Any]
    lookup_pipeline: list[Any] | None
    search_pipeline: list[Any]
    aggregation_pipeline: list[Any] | None
    combinator_pipeline: list[Any] | None
    subqueries: Any
    extra_fields: Any
    project_fields: Any
    get_cursor = tell_outages(query.MongoQuery.get_cursor)
    delete = tell_outages(query.MongoQuery.delete)

    def get_pipeline(self) -> list[Any]:
        """With dots where the backend nests, which means the same to MongoDB and is understood by its likes too."""
        if self.extra_fields:
            self.extra_fields = dict(_with_dots(self.extra_fields))
        if self.project_fields:
            self.project_fields = dict(_with_dots(self.project_fields))
        if self.combinator_pipeline:
            # Each of the combined queries does this for itself.
            self.aggregation_pipeline = None
        joins = self.lookup_pipeline
        if (joins or self.subqueries) and (conditions := self._own_conditions()):
            self.lookup_pipeline = [{"$match": {"$and": conditions}}, *(joins or ())]
        try:
            return list(super().get_pipeline())
        finally:
            self.lookup_pipeline = joins

    def _own_conditions(self) -> list[Any]:
        """Those on the collection itself, which the backend asks for after everything is joined."""
        if self.search_pipeline or self.query.model is None or not self.match_mql:
            return []
        columns = {field.column for field in self.query.model._meta.concrete_fields}
        all_of = self.match_mql.get("$and", [self.match_mql])
        return [condition for condition in all_of if _is_about(columns, condition)]


def _is_about(columns: set[str], condition: dict[str, Any]) -> bool:
    """Whether a condition is on nothing but these columns."""
    return all(
        name in columns or (name in {"$and", "$or", "$nor"} and all(_is_about(columns, each) for each in value))
        for name, value in condition.items()
    )


def _with_dots(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict) and value and not any(key.startswith("$") for key in value):
            yield from _with_dots(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


class _Compiler:
    query_class = MongoQuery


class SQLCompiler(_Compiler, compiler.SQLCompiler):
    def cursor_iter(self, cursor: Any, chunk_size: int, columns: Any) -> Iterator[Any]:
        """All but the first rows are fetched while they are read."""
        rows = super().cursor_iter(cursor, chunk_size, columns)
        following = tell_outages(lambda: next(rows, None))
        while (chunk := following()) is not None:
            yield chunk


class SQLInsertCompiler(_Compiler, compiler.SQLInsertCompiler):
    insert = tell_outages(compiler.SQLInsertCompiler.insert)

    def execute_sql(self, returning_fields: Any = None) -> Any:
        """What was created holds its times as the database does: to the millisecond."""
        answer = super().execute_sql(returning_fields)
        times = [field.attname for field in self.query.fields if isinstance(field, DateTimeField)]
        for made in self.query.objs:
            for name in times:
                if isinstance(moment := getattr(made, name), datetime):
                    setattr(made, name, moment.replace(microsecond=moment.microsecond // 1000 * 1000))
        return answer


class SQLDeleteCompiler(_Compiler, compiler.SQLDeleteCompiler):
    pass


class SQLUpdateCompiler(_Compiler, compiler.SQLUpdateCompiler):
    update = tell_outages(compiler.SQLUpdateCompiler.update)


class SQLAggregateCompiler(_Compiler, compiler.SQLAggregateCompiler):
    pass

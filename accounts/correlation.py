"""What is being worked on just now: for log lines, error reports and traces, which all name it alike.

A request has an id from its entrance on. An analysis keeps the id of the request that brought it, so that the lines of
web and worker about one file can be found together. Whoever follows such work through all processes (see
:mod:`sentinel_site.tracing`) is told of it by :func:`span`; without anybody who does, that costs a function call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Work:
    """The id of the request and the public id of the analysis that something is done for; empty without one."""

    request_id: str = ""
    analysis: str = ""


NOTHING = Work()

_current: ContextVar[Work] = ContextVar("work", default=NOTHING)
# Of a process that does one thing at a time, in however many threads, which inherit no context.
_of_process = NOTHING


def current() -> Work:
    """What this request, task or thread works on."""
    work = _current.get()
    return _of_process if work is NOTHING else work


@contextmanager
def working_on(work: Work, *, whole_process: bool = False) -> Iterator[None]:
    """Say what is worked on from here on; with `whole_process`, in all threads that say nothing themselves."""
    global _of_process  # noqa: PLW0603 -- one thing at a time is what it is about
    token = _current.set(work)
    if whole_process:
        _of_process = work
    try:
        yield
    finally:
        _current.reset(token)
        if whole_process:
            _of_process = NOTHING


class Tracer(Protocol):
    """Whoever follows work from one process to the next."""

    def span(self, name: str, cause: str, attributes: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """One step, as long as it is entered: below the step that `cause` names, else below the current one."""
        ...

    def traceparent(self) -> str:
        """The current step, to be named elsewhere as a cause; empty without one."""
        ...


_tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """Have steps told to `tracer` from now on."""
    global _tracer  # noqa: PLW0603 -- set once at the start
    _tracer = tracer


def span(name: str, *, cause: str = "", **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A step of the work, as long as it is entered. `cause` is what :func:`traceparent` was where it was asked for."""
    return _tracer.span(name, cause, attributes) if _tracer else nullcontext()


def traceparent() -> str:
    """The current step in the form of W3C Trace Context, 55 characters; empty when nobody traces."""
    return _tracer.traceparent() if _tracer else ""


def request_id() -> str:
    return current().request_id


class Steps:
    """Steps one after the other, each ended by the next, the last when this is left."""

    def __init__(self) -> None:
        self._name = ""
        self._step: AbstractContextManager[Any] = nullcontext()

    def reach(self, name: str) -> None:
        """The step `name` begins, unless it did already."""
        if name != self._name:
            self._step.__exit__(None, None, None)
            self._name, self._step = name, span(name)
            self._step.__enter__()

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._step.__exit__(kind, error, traceback)

"""Traces by OpenTelemetry: one for each request, from its entrance to the end of what a worker does for it.

Imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set. Spans are sent by a thread of their own over OTLP/HTTP; when
nobody takes them they are dropped, and nothing waits for them but the end of a process, for FLUSH_SECONDS.
"""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from accounts import correlation
from ml import __version__
from sentinel_site.logs import scrub

# Longest that a process waits at its end for somebody to take its last spans.
FLUSH_SECONDS = 2.0
# Of one attempt to send, in seconds; the standard's own is 10.
TIMEOUT_SECONDS = 3
# Asked every few seconds by machines.
UNTRACED = "api/v1/live/,api/v1/ready/,api/v1/health/,metrics$,static/"
# Addresses of people are nobody's business here.
PERSONAL = ("net.peer.ip", "net.peer.name", "client.address", "http.client_ip", "http.user_agent")

_propagator = TraceContextTextMapPropagator()


def start() -> None:
    """Trace this process, and those that it forks, from now on."""
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", str(TIMEOUT_SECONDS))
    resource = Resource.create(
        {
            "service.name": settings.OTEL_SERVICE_NAME,
            "service.version": __version__,
            "host.name": socket.gethostname(),
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.sampler = OnlyWithCause(provider.sampler)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    DjangoInstrumentor().instrument(request_hook=tell_less, excluded_urls=UNTRACED)
    if connection.vendor == "postgresql":
        from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

        PsycopgInstrumentor().instrument()
    if settings.CHANNEL_REDIS_URL:
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().instrument()
    correlation.trace_with(OpenTelemetryTracer(provider.get_tracer("sentinel", __version__)))
    atexit.register(shut_down, provider)
    # Processes that are forked end without the former.
    multiprocessing.util.register_after_fork(provider, end_with_process)


def end_with_process(provider: TracerProvider) -> None:
    multiprocessing.util.Finalize(None, shut_down, args=(provider,), exitpriority=10)


def shut_down(provider: TracerProvider) -> None:
    """Send what is left, for FLUSH_SECONDS at most: the exporter's own time-outs are not kept when nobody answers."""
    last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    last.start()
    last.join(FLUSH_SECONDS)


def tell_less(span: Span, request: HttpRequest) -> None:
    """Take out of a request's span what nobody shall read there: queries, secret paths, who asked."""
    if not span.is_recording():
        return
    known: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    for name, value in list(known.items()):
        if name in PERSONAL or name == "url.query":
            span.set_attribute(name, "")
        elif isinstance(value, str):
            span.set_attribute(name, scrub(value.partition("?")[0]))
    span.set_attribute("sentinel.request_id", correlation.request_id())


class OpenTelemetryTracer:
    """What :mod:`accounts.correlation` tells of steps, as spans."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, cause: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
        parent = _propagator.extract({"traceparent": cause}) if cause else None
        kind = SpanKind.CONSUMER if cause else SpanKind.INTERNAL
        work = correlation.current()
        known = {"sentinel.request_id": work.request_id, "sentinel.analysis": work.analysis, **attributes}
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind,
            attributes={name: value for name, value in known.items() if value != ""},
            # Messages of exceptions may hold anything: the type is enough, the log has the rest.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get("traceparent", "")


class OnlyWithCause(Sampler):
    """Leaves out queries that belong to nothing: those of housekeeping and heartbeats would be a trace each."""

    def __init__(self, others: Sampler) -> None:
        self._others = others

    def should_sample(  # noqa: PLR0917 -- OpenTelemetry's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if kind is SpanKind.CLIENT and not trace.get_current_span(parent_context).get_span_context().is_valid:
            return SamplingResult(Decision.DROP)
        return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"OnlyWithCause({self._others.get_description()})"

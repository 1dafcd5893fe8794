"""Spans by OpenTelemetry's SDK, sent over OTLP/HTTP. The only file that imports it; imported where an endpoint is configured."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.tracing import Fact, Span, Stretch

_ROOT: ContextVar[tuple[int, int] | None] = ContextVar("root", default=None)
"""Trace and span id that the next root gets."""
_NOWHERE = Context()


class _Ids(RandomIdGenerator):
    """Random, but for the root of a Migration: its parts were sent before it, by processes that knew its uid alone."""

    def generate_trace_id(self) -> int:
        root = _ROOT.get()
        return super().generate_trace_id() if root is None else root[0]

    def generate_span_id(self) -> int:
        root = _ROOT.get()
        return super().generate_span_id() if root is None else root[1]


class _Open:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, name: str, **facts: Fact) -> None:
        self._span.update_name(name)
        self._span.set_attributes(_attributes(facts))

    def failed(self, text: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, text))


class Otlp:
    """Sends in a thread of its own; while nobody takes the spans, the newest two thousand wait and the others are lost."""

    def __init__(self, service: str, version: str) -> None:
        said = OTELResourceDetector().detect()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
        resource = Resource.create({"service.name": service, "service.version": version}).merge(said)
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("drover", version)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, traceparent: str) -> Iterator[Span]:
        # Not its child: whoever reaches the API would decide what is recorded, and under which id.
        asks = self._propagator.extract({"traceparent": traceparent}, _NOWHERE) if traceparent else _NOWHERE
        linked = trace.get_current_span(asks).get_span_context()
        links = [Link(linked)] if linked.is_valid else []
        with self._tracer.start_as_current_span("request", _NOWHERE, SpanKind.SERVER, links=links) as span:
            yield _Open(span)

    def inside(self, name: str, **facts: Fact) -> AbstractContextManager[Span]:
        if not trace.get_current_span().get_span_context().is_valid:
            return nullcontext(_Open(trace.INVALID_SPAN))
        return self._opened(name, None, facts)

    def within(self, uid: str, name: str, **facts: Fact) -> AbstractContextManager[Span]:
        return self._opened(name, trace.set_span_in_context(NonRecordingSpan(self._root(uid)), _NOWHERE), facts)

    def past(self, uid: str, whole: Stretch, parts: Sequence[Stretch], failure: str, **facts: Fact) -> None:
        root = self._root(uid)
        token = _ROOT.set((root.trace_id, root.span_id))
        try:
            span = self._tracer.start_span(
                whole.name, _NOWHERE, attributes=_attributes(facts), start_time=_nanoseconds(whole.begin)
            )
        finally:
            _ROOT.reset(token)
        if failure:
            span.set_status(Status(StatusCode.ERROR, failure))
        below = trace.set_span_in_context(span, _NOWHERE)
        for part in parts:
            self._tracer.start_span(part.name, below, start_time=_nanoseconds(part.begin)).end(_nanoseconds(part.end))
        span.end(_nanoseconds(whole.end))

    def ids(self) -> tuple[str, str] | None:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)

    def flush(self, timeout_s: float) -> None:
        # The SDK's own deadline does not hold while nobody answers.
        sending = threading.Thread(target=self._provider.force_flush, name="flush-traces", daemon=True)
        sending.start()
        sending.join(timeout_s)

    def close(self) -> None:
        """What has ended is sent, if somebody takes it within seconds."""
        ending = threading.Thread(target=self._provider.shutdown, name="end-traces", daemon=True)
        ending.start()
        ending.join(5.0)

    @contextmanager
    def _opened(self, name: str, context: Context | None, facts: dict[str, Fact]) -> Iterator[Span]:
        attributes = _attributes(facts)
        # What was raised is the span's status; where, is the log's.
        with self._tracer.start_as_current_span(name, context, attributes=attributes, record_exception=False) as span:
            yield _Open(span)

    def _root(self, uid: str) -> SpanContext:
        """The same in every process, and sampled in all or none."""
        trace_id = UUID(uid).int
        span_id = int.from_bytes(hashlib.sha256(UUID(uid).bytes).digest()[:8]) or 1
        drop = self._provider.sampler.should_sample(_NOWHERE, trace_id, "migration").decision is Decision.DROP
        flags = TraceFlags(TraceFlags.DEFAULT if drop else TraceFlags.SAMPLED)
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)


def _attributes(facts: dict[str, Fact]) -> dict[str, Fact]:
    """Names as OpenTelemetry has them: `http__route` stands for `http.route`."""
    return {name.replace("__", "."): value for name, value in facts.items()}


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000

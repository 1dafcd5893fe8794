"""
Traces: what a request, or a migration, spent its time on. Nothing where no endpoint is configured: then a span is one call
that does nothing, and OpenTelemetry's SDK is not even imported.

A migration is one trace in all the processes that have a part in it. Its trace id is its Migration's uid without the dashes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

Fact = str | int | float | bool
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own variables; those beside them (headers, certificate, sampler, service name) count too."""


class Span(Protocol):
    """What is being done."""

    def note(self, name: str, **facts: Fact) -> None:
        """Its name, now that it is known, and what else is."""

    def failed(self, text: str) -> None:
        """It did not succeed."""


class _Nothing:
    def note(self, name: str, **facts: Fact) -> None:
        pass

    def failed(self, text: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the past."""

    name: str
    begin: datetime
    end: datetime


class Tracer(Protocol):
    """Where spans go."""

    def request(self, traceparent: str) -> AbstractContextManager[Span]: ...

    def inside(self, name: str, **facts: Fact) -> AbstractContextManager[Span]: ...

    def within(self, uid: str, name: str, **facts: Fact) -> AbstractContextManager[Span]: ...

    def past(self, uid: str, whole: Stretch, parts: Sequence[Stretch], failure: str, **facts: Fact) -> None: ...

    def ids(self) -> tuple[str, str] | None: ...

    def flush(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...


_NOTHING = nullcontext(_Nothing())
_tracer: Tracer | None = None


@contextmanager
def tracing(service: str, version: str) -> Iterator[None]:
    """Until the block ends spans go to the endpoint that the environment names, if it names one."""
    global _tracer  # as OpenTelemetry and structlog have it: whoever opens a span is handed nothing
    if not any(os.environ.get(name) for name in ENDPOINTS) or _tracer is not None:
        yield
        return
    from app.otlp import Otlp  # only here: it takes a third of a second

    _tracer = Otlp(service, version)
    try:
        yield
    finally:
        tracer, _tracer = _tracer, None
        tracer.close()


def is_on() -> bool:
    return _tracer is not None


def request(traceparent: str) -> AbstractContextManager[Span]:
    """Around a request: a trace of its own, linked with that of whoever asks."""
    return _NOTHING if _tracer is None else _tracer.request(traceparent)


def inside(name: str, **facts: Fact) -> AbstractContextManager[Span]:
    """Around a part of what is being traced; where nothing is, nothing."""
    return _NOTHING if _tracer is None else _tracer.inside(name, **facts)


def within(uid: str, name: str, **facts: Fact) -> AbstractContextManager[Span]:
    """Around a part of that Migration, in any process."""
    return _NOTHING if _tracer is None else _tracer.within(uid, name, **facts)


def past(uid: str, whole: Stretch, parts: Sequence[Stretch], failure: str = "", **facts: Fact) -> None:
    """A Migration that is over, and its phases."""
    if _tracer is not None:
        _tracer.past(uid, whole, parts, failure, **facts)


def flush(timeout_s: float) -> None:
    """Sends what has ended, and waits so long for that: before a process ends without closing anything."""
    if _tracer is not None:
        _tracer.flush(timeout_s)


def with_ids(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What is logged within a span bears its trace's id."""
    if _tracer is not None and (ids := _tracer.ids()) is not None:
        event["trace_id"], event["span_id"] = ids
    return event

"""What the store measures: statements of this process, its connections and its feed; and, told by one process for all, what
the database knows.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import lru_cache
from types import TracebackType

import structlog
from prometheus_client import CollectorRegistry

from app.meter import Counts, Labels, Level, Levels, Times, as_it_is, one
from app.store.base import RunState, Store, StoreError, Vitals
from app.store.lines import Lines

log = structlog.get_logger()

_TABLE = re.compile(
    r"\b(objects|changes|counter|runs|leases|log_lines|log_floor|populations|store_identity|alembic_version)\b"
)


class StoreMetrics:
    """Of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        self._statements: Times[Labels] = Times(
            self._registry,
            "drover_database_statement_duration_seconds",
            "How long PostgreSQL took for a statement, or for a group of them that is one transaction, by what it does.",
            ("operation",),
            as_it_is,
        )
        self._errors: Counts[Labels] = Counts(
            self._registry,
            "drover_database_errors_total",
            "Statements that PostgreSQL refused, or whose connection broke, by what they do and the error.",
            ("operation", "error"),
            as_it_is,
        )

    def statement(self, operation: str) -> _Timed:
        """Around one that goes straight to the driver."""
        return _Timed(self._statements, self._errors, (operation,))

    def timed(self, statement: str) -> _Timed:
        """Around any other one."""
        return self.statement(operation_of(statement))

    def follow(self, lines: Lines) -> None:
        """Tells of the pool."""
        Levels(
            self._registry,
            "drover_database_pool_connections",
            "Connections of the pool, by whether they are in use.",
            ("state",),
            lambda: ((("in_use",), float(lines.in_use)), (("idle",), float(lines.idle))),
        )

    def follow_feed(
        self, position: Callable[[], float], lag: Callable[[], float], watches: Callable[[], float]
    ) -> None:
        for name, help_, ask in (
            ("drover_feed_revision", "The newest revision that was handed to this process's watches.", position),
            ("drover_feed_lag_revisions", "Revisions that PostgreSQL told of and no watch was told yet.", lag),
            ("drover_feed_watches", "Watches of the store in this process, its controllers' too.", watches),
        ):
            Levels(self._registry, name, help_, (), one(ask))


class _Timed:
    """A statement under way."""

    __slots__ = ("_began", "_errors", "_operation", "_times")

    def __init__(self, times: Times[Labels], errors: Counts[Labels], operation: Labels) -> None:
        self._times = times
        self._errors = errors
        self._operation = operation

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._times.observe(self._operation, time.perf_counter() - self._began)
        elif kind is not asyncio.CancelledError:
            self._errors.add((*self._operation, kind.__name__))


@lru_cache(maxsize=1024)
def operation_of(statement: str) -> str:
    """`select runs`: the first verb and the first table of a statement. There are as many as the code has statements."""
    words = statement.split(None, 1)
    table = _TABLE.search(statement)
    verb = words[0].lower() if words else "?"
    if verb in ("create", "alter", "drop", "comment") or (table and table.group() == "alembic_version"):
        return "schema"
    return f"{verb} {table.group()}" if table else verb


TELLS = "metrics"
"""The lease of the process that tells what all know."""
TENURE = timedelta(seconds=90)
"""Whoever is asked first keeps it while it is asked at least so often: Prometheus asks once a minute by default."""
ASK_S = 3.0
"""What a reader of the metrics waits for the database at most."""


class SharedMetrics:
    """What the database knows, told by one of the processes that share it: the first one that is asked."""

    def __init__(self, registry: CollectorRegistry, store: Store, identity: str) -> None:
        self._store = store
        self._identity = identity
        self._vitals: Vitals | None = None
        self._failures = 0
        for name, help_, labels, ask in _SHARED:
            Levels(registry, name, help_, labels, self._asking(ask))
        Levels(
            registry,
            "drover_shared_metrics_failures_total",
            "How often this process could not ask the database for what all processes know.",
            (),
            one(lambda: self._failures),
            counted=True,
        )

    async def refresh(self) -> None:
        """Asked before the metrics are read; without an answer nothing is told."""
        self._vitals = None
        try:
            async with asyncio.timeout(ASK_S):
                if await self._store.leases.acquire([TELLS], self._identity, TENURE):
                    self._vitals = await self._store.vitals()
        except (StoreError, TimeoutError) as error:
            self._failures += 1
            log.warning("metrics without the database", error=str(error) or type(error).__name__)

    async def close(self) -> None:
        """Lets another process tell at once."""
        try:
            async with asyncio.timeout(ASK_S):
                await self._store.leases.release([TELLS], self._identity)
        except (StoreError, TimeoutError) as error:
            log.warning("lease not released; it will lapse", lease=TELLS, error=str(error))

    def _asking(self, ask: Callable[[Vitals], Iterable[Level]]) -> Callable[[], Iterable[Level]]:
        return lambda: () if self._vitals is None else ask(self._vitals)


def _runs(vitals: Vitals) -> Iterator[Level]:
    yield (RunState.WAITING.value,), vitals.runs_waiting
    yield (RunState.HELD.value,), vitals.runs_held
    yield ("lapsed",), vitals.runs_lapsed


def _leases(vitals: Vitals) -> Iterator[Level]:
    yield ("held",), vitals.leases_held
    yield ("lapsed",), vitals.leases_lapsed


_SHARED: tuple[tuple[str, str, tuple[str, ...], Callable[[Vitals], Iterable[Level]]], ...] = (
    (
        "drover_runs",
        "Unfinished attempts of migrations: waiting for a worker, held by one, or held by one whose lease lapsed.",
        ("state",),
        _runs,
    ),
    ("drover_leases", "Leases of hosts and controllers: held, or lapsed and not taken yet.", ("state",), _leases),
    (
        "drover_objects",
        "Stored objects by resource.",
        ("resource",),
        lambda vitals: (((resource,), count) for resource, count in vitals.objects.items()),
    ),
    ("drover_store_revision", "The newest revision of the store.", (), lambda vitals: [((), vitals.revision)]),
    (
        "drover_store_log_entries",
        "Changes that the log still holds: watches may begin at any of them.",
        (),
        lambda vitals: [((), vitals.log_entries)],
    ),
    ("drover_store_log_bytes", "What the log takes on disk.", (), lambda vitals: [((), vitals.log_bytes)]),
    (
        "drover_store_log_oldest_age_seconds",
        "Age of the oldest change of the log.",
        (),
        lambda vitals: [((), vitals.log_oldest_s)],
    ),
    ("drover_database_size_bytes", "What the whole database takes on disk.", (), lambda v: [((), v.database_bytes)]),
)

"""A running Drover: everything started in order, and stopped in the opposite one."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access import AccessError, Trust, access_of, service_accounts_of, trust_of
from app.aggregation import Aggregation, aggregation_of, ensure_aggregable
from app.api.attendance import Attendance
from app.api.audit import Audit, JsonLines
from app.api.auth.roles import Roles
from app.api.exposition import Exposition
from app.api.requesters import Requesters
from app.controllers.agents import MEMBER
from app.controllers.delegated.namespaces import NamespaceMirror
from app.controllers.roles import RoleAggregation
from app.durability import durability_gauge, watch_durability
from app.kinds import MIGRATION
from app.meters import Meters
from app.settings import Settings
from app.store.address import place_of
from app.store.embedded import EmbeddedPostgres
from app.store.metrics import SharedMetrics
from app.store.opening import until_it_answers
from app.store.postgres import PostgresStore
from app.telemetry import configure_logging
from app.tracing import tracing
from app.wiring.apis import Apis
from app.wiring.background import Background, Part
from app.wiring.database import database_url, open_store, prepare, unless_dead
from app.wiring.errors import Misconfigured
from app.wiring.workers import LIBVIRT, Driver, worker_parts


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(frozen=True, slots=True)
class Service:
    """A running Drover."""

    api: ASGIApp
    failed: asyncio.Event
    """Set when a background part ended by itself: that is a bug, and the process must end too."""
    end_watches: Callable[[], None]
    """Ends every open watch cleanly, so that the listener can close."""
    ready: asyncio.Event = field(default_factory=_set_event)
    """Set when requests can be answered: the listener waits for it."""


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    workers: bool,
    api: bool = True,
    trust: Trust | None = None,
    renewed: Callable[[], None] = lambda: None,
    driver: Driver = LIBVIRT,
) -> AsyncIterator[Service]:
    """Everything started, in order; everything stopped, in the opposite order. Without `api` the process answers for its
    health and metrics alone. `trust` is the listener's, whose certificates count; `renewed` tells it when a cluster has
    changed them."""
    meters, identity = Meters(), f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing("drover", version("drover")))
        try:
            trust = trust or trust_of(settings)
            behind = _behind(settings, trust, renewed, meters.registry) if api else None
            access = access_of(settings, trust)
        except AccessError as error:
            raise Misconfigured(str(error)) from error
        if behind is not None:
            stack.push_async_callback(behind.cluster.close)
        url = database_url(settings)
        if url is None:
            embedded = EmbeddedPostgres(settings.data_dir)
            stack.push_async_callback(embedded.stop)
            url = await embedded.start()
        store = PostgresStore(url, identity=identity, open_s=settings.database_wait_s, metrics=meters.store)
        stack.push_async_callback(store.close)
        await open_store(store, url, settings.database_wait_s)
        roles, accounts = Roles(store.objects), service_accounts_of(settings, store)
        if behind is None:
            await until_it_answers(partial(prepare, store, roles, accounts), place_of(url), settings.database_wait_s)
        requesters = Requesters(store.history, (MIGRATION.resource,))
        audit = stack.enter_context(_audit(settings, requesters))
        shared = SharedMetrics(meters.registry, store, identity)
        stack.push_async_callback(shared.close)
        exposition = Exposition(meters.registry, shared.refresh)
        durability = partial(watch_durability, store.database, durability_gauge(meters.registry))
        parts: list[Part] = [partial(unless_dead, store), *access.parts, requesters.run, durability]
        attendance = Attendance(store.leases, lambda lease: lease.name.startswith(MEMBER), settings.workers_absent_s)
        if api and not workers:
            parts.append(attendance.run)
        apis = Apis(store, settings, audit, exposition, attendance, access.admission)
        if behind is not None:
            mirror = NamespaceMirror(store, behind.cluster)
            served = apis.behind(behind, mirror)
            parts.extend(behind.parts(store, identity, timedelta(seconds=settings.lease_s), mirror))
        else:
            parts += [roles.run, RoleAggregation(store).run, *accounts.parts]
            gate = access.gate(roles, accounts.tokens)
            served = apis.alone(gate, roles, accounts) if api else apis.health(gate)
        if workers:
            parts.extend(worker_parts(store, settings, identity, meters.controllers(), driver))
        background = await stack.enter_async_context(Background(parts).running())
        ready = {} if behind is None else {"ready": behind.ready}
        yield Service(api=served, failed=background.failed, end_watches=served.end_streams, **ready)


def _behind(
    settings: Settings, trust: Trust, renewed: Callable[[], None], registry: CollectorRegistry
) -> Aggregation | None:
    """The cluster that is served behind; None where there is none. Raises AccessError."""
    ensure_aggregable(settings)
    return aggregation_of(settings, trust, renewed, registry) if settings.aggregated else None


@contextmanager
def _audit(settings: Settings, requesters: Requesters) -> Iterator[Audit]:
    """Raises Misconfigured for a place that cannot be written to."""
    if settings.audit_log is None:
        yield Audit([requesters], reads=False)
        return
    try:
        lines = JsonLines(settings.audit_log)
    except OSError as error:
        raise Misconfigured(f"DROVER_AUDIT_LOG: cannot write {settings.audit_log}: {error.strerror}") from error
    try:
        yield Audit([requesters, lines], reads=settings.audit_reads)
    finally:
        lines.close()


class Application:
    """The ASGI application whose lifespan starts and stops the whole service."""

    def __init__(self, settings: Settings) -> None:
        if settings.aggregated:
            raise Misconfigured("behind a cluster the listener is Drover's own: run `drover serve --aggregated`")
        self._settings = settings
        self._service: Service | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._service is not None:
            await self._service.api(scope, receive, send)
        else:
            raise RuntimeError("BUG: a request before the start; run the server with its lifespan on")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        configure_logging(self._settings.log_format)
        await receive()
        async with running(self._settings, workers=self._settings.workers) as self._service:
            await send({"type": "lifespan.startup.complete"})
            message: Message = await receive()
            assert message["type"] == "lifespan.shutdown"
            self._service.end_watches()
        await send({"type": "lifespan.shutdown.complete"})

"""The composition root: settings → store → hosts → controllers → API. The only place that chooses adapters."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access import AccessError, ServiceAccounts, Trust, access_of, service_accounts_of, trust_of
from app.aggregation import Aggregation, aggregation_of, ensure_aggregable, kinds_behind
from app.api.admission.judge import Admission
from app.api.application import Api, create_api
from app.api.attendance import Attendance
from app.api.audit import Audit, JsonLines
from app.api.auth.escalation import Escalation
from app.api.auth.gate import Gate
from app.api.auth.roles import Roles
from app.api.eventrate import EventRate, Rate
from app.api.exposition import Exposition
from app.api.fairness.gate import Bounds
from app.api.fairness.queue import Size
from app.api.health import Check
from app.api.requesters import Requesters
from app.api.requestlog import Told
from app.api.tokenrequests import IssuerDocuments, TokenRequests
from app.controllers.agents import MEMBER
from app.controllers.config import HostConfig, Kept
from app.controllers.delegated.namespaces import NamespaceMirror
from app.controllers.eviction import Evictions
from app.controllers.finalize import Finalize
from app.controllers.guards import DEFAULT_NAMESPACE, namespace_guard, node_guard
from app.controllers.host_controllers import HostControllers
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.avoid import Breaker
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.deadlines import Patience
from app.controllers.migration.preview import Preview
from app.controllers.migration.process import Factory
from app.controllers.migration.reconcile import MigrationController
from app.controllers.migration.slots import Limits
from app.controllers.migration.supervise import Tenure
from app.controllers.roles import RoleAggregation, ensure_default_roles
from app.controllers.tools import Tools
from app.controllers.workers import WorkerConfig, Workers
from app.durability import durability_gauge, watch_durability
from app.hypervisor import domain_xml
from app.hypervisor.base import Hypervisors
from app.hypervisor.credentials import Credentials
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors, connect_factory
from app.hypervisor.metrics import CallMetrics
from app.kinds import (
    ALL,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    EVENT,
    MIGRATION,
    NAMESPACE,
    NODE,
    POD,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    VIRTUAL_MACHINE,
)
from app.kinds.migration_options import MigrationOptions, Tls
from app.machinery.discovery import served_group_versions
from app.machinery.kind import Kind
from app.machinery.lifecycle import prepare_create
from app.machinery.objects import Document
from app.machinery.openapi import v2, v3
from app.meters import Controllers, Meters
from app.settings import Settings
from app.store.address import place_of
from app.store.base import AlreadyExists, Key, Unavailable
from app.store.embedded import EmbeddedPostgres
from app.store.metrics import SharedMetrics
from app.store.opening import until_it_answers
from app.store.postgres import PostgresStore
from app.store.schema import SchemaTooNew
from app.telemetry import configure_logging
from app.tracing import tracing

log = structlog.get_logger()

Part = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs until it is cancelled, and cleans up then."""


@dataclass(frozen=True, slots=True)
class Driver:
    """How hosts are reached: by this process's controllers, and by the processes that move guests."""

    hypervisors: Callable[[CallMetrics, Credentials], Hypervisors]
    of_processes: Callable[[Credentials], Factory]


LIBVIRT = Driver(
    lambda calls, credentials: LibvirtHypervisors(metrics=calls, credentials=credentials),
    partial(partial, connect_factory),
)


class Misconfigured(Exception):
    """The settings contradict one another; the text says what to change."""


class DatabaseAway(Exception):
    """PostgreSQL did not answer for as long as was to be waited; trying again later may help."""


def openapi_documents() -> dict[str, Document]:
    """What `openapi/` holds: file name and document."""
    documents = {"swagger.json": v2(ALL)}
    for group_version in served_group_versions(ALL):
        documents[f"v3{group_version.path}.json"] = v3(ALL, group_version)
    return documents


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


def version_of_drover() -> str:
    """`v1.36.0+drover-0.1.0`: clients read a Kubernetes version out of it."""
    return f"v1.36.0+drover-{version('drover')}"


def served_kinds(settings: Settings) -> tuple[Kind[Any, Any], ...]:
    """The declared kinds, with the checks that need the operator's settings."""
    policy = domain_policy(settings)
    return tuple(_with_domain_rules(kind, policy) if kind is VIRTUAL_MACHINE else kind for kind in ALL)


def domain_policy(settings: Settings) -> domain_xml.Policy:
    """What the operator lets guests use of their hosts."""
    return domain_xml.Policy(
        # Not the whole lab: a guest that may name its hosts' sockets speaks to libvirtd.
        paths=(*settings.allowed_paths, *(str(settings.lab_dir / folder) for folder in ("images", "consoles"))),
        bridges=settings.allowed_bridges,
        emulators=settings.allowed_emulators,
        disk_hosts=settings.allowed_disk_hosts,
    )


def _with_domain_rules(kind: Kind[Any, Any], policy: domain_xml.Policy) -> Kind[Any, Any]:
    declared = kind.check_create

    def check(document: dict[str, Any]) -> Any:
        yield from declared(document)
        namespace = (document.get("metadata") or {}).get("namespace") or ""
        yield from domain_xml.problems(document.get("spec") or {}, policy.within(namespace))

    return replace(kind, check_create=check)


def database_url(settings: Settings) -> str | None:
    """The URL that the settings name, or None for the embedded server."""
    if settings.database_url and settings.database_url_file:
        raise Misconfigured("set DROVER_DATABASE_URL or DROVER_DATABASE_URL_FILE, not both")
    if settings.database_url:
        return _postgresql(settings.database_url.get_secret_value(), "DROVER_DATABASE_URL")
    if settings.database_url_file:
        try:
            return _postgresql(settings.database_url_file.read_text().strip(), "DROVER_DATABASE_URL_FILE")
        except OSError as error:
            raise Misconfigured(f"DROVER_DATABASE_URL_FILE: {error}") from error
    return None


def _postgresql(url: str, variable: str) -> str:
    if not url.startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
        raise Misconfigured(f"{variable} must begin with postgresql:// (Drover keeps its state in PostgreSQL only)")
    try:
        urlsplit(url)
    except ValueError as error:
        raise Misconfigured(f"{variable} is no URL: {error}") from None
    return url.replace("postgres://", "postgresql://", 1)


async def _open(store: PostgresStore, url: str, wait_s: float) -> None:
    try:
        await store.open()
    except SchemaTooNew as error:
        raise Misconfigured(str(error)) from error
    except Unavailable as error:
        raise DatabaseAway(f"no PostgreSQL at {place_of(url)} after {wait_s:g} s: {error}") from error


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
        await _open(store, url, settings.database_wait_s)
        roles, accounts = Roles(store.objects), service_accounts_of(settings, store)
        if behind is None:
            await until_it_answers(partial(_prepare, store, roles, accounts), place_of(url), settings.database_wait_s)
        requesters = Requesters(store.history, (MIGRATION.resource,))
        audit = stack.enter_context(_audit(settings, requesters))
        shared = SharedMetrics(meters.registry, store, identity)
        stack.push_async_callback(shared.close)
        exposition = Exposition(meters.registry, shared.refresh)
        durability = partial(watch_durability, store.database, durability_gauge(meters.registry))
        parts: list[Part] = [partial(_unless_dead, store), *access.parts, requesters.run, durability]
        attendance = Attendance(store.leases, lambda lease: lease.name.startswith(MEMBER), settings.workers_absent_s)
        if api and not workers:
            parts.append(attendance.run)
        if behind is not None:
            mirror = NamespaceMirror(store, behind.cluster)
            served = _api_behind(store, settings, behind, mirror, audit, exposition, attendance, access.admission)
            parts.extend(behind.parts(store, identity, timedelta(seconds=settings.lease_s), mirror))
        else:
            parts += [roles.run, RoleAggregation(store).run, *accounts.parts]
            make = (
                partial(_api, store, settings, audit, Escalation(roles), attendance, accounts, access.admission)
                if api
                else partial(_health, store)
            )
            served = make(access.gate(roles, accounts.tokens), exposition)
        if workers:
            parts.extend(_parts(store, settings, identity, meters.controllers(), driver))
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


def _checks(store: PostgresStore) -> Mapping[str, Check]:
    return {"postgresql": partial(_answers, store)}


def _health(store: PostgresStore, gate: Gate, exposition: Exposition) -> Api:
    """An API of no kind at all, behind the same gate."""
    return create_api(store, (), version=version_of_drover(), checks=_checks(store), exposition=exposition, gate=gate)


def _api_behind(
    store: PostgresStore,
    settings: Settings,
    behind: Aggregation,
    mirror: NamespaceMirror,
    audit: Audit,
    exposition: Exposition,
    attendance: Attendance,
    admission: Admission,
) -> Api:
    return create_api(
        store,
        kinds_behind(served_kinds(settings)),
        version=version_of_drover(),
        handlers={(POD.name, "eviction"): Evictions(store).answer},
        guards={NODE.name: node_guard},
        previews={MIGRATION.name: Preview(store, _migration_config(settings)).answer},
        checks=_checks(store),
        exposition=exposition,
        gate=behind.gate,
        audit=audit,
        bounds=_bounds(settings),
        logged=Told(settings.log_requests),
        namespaces=mirror.look,
        attended=_attended(attendance),
        admission=admission,
    )


def _api(
    store: PostgresStore,
    settings: Settings,
    audit: Audit,
    escalation: Escalation,
    attendance: Attendance,
    accounts: ServiceAccounts,
    admission: Admission,
    gate: Gate,
    exposition: Exposition,
) -> Api:
    tokens = TokenRequests(store.objects, accounts.tokens, settings.service_account_max_token_s)
    return create_api(
        store,
        served_kinds(settings),
        version=version_of_drover(),
        handlers={
            (POD.name, "eviction"): Evictions(store).answer,
            (NAMESPACE.name, "finalize"): Finalize(store),
            (SERVICE_ACCOUNT.name, "token"): tokens.answer,
        },
        guards={NODE.name: node_guard, NAMESPACE.name: namespace_guard},
        previews={MIGRATION.name: Preview(store, _migration_config(settings)).answer},
        checks=_checks(store),
        exposition=exposition,
        gate=gate,
        write_guards={kind.name: escalation.role for kind in (ROLE, CLUSTER_ROLE)}
        | {kind.name: escalation.binding for kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING)}
        | {EVENT.name: _event_rate(settings)},
        bounds=_bounds(settings),
        logged=Told(settings.log_requests),
        audit=audit,
        attended=_attended(attendance),
        issuer=IssuerDocuments(accounts.tokens),
        admission=admission,
    )


def _event_rate(settings: Settings) -> EventRate:
    user = Rate(settings.events_of_user, settings.events_of_user_per_s)
    return EventRate(user, Rate(settings.events_of_object, settings.events_of_object_per_s))


def _attended(attendance: Attendance) -> Mapping[str, Attendance]:
    """What nobody but a worker acts on."""
    return {MIGRATION.name: attendance, VIRTUAL_MACHINE.name: attendance}


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        Size(seats=settings.seats, share=settings.seats_share),
        wait_s=settings.request_wait_s,
        lasting=settings.watches,
        lasting_of_user=settings.watches_of_user,
    )


async def _unless_dead(store: PostgresStore) -> None:
    await store.died()
    raise RuntimeError("BUG: a part of the store died; every request would be answered 503 from now on")


async def _answers(store: PostgresStore) -> None:
    await store.objects.revision()


async def _prepare(store: PostgresStore, roles: Roles, accounts: ServiceAccounts) -> None:
    """What is there from the start. Twice is harmless. Raises Unavailable, also while somebody who stands still holds the
    counter of revisions."""
    await _ensure_default_namespace(store)
    await ensure_default_roles(store)
    await roles.load()
    await accounts.load()


async def _ensure_default_namespace(store: PostgresStore) -> None:
    """It exists from the start; whoever of several processes comes first makes it."""
    document = prepare_create(
        NAMESPACE,
        NAMESPACE.group_version,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DEFAULT_NAMESPACE}},
        namespace="",
        now=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        uid=str(uuid4()),
        suffix="",
    )
    with suppress(AlreadyExists):
        await store.objects.create(Key(NAMESPACE.resource, "", DEFAULT_NAMESPACE), document)


def _migration_config(settings: Settings) -> MigrationConfig:
    """Limits and patience."""
    return MigrationConfig(
        limits=Limits(
            cluster=settings.migrations_per_cluster,
            outbound=settings.migrations_outbound_per_node,
            inbound=settings.migrations_inbound_per_node,
        ),
        patience=Patience(
            queue=timedelta(seconds=settings.queue_timeout_s),
            unschedulable=timedelta(seconds=settings.unschedulable_timeout_s),
            claim=timedelta(seconds=settings.worker_timeout_s),
        ),
        breaker=Breaker(settings.pair_failures, timedelta(seconds=settings.pair_window_s)),
        defaults=_options(settings),
    )


def _parts(
    store: PostgresStore, settings: Settings, identity: str, meters: Controllers, driver: Driver
) -> tuple[Part, ...]:
    """Controllers and workers of this process."""
    lease = timedelta(seconds=settings.lease_s)
    keeper = LeaseKeeper(store.leases, identity, lease, metrics=meters.leases)
    meters.follow(keeper)
    policy = domain_policy(settings)
    hosts = HostConfig(
        heartbeat_s=settings.heartbeat_s,
        cpu_ratio=settings.cpu_allocation_ratio,
        event_ttl=timedelta(seconds=settings.event_ttl_s),
        log_retention=timedelta(seconds=settings.log_retention_s),
        history_retention=timedelta(seconds=settings.history_retention_s),
        kept=Kept(settings.migrations_kept_succeeded, settings.migrations_kept_failed),
        path_problem=lambda namespace, path: policy.within(namespace).problem_of_path(path),
    )
    tenure = WorkerConfig(tenure=Tenure(lease=timedelta(seconds=settings.run_lease_s)))
    credentials = Credentials(settings.host_credentials)
    workers = Workers(store, driver.of_processes(credentials), identity, tenure, metrics=meters.workers)
    migrations = MigrationController(
        store,
        keeper,
        _migration_config(settings),
        driver.hypervisors(meters.calls, credentials),
        metrics=meters.migrations,
        loops=meters.loops,
    )
    agents = driver.hypervisors(meters.calls, credentials)
    return (
        keeper.run,
        HostControllers(store, agents, keeper, hosts, Tools(store, loops=meters.loops, hosts=meters.hosts)).run,
        migrations.run,
        workers.run,
    )


def _options(settings: Settings) -> MigrationOptions:
    """How guests are moved where neither a Migration nor a policy says."""
    return MigrationOptions(
        tls=Tls(settings.migration_tls.capitalize()),
        bandwidth_per_migration=settings.bandwidth_per_migration,
        max_downtime_ms=settings.max_downtime_ms,
        completion_timeout_per_gib=settings.completion_timeout_per_gib_s,
        progress_timeout=settings.progress_timeout_s,
        allow_auto_converge=settings.allow_auto_converge,
        allow_post_copy=settings.allow_post_copy,
        allow_workload_disruption=settings.allow_workload_disruption,
        parallel_connections=0,
    )


class Background:
    """Parts that run beside the listener, and end together."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.failed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Background]:
        task = asyncio.create_task(self._run(), name="background")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for part in self._parts:
                    group.create_task(part())
        except BaseExceptionGroup as error:
            log.error("BUG: a background part ended by itself", exc_info=error)
            self.failed.set()


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

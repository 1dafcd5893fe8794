"""What moves guests: controllers and workers of this process, and how they reach hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app.controllers.config import HostConfig, Kept
from app.controllers.host_controllers import HostControllers
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.avoid import Breaker
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.deadlines import Patience
from app.controllers.migration.process import Factory
from app.controllers.migration.reconcile import MigrationController
from app.controllers.migration.slots import Limits
from app.controllers.migration.supervise import Tenure
from app.controllers.tools import Tools
from app.controllers.workers import WorkerConfig, Workers
from app.hypervisor import domain_xml
from app.hypervisor.base import Hypervisors
from app.hypervisor.credentials import Credentials
from app.hypervisor.metrics import CallMetrics
from app.kinds.migration_options import MigrationOptions, Tls
from app.meters import Controllers
from app.settings import Settings
from app.store.postgres import PostgresStore
from app.wiring.background import Part


@dataclass(frozen=True, slots=True)
class Driver:
    """How hosts are reached: by this process's controllers, and by the processes that move guests."""

    hypervisors: Callable[[CallMetrics, Credentials], Hypervisors]
    of_processes: Callable[[Credentials], Factory]


# The driver is loaded where hosts are reached: libvirt's library takes 11 MB, and the API alone has no use for it.
def _libvirt(calls: CallMetrics, credentials: Credentials) -> Hypervisors:
    from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors

    return LibvirtHypervisors(metrics=calls, credentials=credentials)


def _libvirt_of_processes(credentials: Credentials) -> Factory:
    from app.hypervisor.libvirt_driver.driver import connect_factory

    return partial(connect_factory, credentials)


LIBVIRT = Driver(_libvirt, _libvirt_of_processes)


def domain_policy(settings: Settings) -> domain_xml.Policy:
    """What the operator lets guests use of their hosts."""
    return domain_xml.Policy(
        # Not the whole lab: a guest that may name its hosts' sockets speaks to libvirtd.
        paths=(*settings.allowed_paths, *(str(settings.lab_dir / folder) for folder in ("images", "consoles"))),
        bridges=settings.allowed_bridges,
        emulators=settings.allowed_emulators,
        disk_hosts=settings.allowed_disk_hosts,
    )


def migration_config(settings: Settings) -> MigrationConfig:
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


def worker_parts(
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
        migration_config(settings),
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
        arrive_paused=settings.arrive_paused or None,
        parallel_connections=0,
    )

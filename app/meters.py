"""All that one process measures, in one registry: made by wiring and handed to the rooms that count."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from app.controllers.leader import LEADS
from app.controllers.lease import LeaseKeeper
from app.controllers.metrics import HostMetrics, LeaseMetrics, LoopMetrics
from app.controllers.migration.metrics import MigrationMetrics
from app.controllers.migration.worker_metrics import WorkerMetrics
from app.hypervisor.metrics import CallMetrics
from app.meter import Levels
from app.store.metrics import StoreMetrics


class Meters:
    """One of each room's."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Levels(
            self.registry,
            "drover_build_info",
            "1, with Drover's version.",
            ("version",),
            lambda: [((version("drover"),), 1.0)],
        )
        self.store = StoreMetrics(self.registry)

    def controllers(self) -> Controllers:
        """Asked for once, by a process that runs them."""
        return Controllers(self.registry)


class Controllers:
    """What the controllers and workers of a process count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = CallMetrics(registry)
        self.loops = LoopMetrics(registry)
        self.hosts = HostMetrics(registry)
        self.leases = LeaseMetrics(registry)
        self.migrations = MigrationMetrics(registry)
        self.workers = WorkerMetrics(registry)

    def follow(self, keeper: LeaseKeeper) -> None:
        self.leases.follow(lambda: keeper.held, LEADS)

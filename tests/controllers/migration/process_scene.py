"""Simulated hosts, a guest, and the process of a migration, as tests of a single process need them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from app.controllers.migration.job import Job
from app.controllers.migration.messages import Holding, Sampled, Told
from app.controllers.migration.move import Outcome
from app.controllers.migration.orders import Bounds, Orders, boottime
from app.controllers.migration.plan import Place, Plan
from app.controllers.migration.run import run_migration
from app.hypervisor.base import Job as HostJob
from app.hypervisor.base import Mark, Reason, State
from app.hypervisor.fake import MIB, FakeCloud, FakeHypervisors
from app.hypervisor.precopy import Load
from app.machinery.objects import Wire

MIGRATION = "5c2b0000-0000-4000-8000-000000000001"


@dataclass
class Scene:
    """Three simulated hosts, a guest on node0, and the process that is to move it to node1."""

    cloud: FakeCloud
    guest: UUID
    plan: Plan
    said: list[str] = field(default_factory=list)
    told: list[Wire] = field(default_factory=list)
    orders: Orders = field(default_factory=lambda: Orders(Bounds(boottime() + 600)))
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    twice: list[list[str]] = field(default_factory=list)
    """Where it ran when it ran on two hosts, for a test that watches."""

    def process(
        self, *, fresh: bool = True, cancelled: bool = False, told: Told | None = None
    ) -> asyncio.Task[Outcome]:
        """One process of the run; cancelling the task is its SIGKILL: what it had asked of a host goes on."""
        others = (Place(node="node2", uri=self.cloud["node2"].uri),)
        job = Job(self.plan, fresh=fresh, cancelled=cancelled, others=others, told=told)
        return asyncio.create_task(
            run_migration(job, FakeHypervisors(self.cloud, 1.0), self.orders, self._tell, self.said.append)
        )

    def runs_on(self) -> list[str]:
        """The hosts where the guest's CPUs run."""
        return [
            name
            for name, host in self.cloud.hosts.items()
            if (guest := host.guests.get(self.guest)) is not None and guest.domain.state is State.RUNNING
        ]

    def active_on(self) -> list[str]:
        return [
            name
            for name, host in self.cloud.hosts.items()
            if (guest := host.guests.get(self.guest)) is not None and guest.active
        ]

    def heard_of(self, kind: type[Wire]) -> bool:
        return any(isinstance(report, kind) for report in self.told)

    @property
    def told_held(self) -> bool:
        return any(isinstance(report, Holding) and report.message for report in self.told)

    async def until(self, holds: Callable[[], bool], within_s: float = 10) -> None:
        """Until that is so; looked at whenever the process says something, and between."""
        async with asyncio.timeout(within_s):
            while not holds():
                self.heard.clear()
                try:
                    async with asyncio.timeout(0.01):
                        await self.heard.wait()
                except TimeoutError:
                    continue

    async def copying(self) -> None:
        await self.until(lambda: self.heard_of(Sampled))

    def _tell(self, report: Wire) -> None:
        self.told.append(report)
        self.heard.set()


@asynccontextmanager
async def standing() -> AsyncIterator[Scene]:
    """64 MiB over a link of 64 MiB/s: a second of copying."""
    cloud = FakeCloud("node0", "node1", "node2", bandwidth=64 * MIB, peer_timeout_s=0.3)
    guest = uuid4()
    cloud.loads[guest] = Load(64 * MIB, 4 * MIB, 8 * MIB)
    host = await FakeHypervisors(cloud).connect(cloud["node0"].uri)
    await host.define_and_start(
        f"<domain type='qemu'><name>default_testvm</name><uuid>{guest}</uuid><memory unit='MiB'>64</memory>"
        "<vcpu>1</vcpu><os><type>hvm</type></os></domain>"
    )
    plan = Plan(
        vm="default/testvm",
        domain=guest,
        source=Place(node="node0", uri=cloud["node0"].uri),
        target=Place(node="node1", uri=cloud["node1"].uri),
        peer_uri=cloud["node1"].uri,
        store="store-a",
        migration_uid=MIGRATION,
        migration_pod="virt-migration-aaaaa",
        migration_pod_uid=uuid4(),
        target_pod="virt-launcher-testvm-bbbbb",
    )
    yield Scene(cloud, guest, plan)
    await cloud.close()


async def kill(process: asyncio.Task[Outcome]) -> None:
    process.cancel()
    await asyncio.gather(process, return_exceptions=True)


async def left_paused(scene: Scene) -> None:
    """As libvirt leaves the source when its daemon dies between the copy and the end: paused, no job, marked."""
    source = await FakeHypervisors(scene.cloud).connect(scene.cloud["node0"].uri)
    await source.mark(scene.guest, Mark(store="store-a", vm="default/testvm", migration=MIGRATION, attempt=1))
    guest = scene.cloud["node0"].guests[scene.guest]
    guest.become(State.PAUSED, Reason.MIGRATION)
    guest.work(HostJob.NONE)

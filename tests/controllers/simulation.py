"""Everything but the hosts and the migration processes is real: store, controllers, evictions. Hosts are simulated, and what a
migration's process does runs in this process; time is the event loop's, which may skip what is idle (SkippingLoop)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.controllers.birth import Birth
from app.controllers.config import HostConfig
from app.controllers.documents import is_over, key_of
from app.controllers.events import Recorder
from app.controllers.eviction import Evictions
from app.controllers.host_controllers import HostControllers
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.avoid import Breaker
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.job import Job
from app.controllers.migration.ledger import Ledger
from app.controllers.migration.messages import Arrived, Cancel, Holding, Noticed, Sampled, Started
from app.controllers.migration.orders import Bounds, Orders, boottime
from app.controllers.migration.places import others_of
from app.controllers.migration.plan import Plan
from app.controllers.migration.reconcile import MigrationController
from app.controllers.migration.run import run_migration
from app.controllers.migration.slots import Limits
from app.controllers.tools import Tools
from app.hypervisor.base import State
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.hypervisor.precopy import Load
from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE
from app.machinery.errors import ApiError
from app.machinery.objects import Document, Wire
from app.store.base import Key, Run, Scope, Store, Stored, edit
from tests.controllers.skipping_loop import SkippingLoop

_LEASE = timedelta(hours=1)
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LOOK_S = 0.25
KUBECTL_S = 5.0
"""Between two evictions of one pod, as kubectl has it."""


class LoopTime:
    """The event loop's time, as simulated hosts and new objects need it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._zero_s = loop, loop.time()

    def now(self) -> float:
        return _BEGAN.timestamp() + self._loop.time() - self._zero_s

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Simulation:
    """Some simulated hosts under real controllers."""

    store: Store
    cloud: FakeCloud
    time: LoopTime
    limits: Limits
    most_at_once: int = 0
    """Runs that were unfinished together."""
    _orders: dict[UUID, Orders] = field(default_factory=dict)

    @property
    def birth(self) -> Birth:
        return Birth(now=self.time.moment)

    async def guest(self, name: str, node: str, memory: int, load: Load | None = None, devices: str = "") -> str:
        """A VirtualMachine that is to run on that node; its uid. Selectors that put it there do not hold it there."""
        xml = (
            f"<domain type='qemu'><memory unit='KiB'>{memory >> 10}</memory><vcpu>1</vcpu><os><type>hvm</type></os>"
            f"<devices>{devices}</devices></domain>"
        )
        spec: Document = {
            "domainXML": xml,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
        }
        vm = self.birth.document(VIRTUAL_MACHINE, "default", name, spec=spec)
        uid = str(vm["metadata"]["uid"])
        if load is not None:
            self.cloud.loads[UUID(uid)] = load
        await self.store.objects.create(key_of(VIRTUAL_MACHINE, vm), vm)
        await self.until(lambda: self._runs(uid) == [node])
        key = key_of(VIRTUAL_MACHINE, vm)
        await edit(self.store.objects, key, _free)
        await self.until_vm(name, "Running")
        return uid

    async def until_vm(self, name: str, phase: str) -> None:
        scope = Scope(VIRTUAL_MACHINE.resource, "default", name)
        await self._documents_when(scope, lambda vms: all(vm.get("status", {}).get("phase") == phase for vm in vms))

    async def until(self, holds: Callable[[], bool], within_s: float = 3600.0) -> None:
        """For what the hosts show; within the loop's time."""
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110  (simulated hosts tell their connections only)
                await asyncio.sleep(LOOK_S)

    def runs_on(self, node: str) -> list[str]:
        return [str(u) for u, g in self.cloud[node].guests.items() if g.domain.state is State.RUNNING]

    def _runs(self, uid: str) -> list[str]:
        return [name for name in self.cloud.hosts if uid in self.runs_on(name)]

    async def cordon(self, node: str, closed: bool = True) -> None:
        key = Key(NODE.resource, "", node)
        await edit(self.store.objects, key, lambda n: {**n, "spec": {**n["spec"], "unschedulable": closed}})

    async def annotate(self, node: str, value: str | None) -> None:
        def changed(document: Document) -> Document:
            metadata = {k: v for k, v in document["metadata"].items() if k != "annotations"}
            annotations = {} if value is None else {"annotations": {"kubevirt.io/drain": value}}
            return {**document, "metadata": metadata | annotations}

        await edit(self.store.objects, Key(NODE.resource, "", node), changed)

    async def node_when(self, name: str, holds: Callable[[Document], bool]) -> Document:
        """The node as soon as that is so of it."""
        scope = Scope(NODE.resource, None, name)
        (node,) = await self._documents_when(scope, lambda nodes: all(map(holds, nodes)))
        return node

    async def until_migrations(self, count: int) -> None:
        """So many were made."""
        await self._documents_when(Scope(MIGRATION.resource), lambda migrations: len(migrations) >= count)

    async def all_quiet(self) -> None:
        """No Migration is unfinished."""
        await self._documents_when(Scope(MIGRATION.resource), lambda migrations: all(map(is_over, migrations)))

    async def _documents_when(self, scope: Scope, holds: Callable[[list[Document]], bool]) -> list[Document]:
        """What is stored, as soon as that is so of it."""
        async with asyncio.timeout(3600):
            listing = await self.store.objects.list(scope)
            async with self.store.objects.watch(scope, listing.revision) as watch:
                while not holds(found := [one.document for one in listing.items]):
                    await watch.next()
                    listing = await self.store.objects.list(scope)
                return found

    async def drain(self, node: str, said: list[str]) -> None:
        """As kubectl drains: cordon, evict every pod, each again every five seconds after a 429. Notes what was answered."""
        await self.cordon(node)
        pods = [one for one in (await self.store.objects.list(Scope(POD.resource))).items if _is_on(one, node)]
        await asyncio.gather(*(self._evict(pod, said) for pod in pods))

    async def _evict(self, pod: Stored, said: list[str]) -> None:
        evictions = Evictions(self.store, self.birth)
        while True:
            try:
                await evictions.answer("create", pod.key, {}, False)
            except ApiError as error:
                if error.code == 404:
                    return
                assert error.code == 429, error.message
                said.append(error.message)
                await asyncio.sleep(KUBECTL_S)

    async def work(self) -> None:
        """In place of the worker pool: claims runs, and does in this process what a migration's process does."""
        since = await self.store.objects.revision()
        async with asyncio.TaskGroup() as tasks, self.store.objects.watch(Scope(MIGRATION.resource), since) as watch:
            while True:
                unfinished = await self.store.runs.unfinished()
                self.most_at_once = max(self.most_at_once, len(unfinished))
                for run in unfinished:
                    if run.cancelled and (orders := self._orders.get(run.id)) is not None:
                        orders.take(Cancel())
                for run in await self.store.runs.claim("simulation", _LEASE, 100):
                    tasks.create_task(self._run(run))
                await watch.next()

    async def _run(self, run: Run) -> None:
        ledger = Ledger(self.store, run, self.birth)
        orders = self._orders[run.id] = Orders(Bounds(boottime() + _LEASE.total_seconds()))
        await ledger.began(restarted_by=None)
        writing = asyncio.create_task(ledger.write())

        def tell(report: Wire) -> None:
            if isinstance(report, Sampled | Started | Noticed | Arrived | Holding):
                ledger.note(report)

        plan = Plan.read(run.plan)
        others = await others_of(self.store.objects, plan)
        job = Job(plan, fresh=True, cancelled=run.cancelled, others=others)
        try:
            outcome = await run_migration(job, FakeHypervisors(self.cloud), orders, tell, ledger.line)
        finally:
            writing.cancel()
        result = outcome.result | {"endedAt": self.birth.stamp_micro()}
        await ledger.finished(outcome.code, result)
        del self._orders[run.id]


@asynccontextmanager
async def simulated(
    store: Store, *names: str, bandwidth: int, memory: int = 64 << 30, limits: Limits | None = None, tick_s: float = 0.1
) -> AsyncIterator[Simulation]:
    """Hosts of that much memory, links of so many bytes per second, and the controllers, until the block ends."""
    time = LoopTime()
    cloud = FakeCloud(*names, time=time, bandwidth=bandwidth, tick_s=tick_s)
    simulation = Simulation(store, cloud, time, limits or Limits())
    for name in names:
        cloud[name].memory = memory
        node = simulation.birth.document(
            NODE, "", name, labels={"kubernetes.io/hostname": name}, spec={"providerID": cloud[name].uri}
        )
        await store.objects.create(key_of(NODE, node), node)
    loop = asyncio.get_running_loop()
    keeper = LeaseKeeper(store.leases, "simulation", timedelta(minutes=10), clock=loop.time)
    tools = Tools(store, simulation.birth, Recorder(birth=simulation.birth), loop.time)
    hosts = HostControllers(store, FakeHypervisors(cloud), keeper, HostConfig(), tools)
    # Failures are counted by the database's clock, which nobody skips: a pair that broke would stay broken.
    config = MigrationConfig(simulation.limits, breaker=Breaker(failures=1000))
    migrations = MigrationController(store, keeper, config, birth=simulation.birth, clock=loop.time)
    async with asyncio.TaskGroup() as tasks:
        parts = [tasks.create_task(part) for part in (keeper.run(), hosts.run(), migrations.run(), simulation.work())]
        try:
            with skipping(loop):
                yield simulation
        finally:
            for part in parts:
                part.cancel()
            await cloud.close()


@contextmanager
def skipping(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Idle time is skipped in the block, where the loop can do that."""
    if not isinstance(loop, SkippingLoop):
        yield
        return
    loop.skips = True
    try:
        yield
    finally:
        loop.skips = False


def _free(vm: Document) -> Document:
    return {**vm, "spec": {key: value for key, value in vm["spec"].items() if key != "nodeSelector"}}


def _is_on(pod: Stored, node: str) -> bool:
    return bool((pod.document.get("spec") or {}).get("nodeName") == node)

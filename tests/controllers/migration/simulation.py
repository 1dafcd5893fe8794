"""Migrations on simulated hosts, driven by chance: the store, the controller's decisions and the migration's own steps are the
real ones; hosts, links and time are simulated. After each step the laws are checked, and at each change of a guest those about
guests.

A worker is played here in one process with the hosts: it claims runs, lets `run_migration` go on in virtual time, and writes
what it says by the ledger. It may die at any moment; then the job goes on at the hosts, and another worker takes the run over.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.controllers.birth import Birth
from app.controllers.documents import is_over, key_of, launchers_of
from app.controllers.guards import node_guard
from app.controllers.lease import Held, LeaseKeeper
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.deadlines import retry_after
from app.controllers.migration.exit_codes import MEANINGS, ExitCode, Where
from app.controllers.migration.job import Job
from app.controllers.migration.ledger import Ledger
from app.controllers.migration.messages import Arrived, Cancel, Holding, Noticed, Sampled, Started
from app.controllers.migration.move import Outcome
from app.controllers.migration.observe import status_of, vm_name
from app.controllers.migration.orders import Bounds, Orders
from app.controllers.migration.places import others_of
from app.controllers.migration.plan import Place, Plan
from app.controllers.migration.reconcile import Reconciler
from app.controllers.migration.run import run_migration
from app.controllers.migration.slots import Limits
from app.controllers.migration.told import told_of
from app.controllers.outcome import Again
from app.controllers.placement.fleet import NOTHING
from app.controllers.placement.fleet import Load as Taken
from app.controllers.placement.nodes import NodeView, node_view
from app.controllers.placement.reservations import loads, reservation
from app.controllers.pods import is_leaving
from app.controllers.virtualmachine.leftovers import is_left_paused, is_left_waiting
from app.hypervisor.base import Domain, HypervisorError, Mark, State
from app.hypervisor.base import Job as HostJob
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.hypervisor.precopy import Load
from app.hypervisor.strikes import Step, Strike
from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE, names
from app.kinds.migration import ConditionType, MigrationStatus, Phase, Priority, Reason
from app.machinery.errors import ApiError
from app.machinery.lifecycle import prepare_delete
from app.machinery.objects import Document, Wire
from app.store.base import Key, NotFound, Run, Scope, Stored, edit
from app.store.base import Mark as Read
from app.store.postgres import PostgresStore
from tests.controllers.migration.virtual_loop import LoopTime, VirtualLoop
from tests.controllers.migration.world import (
    NAMESPACE,
    create,
    migration_document,
    migration_key,
    node_document,
    pod_document,
    vm_document,
)

MIB = 1 << 20
GIB = 1 << 30
NODES = [f"node{number}" for number in range(5)]
LIMITS = Limits(cluster=3, outbound=2, inbound=2)
LONG = timedelta(hours=2)
FOLLOWED = (MIGRATION.resource, POD.resource, NODE.resource, VIRTUAL_MACHINE.resource)
ROUNDS = 30
"""After so many without any time passing the controller must have settled."""

LOOK_S = 20.0
"""Between two looks once all is mended."""
RUN_S = 2 * 2 * float(Plan.model_fields["completion_s_per_gib"].default)
"""A copy of less than 2 GiB may take as long as one of 2 GiB, and to be stopped and judged as long again."""
_PATIENCE = MigrationConfig().patience
ATTEMPTS = 3
LONGEST_S = ATTEMPTS * (
    RUN_S + (2 * _PATIENCE.queue + _PATIENCE.unschedulable + retry_after(ATTEMPTS - 1)).total_seconds()
)
"""For a Migration of that many attempts. Each may wait for a slot as Pending and again in Scheduling, then for a node that fits:
one that others kept from its slot begins to count only when they are done, and 800 s were too few for three in a row."""
_WAITS = {(ConditionType.SCHEDULED, "False", reason) for reason in (Reason.UNSCHEDULABLE, Reason.WAITING_FOR_SLOT)}

ORDER = list(Phase)
FINAL = ("Succeeded", "Failed")


@dataclass
class Worker:
    """One held run and the process that moves its guest."""

    run: Run
    ledger: Ledger
    orders: Orders
    hypervisors: FakeHypervisors
    job: Job
    task: asyncio.Task[Outcome] | None = None
    heard: list[Wire] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    holds: bool = False


@dataclass
class Simulation:
    """`seed` decides everything but what the machine's scheduler does."""

    store: PostgresStore
    held: Held
    seed: int
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    done: Counter[str] = field(default_factory=Counter)
    """What chance did, and how Migrations ended."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.time = LoopTime(self.loop, datetime.now(UTC).timestamp())
        self.birth = Birth(now=lambda: datetime.fromtimestamp(self.time.now(), UTC))
        self.cloud = FakeCloud(*NODES, time=self.time, bandwidth=400 * MIB, tick_s=0.25)
        self.cloud.watch = self._watch
        self.cloud.strikes = self._strike
        self.reconciler = self._reconciler()
        self.workers: dict[UUID, Worker] = {}
        self.guests: dict[UUID, str] = {}
        self.broken: list[str] = []
        """Laws that were broken while time passed."""
        self.striking = False
        self.away: set[str] = set()
        self.count = 0
        self.known: dict[Key, Stored] = {}
        """What is stored, as of the last look."""
        self.mark: Read | None = None
        self.due: dict[Key, float] = {}
        """When the controller looks at a key again, by the simulation's time."""
        self.phases: dict[str, Phase] = {}
        self.ever_held: set[UUID] = set()
        self.guest_count = 0
        self.looks = 0
        """Reconciles, of any key."""
        self.healed_s = 0.0
        """How long it took after everything was mended until nothing moved or waited any more, by the simulation's time."""

    def _reconciler(self) -> Reconciler:
        return Reconciler(self.store, self.held, MigrationConfig(LIMITS), self.birth)

    # The world

    async def build(self, guests: int) -> None:
        for name in NODES:
            await create(self.store, self._node(name))
        for number in range(guests):
            await self._guest(NODES[number % len(NODES)], self.rng.choice([256, 512, 1024]) * MIB)
        await self._catch_up()

    async def _guest(self, node: str, memory: int) -> None:
        """A VirtualMachine that runs there."""
        self.guest_count += 1
        name = f"vm{self.guest_count - 1}"
        vm = vm_document(name, node)
        vm["metadata"]["finalizers"] = [names.VIRTUAL_MACHINE_FINALIZER]
        uuid = UUID(vm["metadata"]["uid"])
        dirty = self.rng.choice([0, 10, 40]) * MIB
        self.cloud.loads[uuid] = Load(memory, dirty_rate=dirty, working_set=memory // 4)
        await create(self.store, vm, pod_document(vm, node, memory))
        await self.loop.run(self._start(node, uuid, name, memory))
        self.guests[uuid] = name

    def _node(self, name: str) -> Document:
        document = node_document(name)
        document["status"]["allocatable"] = {"cpu": "8", "memory": "3Gi"}
        return document

    async def _start(self, node: str, uuid: UUID, name: str, memory: int) -> None:
        host = await FakeHypervisors(self.cloud).connect(self.cloud[node].uri)
        xml = f"<domain type='qemu'><name>{NAMESPACE}_{name}</name><uuid>{uuid}</uuid><memory unit='b'>{memory}</memory></domain>"
        await host.define_and_start(xml)
        await host.mark(uuid, Mark(store=str(self.store.id), vm=f"{NAMESPACE}/{name}"))

    # What chance does

    async def step(self) -> None:
        """Something happens, everybody looks, some time passes, and the laws hold."""
        actions: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (50, self.request), (6, self.cancel), (6, self.stop), (3, self.new_guest), (3, self.end_guest),
            (4, self.cordon), (3, self.taint), (4, self.cut_off), (6, self.mend),
            (4, self.restart_daemon), (6, self.kill_worker), (2, self.kill_controller), (2, self.delete_node), (5, self.nothing),
        ]  # fmt: skip
        (action,) = self.rng.choices([action for _, action in actions], [weight for weight, _ in actions])
        self.done[action.__name__] += 1
        await action()
        await self.look()
        await self.pass_time(self.rng.choice([0.3, 1.0, 3.0]))
        await self.look()
        await self.check()

    async def nothing(self) -> None:
        """Time passes."""

    async def request(self) -> None:
        """Three at once, so that some have to wait."""
        names_ = sorted(self.guests.values())
        for vm in self.rng.sample(names_, min(3, len(names_))):
            await self._request(vm)

    async def _request(self, vm: str) -> None:
        spec: Document = {}
        if self.rng.random() < 0.3:
            spec["priority"] = self.rng.choice(list(Priority)).value
        if self.rng.random() < 0.2:
            spec["nodeSelector"] = {"kubernetes.io/hostname": self.rng.choice(NODES)}
        options: Document = {}
        if self.rng.random() < 0.3:
            options["bandwidthPerMigration"] = "64Mi"
        if self.rng.random() < 0.4:
            options["arrivePaused"] = True
        if options:
            spec["options"] = options
        if self.rng.random() < 0.2:
            spec["backoffLimit"] = ATTEMPTS - 1
        await self.ask_for(vm, **spec)

    async def ask_for(self, vm: str, **spec: Any) -> None:
        """A Migration of it: the first is m1."""
        self.count += 1
        document = migration_document(f"m{self.count}", vm, **spec)
        document["metadata"]["creationTimestamp"] = self.birth.stamp()
        await create(self.store, document)

    async def cancel(self) -> None:
        """By deleting it."""
        if unfinished := self._unfinished():
            await self._delete(self.rng.choice(unfinished)["metadata"]["name"])

    async def stop(self) -> None:
        """By its spec, so that it stays."""

        def stopped(migration: Document) -> Document:
            return {**migration, "spec": {**migration["spec"], "cancel": True}}

        if unfinished := self._unfinished():
            name = self.rng.choice(unfinished)["metadata"]["name"]
            await edit(self.store.objects, migration_key(name), stopped)

    async def new_guest(self) -> None:
        """On a node that has room for it, and whose host answers."""
        memory = 512 * MIB
        nodes, taken = self._standing()
        free = [
            node.name for node in nodes
            if node.name not in self.away and node.memory - taken.get(node.name, NOTHING).memory >= memory
            and node.cpu_milli - taken.get(node.name, NOTHING).cpu_milli >= 1000
        ]  # fmt: skip
        if free:
            await self._guest(self.rng.choice(free), memory)

    async def end_guest(self) -> None:
        """Its VirtualMachine is deleted: its Migration ends first, then what is left of it goes."""
        if len(self.guests) > 3:
            key = Key(VIRTUAL_MACHINE.resource, NAMESPACE, self.rng.choice(sorted(self.guests.values())))
            now = self.birth.stamp()
            await edit(self.store.objects, key, lambda d: prepare_delete(VIRTUAL_MACHINE, d, None, now=now))

    async def _delete(self, name: str) -> None:
        now = self.birth.stamp()
        await edit(self.store.objects, migration_key(name), lambda d: prepare_delete(MIGRATION, d, None, now=now))

    async def cordon(self) -> None:
        await self._change_node(lambda node: node["spec"].update(unschedulable=not node["spec"].get("unschedulable")))

    async def taint(self) -> None:
        def change(node: Document) -> None:
            node["spec"]["taints"] = [] if node["spec"].get("taints") else [{"key": "k", "effect": "NoSchedule"}]

        await self._change_node(change)

    async def cut_off(self) -> None:
        """Its Node says so, or does not yet."""
        await self.cut(self.rng.choice(NODES), told=self.rng.random() < 0.5)

    async def cut(self, name: str, *, told: bool) -> None:
        self.away.add(name)
        await self.loop.run(self._at_hosts(lambda: self.cloud.cut_off(name)))
        if told:
            await self._ready(name, "False")

    async def mend(self) -> None:
        for name in sorted(self.away):
            await self._mend(name)

    async def _mend(self, name: str) -> None:
        self.away.discard(name)
        await self.loop.run(self._at_hosts(lambda: self.cloud.mend(name)))
        await self._ready(name, "True")

    async def restart_daemon(self) -> None:
        name = self.rng.choice(NODES)
        await self.loop.run(self._at_hosts(lambda: self.cloud.disconnect(name)))

    async def kill_worker(self) -> None:
        """All of its processes end with it; their jobs go on. Its leases lapse at once."""
        workers, self.workers = self.workers, {}
        await self.loop.run(_end(list(workers.values())))
        for worker in workers.values():
            await self.store.runs.extend(worker.run.id, worker.run.token, timedelta(seconds=-1))

    async def kill_controller(self) -> None:
        """The next one looks at what is there."""
        self.reconciler = self._reconciler()
        self.due.clear()
        for source in self.reconciler.sources():
            for stored in self._stored(source.scope.resource):
                self._queue((source.at_start or source.keys)(stored))

    async def delete_node(self) -> None:
        """As the API does: refused while it is needed. It is registered again at once, or with the next node that goes."""
        name = self.rng.choice(NODES)
        try:
            async with self.store.transaction(serial=True) as tx:
                node = (await tx.get(Key(NODE.resource, "", name))).document
                await node_guard(tx, node)
                tx.delete(key_of(NODE, node))
        except ApiError:
            self.done["delete_node refused"] += 1
        except NotFound:
            await create(self.store, self._node(name))

    async def _change_node(self, change: Callable[[Document], None]) -> None:
        await self.edit_node(self.rng.choice(NODES), change)

    async def _ready(self, name: str, status: str) -> None:
        await self.edit_node(name, lambda node: node["status"]["conditions"][0].update(status=status))

    async def edit_node(self, name: str, change: Callable[[Document], None]) -> None:
        def changed(node: Document) -> Document:
            change(node)
            return node

        try:
            await edit(self.store.objects, Key(NODE.resource, "", name), changed)
        except NotFound:
            self.done["no such node"] += 1

    def _strike(self, step: Step, source: str, target: str) -> Strike | None:
        """Hosts fail at any step of a migration, now and then."""
        if not self.striking or self.rng.random() > (0.02 if step is Step.COPYING else 0.15):
            return None
        strike = self.rng.choice(list(Strike))
        self.done[f"{strike} while {step}"] += 1
        if strike is Strike.SOURCE_CUT:
            self.away.add(source)
        if strike is Strike.TARGET_CUT:
            self.away.add(target)
        return strike

    # Who looks

    async def look(self) -> None:
        """The controller hears of what changed and looks; workers claim, and write what their processes said."""
        await self._tidy()
        await self._reconcile()
        for run in await self.store.runs.claim(f"w{self.count}", LONG, 10):
            self.workers[run.id] = await self._worker(run, await others_of(self.store.objects, Plan.read(run.plan)))
        await self._reconcile()

    async def _tidy(self) -> None:
        """What moves left behind goes, as the hosts' agents take it away, and so do guests whose VirtualMachines go; nothing
        of a move under way."""
        moving = {(run.domain, node) for run in await self.store.runs.unfinished() for node in (run.source, run.target)}
        for host in self.cloud.hosts.values():
            for uuid, guest in tuple(host.guests.items()):
                left = guest.domain.state is State.SHUTOFF or await self._is_past(guest.domain, host.name)
                if left and (uuid, host.name) not in moving and not host.faults.cut_off:
                    del host.guests[uuid]
        busy = {vm_name(migration) for migration in self._unfinished()} | {self.guests.get(u) for u, _ in moving}
        for vm in [stored.document for stored in self._stored(VIRTUAL_MACHINE.resource)]:
            uid = UUID(vm["metadata"]["uid"])
            there = [host for host in self.cloud.hosts.values() if uid in host.guests]
            reached = not any(host.faults.cut_off for host in there)
            if is_leaving(vm) and vm["metadata"]["name"] not in busy and reached:
                await self._end_guest(vm)

    async def _is_past(self, domain: Domain, node: str) -> bool:
        """A copy that was left paused, by a migration that took the guest from there and said so; or one that waits, of a
        migration that said that the guest stayed."""
        if domain.mark is None or not domain.mark.migration:
            return False
        runs = await self.store.runs.of(UUID(domain.mark.migration))
        if is_left_waiting(domain):
            code = next(
                (run.exit_code for run in runs if run.attempt == domain.mark.attempt and run.target == node), None
            )
            return code is not None and MEANINGS[ExitCode(code)].where is Where.SOURCE
        if not is_left_paused(domain):
            return False
        return bool(runs) and (runs[-1].source, runs[-1].exit_code) == (node, ExitCode.MOVED)

    async def _end_guest(self, vm: Document) -> None:
        uid = UUID(vm["metadata"]["uid"])
        del self.guests[uid]
        for host in self.cloud.hosts.values():
            host.guests.pop(uid, None)
        async with self.store.transaction() as tx:
            for pod in await launchers_of(tx, vm):
                tx.delete(key_of(POD, pod))
            tx.delete(key_of(VIRTUAL_MACHINE, vm))
        self.done["guests ended"] += 1

    async def _reconcile(self) -> None:
        """As a controller's loop does: what changed is queued by its sources, and each key is looked at when it is due."""
        for _ in range(ROUNDS):
            await self._catch_up()
            due = sorted(key for key, at in self.due.items() if at <= self.loop.time())
            if not due:
                return
            self.rng.shuffle(due)
            for key in due:
                del self.due[key]
                outcome = await self.reconciler.reconcile(key)
                self.looks += 1
                if isinstance(outcome, Again):
                    self._queue((key,), outcome.after_s)
        raise AssertionError(self._story(f"reconciled for ever: {due}"))

    async def _catch_up(self) -> None:
        async with self.store.transaction() as tx:
            changes = await tx.changed(FOLLOWED, self.mark)
        self.mark = changes.upto
        sources = self.reconciler.sources()
        for key, stored in changes.items.items():
            before = self.known.pop(key, None)
            if stored is not None:
                self.known[key] = stored
            for source in sources:
                if source.scope.resource == key.resource:
                    for version in (before, stored):
                        self._queue(() if version is None else source.keys(version))
        for key, stored in changes.items.items():
            if stored is not None and key.resource == MIGRATION.resource:
                self._note_end(stored.document)

    def _queue(self, keys: Iterable[Key], after_s: float = 0.0) -> None:
        for key in keys:
            self.due[key] = min(self.due.get(key, float("inf")), self.loop.time() + after_s)

    def _stored(self, resource: str | None) -> list[Stored]:
        return sorted(
            (one for one in self.known.values() if one.key.resource == resource), key=lambda one: one.revision
        )

    def _unfinished(self) -> list[Document]:
        """Migrations, as of the last look."""
        return [one.document for one in self._stored(MIGRATION.resource) if not is_over(one.document)]

    async def _worker(self, run: Run, others: tuple[Place, ...]) -> Worker:
        fresh = run.token == 1
        told = None if fresh else await told_of(self.store.objects, run)
        job = Job(Plan.read(run.plan), fresh=fresh, cancelled=run.cancelled, others=others, told=told)
        orders = Orders(Bounds(deadline_s=float("inf")), clock=self.loop.time)
        return Worker(run, Ledger(self.store, run, self.birth), orders, FakeHypervisors(self.cloud), job)

    async def pass_time(self, seconds: float) -> None:
        """Hosts and processes go on; then what they said is written."""
        cancelled = {run.id for run in await self.store.runs.unfinished() if run.cancelled}
        for worker in self.workers.values():
            if worker.holds:
                worker.orders.take(await told_of(self.store.objects, worker.run))
        self.striking = True
        await self.loop.run(self._go_on(seconds, cancelled))
        self.striking = False
        for worker in list(self.workers.values()):
            await self._write(worker)

    async def _go_on(self, seconds: float, cancelled: set[UUID]) -> None:
        for worker in self.workers.values():
            if worker.task is None:
                worker.task = asyncio.create_task(
                    run_migration(
                        worker.job, worker.hypervisors, worker.orders, worker.heard.append, worker.lines.append
                    )
                )
            if worker.run.id in cancelled:
                worker.orders.take(Cancel())
        await asyncio.sleep(seconds)

    async def _write(self, worker: Worker) -> None:
        for report in worker.heard:
            if isinstance(report, Sampled | Started | Noticed | Arrived | Holding):
                worker.ledger.note(report)
            if isinstance(report, Holding):
                worker.holds = bool(report.message)
            if isinstance(report, Holding) and report.message:
                self.ever_held.add(worker.run.id)
        worker.heard.clear()
        if worker.task is None or not worker.task.done():
            await worker.ledger.flush()
            return
        outcome = worker.task.result()
        self.done[f"exit {outcome.code.name}"] += 1
        await worker.ledger.finished(outcome.code, outcome.result)
        del self.workers[worker.run.id]

    async def _at_hosts(self, act: Callable[[], None]) -> None:
        act()

    # The laws

    def _watch(self) -> None:
        """At each change of any guest."""
        for uuid, name in self.guests.items():
            copies = [host for host in self.cloud.hosts.values() if uuid in host.guests]
            running = [host.name for host in copies if host.guests[uuid].domain.state is State.RUNNING]
            if len(running) > 1:
                self.broken.append(f"{name} runs on {running}")
            if not any(host.guests[uuid].active for host in copies):
                self.broken.append(f"{name} is nowhere")

    def place(self, uuid: UUID) -> str | None:
        """Where the guest runs; where nobody runs it, who has the only copy of it."""
        copies = [host for host in self.cloud.hosts.values() if uuid in host.guests and host.guests[uuid].active]
        running = [host.name for host in copies if host.guests[uuid].domain.state is State.RUNNING]
        names = running or [host.name for host in copies]
        return names[0] if len(names) == 1 else None

    async def check(self) -> None:
        assert self.broken == [], self._story(self.broken[0])
        await self._check_limits()
        await self._check_reservations()

    async def _check_limits(self) -> None:
        runs = await self.store.runs.unfinished()
        # One that is held counts for its nodes only, and may come back.
        assert len([run for run in runs if run.id not in self.ever_held]) <= LIMITS.cluster, self._story("cluster")
        for count, limit in (
            (Counter(r.source for r in runs), LIMITS.outbound),
            (Counter(r.target for r in runs), LIMITS.inbound),
        ):
            assert all(taken <= limit for taken in count.values()), self._story(f"{count}")

    async def _check_reservations(self) -> None:
        await self._catch_up()
        nodes, taken = self._standing()
        for node in nodes:
            load = taken.get(node.name)
            assert load is None or (load.memory <= node.memory and load.cpu_milli <= node.cpu_milli), self._story(
                node.name
            )

    def _standing(self) -> tuple[list[NodeView], dict[str, Taken]]:
        """The nodes and what is taken of them, added up anew."""
        pods = [reservation(stored.document) for stored in self._stored(POD.resource)]
        nodes = [node_view(stored.document) for stored in self._stored(NODE.resource)]
        return nodes, loads(pod for pod in pods if pod is not None)

    def _note_end(self, migration: Document) -> None:
        """A final phase is true when it is told, and none goes back."""
        name, status = migration["metadata"]["name"], status_of(migration)
        before, self.phases[name] = self.phases.get(name, Phase.NEW), status.phase
        assert ORDER.index(status.phase) >= ORDER.index(before), self._story(
            f"{name} went from {before} to {status.phase}"
        )
        if status.phase.value in FINAL and before is not status.phase:
            reason = next(
                c.reason for c in status.conditions if c.type in (ConditionType.FAILED, ConditionType.SUCCEEDED)
            )
            self.done[f"{status.phase} {reason}"] += 1
            self._ensure_true(migration, status.phase)

    def _ensure_true(self, migration: Document, phase: Phase) -> None:
        state = migration["status"]["migrationState"]
        uid = (migration["status"].get("instance")) or ""
        if not state.get("sourceNode") or not uid or UUID(uid) not in self.guests:
            return
        expected = state["targetNode"] if phase is Phase.SUCCEEDED else state["sourceNode"]
        found = self.place(UUID(uid))
        name = migration["metadata"]["name"]
        assert expected == found, self._story(f"{name} is {phase} and its guest on {found}, not {expected}")

    # The end

    async def heal(self) -> None:
        """Everything is mended: every run ends, and whoever waits says for what, and not for longer than is promised."""
        self._strike_no_more()
        for name in NODES:
            await self._mend(name)
            await self.edit_node(name, lambda node: node["spec"].update(unschedulable=False, taints=[]))
        await self.look()
        healed, since = self.loop.time(), dict[UUID, float]()
        while True:
            runs = await self.store.runs.unfinished()
            leaving = [one for one in self._stored(VIRTUAL_MACHINE.resource) if is_leaving(one.document)]
            if not self._unfinished() and not leaving and not runs:
                break
            now = self.loop.time()
            since = {run.id: since.get(run.id, now) for run in runs}
            for run in runs:
                assert now - since[run.id] <= RUN_S, self._story(self._told_of(run))
            for migration in self._unfinished():
                of_it = [run for run in runs if str(run.migration_uid) == migration["metadata"]["uid"]]
                assert of_it or _waits(status_of(migration)), self._story(f"stuck: {migration}")
            assert now - healed <= LONGEST_S, self._story(
                f"after {LONGEST_S:g} s: {self._unfinished()}, {leaving}, {runs}"
            )
            await self.pass_time(LOOK_S)
            await self.look()
        self.healed_s = self.loop.time() - healed
        await self.check()

    def _told_of(self, run: Run) -> str:
        """One that does not end: what its process said last, and what the hosts have of its guest."""
        worker = self.workers.get(run.id)
        said = None if worker is None else [*worker.lines[-8:], worker.orders.told, worker.holds]
        found = {
            host.name: (host.guests[run.domain].domain, host.faults)
            for host in self.cloud.hosts.values()
            if run.domain in host.guests
        }
        return f"the run of {run.migration.name} does not end: {run}; its process said {said}; hosts have {found}"

    def _strike_no_more(self) -> None:
        self.cloud.strikes = lambda *_: None

    async def ensure_nothing_is_left(self) -> None:
        assert [one["metadata"]["name"] for one in self._unfinished()] == [], self._story("stuck")
        assert await self.store.runs.unfinished() == []
        for stored in (await self.store.objects.list(Scope(VIRTUAL_MACHINE.resource))).items:
            vm = stored.document
            place = self.place(UUID(vm["metadata"]["uid"]))
            shown = (vm["status"]["phase"], vm["status"]["nodeName"], vm["metadata"]["labels"]["kubevirt.io/nodeName"])
            assert shown == ("Running", place, place), self._story(
                f"{vm['metadata']['name']} is on {place} and shows {shown}"
            )
        for host in self.cloud.hosts.values():
            for guest in host.guests.values():
                assert not is_left_waiting(guest.domain), self._story(f"{guest.domain.name} waits on {host.name}")
                assert guest.domain.job is HostJob.NONE, self._story(
                    f"{guest.domain.name} still has a job on {host.name}"
                )

    async def close(self) -> None:
        workers, self.workers = self.workers, {}
        await self.loop.run(_end(list(workers.values())))
        await self.loop.run(self.cloud.close())
        self.loop.close()

    def _story(self, what: str) -> str:
        return f"seed {self.seed}, after {self.count} requests: {what}; {dict(self.done)}"


def _waits(status: MigrationStatus) -> bool:
    """For a place or for its time, and says so."""
    said = {(c.type, c.status, c.reason) for c in status.conditions}
    retrying = any(type_ is ConditionType.RETRYING and value == "True" for type_, value, _ in said)
    return retrying or bool(said & _WAITS)


@asynccontextmanager
async def lead(store: PostgresStore, seed: int) -> AsyncIterator[Simulation]:
    """One that holds the controllers' lease, until the block ends."""
    held = await LeaseKeeper(store.leases, "simulation", timedelta(hours=6)).try_acquire("controllers")
    assert held is not None
    simulation = Simulation(store, held, seed)
    try:
        yield simulation
    finally:
        await simulation.close()


async def _end(workers: list[Worker]) -> None:
    """Their processes are killed; what they asked of the hosts goes on."""
    tasks = [worker.task for worker in workers if worker.task is not None]
    for task in tasks:
        task.cancel()
    results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        assert isinstance(result, asyncio.CancelledError | Outcome | HypervisorError), result
    for worker in workers:
        await worker.hypervisors.close()

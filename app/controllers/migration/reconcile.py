"""Migrations: observe, decide, commit, in one transaction under the lease of the controllers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.controllers import guest
from app.controllers.birth import Birth
from app.controllers.census import Census
from app.controllers.documents import is_over, key_of
from app.controllers.events import Recorder
from app.controllers.hosts import Hosts
from app.controllers.leader import LEADS
from app.controllers.lease import Held, LeaseKeeper
from app.controllers.loop import Clock, Loop, Source
from app.controllers.metrics import LoopMetrics
from app.controllers.migration.commit import Committer, to_be_brought, two_nodes
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.decide import HELD, LOOK_AGAIN_S, decide
from app.controllers.migration.effects import Conclude, Decision, StartRun, Tell
from app.controllers.migration.exit_codes import MEANINGS, known
from app.controllers.migration.metrics import MigrationMetrics
from app.controllers.migration.observe import (
    Ground,
    Scene,
    guest_of,
    is_waiting,
    no_doubts,
    observe,
    status_of,
    vm_name,
)
from app.controllers.migration.plan import Plan
from app.controllers.migration.queueing import still_queues
from app.controllers.migration.traces import trace
from app.controllers.migration.transitions import over_since
from app.controllers.migration.vetting import Question, Vetting
from app.controllers.nodestatus import is_out_of_service
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.placement.nodes import is_ready
from app.controllers.pods import process_ended_at
from app.hypervisor.base import Hypervisors
from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE, names
from app.kinds.migration import FINAL
from app.kinds.virtualmachine import Phase as VMPhase
from app.machinery.objects import Document
from app.store.base import (
    AlreadyExists,
    Conflict,
    Key,
    LeaseLost,
    NotFound,
    Run,
    RunState,
    Scope,
    Store,
    Stored,
    Transaction,
)
from app.tracing import is_on

log = structlog.get_logger()

RELEASE_S = 60.0
LONG_AGO = timedelta(hours=1)
"""Far more than it takes to collect the pods of an owner that is gone."""
ATTEMPTS = 10
"""Progress is written all the time: who loses to such a write looks again at once."""

QUESTIONS = 10
"""So many hosts are asked in a row whether they would take a guest, before others get their turn."""


class MigrationController:
    """Takes every Migration to its end, while this process leads. `keeper` is the process's only one and runs elsewhere."""

    def __init__(
        self,
        store: Store,
        keeper: LeaseKeeper,
        config: MigrationConfig | None = None,
        hypervisors: Hypervisors | None = None,
        *,
        birth: Birth | None = None,
        clock: Clock = time.monotonic,
        metrics: MigrationMetrics | None = None,
        loops: LoopMetrics | None = None,
    ) -> None:
        """Without `hypervisors` no host is asked whether it would take a guest."""
        self._metrics = metrics or MigrationMetrics()
        self._loops = loops or LoopMetrics()
        self._store = store
        self._keeper = keeper
        self._config = config or MigrationConfig()
        self._birth = birth
        self._clock = clock
        self._vetting = None if hypervisors is None else Vetting(Hosts(hypervisors))

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._lead()
        finally:
            if self._vetting is not None:
                await self._vetting.close()

    async def _lead(self) -> None:
        try:
            async with self._keeper.hold(LEADS) as held:
                self._metrics.leads(True)
                reconciler = Reconciler(
                    self._store, held, self._config, self._birth, self._vetting, metrics=self._metrics
                )
                sources, clock, loops = reconciler.sources(), self._clock, self._loops
                await Loop("migration", self._store, sources, reconciler.reconcile, clock=clock, metrics=loops).run()
        except LeaseLost:
            log.warning("no longer reconciling migrations", holder=self._keeper.holder)
        finally:
            self._metrics.leads(False)


class Reconciler:
    """One term of leading. Every write is fenced by the lease that `held` stands for."""

    def __init__(
        self,
        store: Store,
        held: Held,
        config: MigrationConfig,
        birth: Birth | None = None,
        vetting: Vetting | None = None,
        *,
        metrics: MigrationMetrics | None = None,
        census: Census | None = None,
    ) -> None:
        self._metrics = metrics or MigrationMetrics()
        self._store = store
        self._held = held
        self._config = config
        self._birth = birth or Birth()
        self._vetting = vetting
        recorder = Recorder("migration-controller", self._birth)
        self._census = census or Census()
        self._committer = Committer(self._birth, recorder, str(store.id), self._census)
        self._unfinished: dict[Key, str] = {}
        """Which Migrations may be unfinished, and of which VirtualMachine, as far as the watch told: who is to be woken."""

        self._held_told: dict[Key, datetime] = {}
        """When an Event last said that a Migration is held: a new leader says it again."""

        self._orphans: dict[str, datetime] = {}
        """Pods of targets whose Migrations are no more, by UID: since when this leader has known them."""

        self._uids: dict[Key, set[str]] = {}
        """Of the Migrations of each name that had pods, as far as the watch told, until the last of them has gone."""

    def sources(self) -> list[Source]:
        """Migrations, and what they wait for: their pods and VirtualMachines, and nodes."""
        return [
            Source(Scope(MIGRATION.resource), self._noted, at_start=self._noted_at_start),
            Source(Scope(POD.resource), self._of_pod, at_start=self._of_pod_at_start),
            Source(Scope(NODE.resource), lambda _: tuple(self._unfinished)),
            Source(Scope(VIRTUAL_MACHINE.resource), self._of_vm),
        ]

    async def reconcile(self, key: Key) -> Outcome:
        for _ in range(ATTEMPTS):
            try:
                return await self._step(key)
            except (Conflict, NotFound, AlreadyExists):
                continue
        return Again(0.1)

    async def _step(self, key: Key) -> Outcome:
        try:
            document = (await self._store.objects.get(key)).document
        except NotFound:
            self._unfinished.pop(key, None)
            self._metrics.forget(key)
            return await self._abandoned(key)
        status = status_of(document)
        if status.phase in FINAL:
            self._held_told.pop(key, None)
        if status.phase in FINAL and names.MIGRATION_FINALIZER not in document["metadata"].get("finalizers", ()):
            self._unfinished.pop(key, None)
            waits = False
            if self._uids.get(key, set()) - {document["metadata"]["uid"]}:
                waits = await self._tidy_former(key, document["metadata"]["uid"])
            released = await self._release(document)
            return Again(RELEASE_S / 6) if waits else released
        if await still_queues(self._store, document, self._held_told, self._config, self._birth.now()):
            return Again(LOOK_AGAIN_S)
        for _ in range(QUESTIONS):
            decided = await self._decide(key, serial=is_waiting(status))
            if not isinstance(decided, Question):
                return decided
            assert self._vetting is not None, "BUG: a question and nobody to ask"
            await self._vetting.ask(decided)
        return Again(0.1)

    async def _decide(self, key: Key, *, serial: bool) -> Outcome | Question:
        """One transaction; or, with nothing written, what the chosen host must be asked first. No host is asked while the
        transaction is open."""
        doubts = no_doubts if self._vetting is None else self._vetting.doubts
        await self._census.freshen(self._store)
        async with self._store.transaction(serial=serial) as tx:
            self._fence(tx)
            ground = Ground(self._birth.now(), self._config, self._census, self._held_told.get(key), doubts)
            scene = await observe(tx, (await tx.get(key)).document, ground)
            decision = decide(scene.seen)
            question = await self._question(tx, scene, decision)
            if question is not None:
                return question
            await self._committer.commit(tx, scene, decision)
        if any(isinstance(effect, Tell) and effect.reason == HELD for effect in decision.effects):
            self._held_told[key] = scene.seen.now
        if decision.status.phase is not scene.seen.status.phase:
            self._moved_on(scene, decision)
        return decision.again

    def _moved_on(self, scene: Scene, decision: Decision) -> None:
        metadata, state = scene.migration["metadata"], decision.status.migration_state
        self._metrics.moved_on(scene.migration, scene.seen.status.phase, decision.status.dump())
        log.info(
            "migration",
            namespace=metadata["namespace"],
            migration=metadata["name"],
            migration_uid=metadata["uid"],
            attempt=None if state is None else state.attempt,
            phase=decision.status.phase.value,
        )
        if is_on() and decision.status.phase in FINAL:
            trace(scene.migration, decision.status)

    async def _question(self, tx: Transaction, scene: Scene, decision: Decision) -> Question | None:
        """Only a node that is about to be used is asked about, and not again at once."""
        target = next((effect.target for effect in decision.effects if isinstance(effect, StartRun)), None)
        if self._vetting is None or target is None or scene.guest is None or scene.need is None:
            return None
        if self._vetting.vouches(str(scene.guest.domain), target):
            return None
        node, origin = await two_nodes(tx, target, scene.guest.node)
        copies = scene.options is not None and scene.options.copies
        disks = to_be_brought(scene.guest.vm, origin, node) if copies else ()
        return Question(guest.candidate(scene.guest.vm, scene.need.host), node, origin, disks)

    async def _release(self, migration: Document) -> Outcome:
        """The targets' pods that stayed because their hosts were away go when those hosts have answered for a while: an
        incoming copy does not outlive its connection to the source for so long. Not the one where the guest arrived."""
        status = status_of(migration)
        state, since = status.migration_state, over_since(status)
        if state is None or not state.target_pod or since is None:
            return SETTLED
        arrived = "" if state.failed else state.target_node
        over_s = (self._birth.now() - since).total_seconds()
        waits = False
        async with self._store.transaction() as tx:
            self._fence(tx)
            for pod in await self._targets(tx, key_of(MIGRATION, migration), migration["metadata"]["uid"]):
                node = pod["spec"]["nodeName"]
                if node == arrived:
                    continue
                if over_s < RELEASE_S or not await _answers(tx, node):
                    waits = True
                else:
                    self._committer.remove(tx, pod)
        return Again(RELEASE_S / 6) if waits else SETTLED

    async def _abandoned(self, key: Key) -> Outcome:
        """Its object was deleted, or taken away by force: what runs is cancelled, and what ended is tidied."""
        waits = False
        async with self._store.transaction() as tx:
            self._fence(tx)
            runs = [run for run in await tx.unfinished_runs() if run.migration == key]
            for run in runs:
                if not run.cancelled:
                    tx.cancel_run(run.id)
            uids = await self._bearers(tx, key)
            for uid in uids:
                await self._tidy(tx, key, uid)
                waits = await self._release_orphans(tx, key, uid) or waits
        if not runs and not uids:
            # A pod that is told of later, its end too, brings its name back, and this key with it.
            self._uids.pop(key, None)
            self._held_told.pop(key, None)
        return Again(RELEASE_S / 6) if waits else SETTLED

    async def _tidy_former(self, key: Key, uid: str) -> bool:
        """One of the same name may have been taken away by force before this one was made. Whether some of its pods must
        stay for now."""
        waits = False
        async with self._store.transaction() as tx:
            self._fence(tx)
            for run in await tx.unfinished_runs():
                if run.migration == key and str(run.migration_uid) != uid and not run.cancelled:
                    tx.cancel_run(run.id)
            for former in await self._bearers(tx, key):
                if former != uid:
                    await self._tidy(tx, key, former)
                    waits = await self._release_orphans(tx, key, former) or waits
        return waits

    async def _release_orphans(self, tx: Transaction, key: Key, uid: str) -> bool:
        """As `_release`, for a Migration that was deleted before its target's host answered: whether pods must stay for now.
        When it ended nobody knows any more, so its pods are counted from when they were found."""
        if any(run.state is not RunState.FINISHED for run in await tx.runs_of(UUID(uid))):
            return False
        waits = False
        for pod in await self._targets(tx, key, uid):
            if (left := await _is_left_over(tx, pod)) is False:
                continue
            if left is None:
                waits = True
                continue
            found = self._orphans.setdefault(pod["metadata"]["uid"], self._birth.now())
            if (self._birth.now() - found).total_seconds() < RELEASE_S or not await _answers(
                tx, pod["spec"]["nodeName"]
            ):
                waits = True
            else:
                del self._orphans[pod["metadata"]["uid"]]
                self._committer.remove(tx, pod)
        return waits

    async def _targets(self, tx: Transaction, key: Key, uid: str) -> list[Document]:
        """The pods that reserve, or reserved, the targets of that Migration."""
        await self._census.taken(tx)
        return [stored.document for stored in (await tx.several(self._census.targets(key, uid))).values()]

    async def _bearers(self, tx: Transaction, key: Key) -> Sequence[str]:
        """The uids of Migrations of that name, whether or not there still is one."""
        await self._census.taken(tx)
        return self._census.bearers(key)

    async def _tidy(self, tx: Transaction, key: Key, uid: str) -> None:
        """Only a VirtualMachine that still waits for exactly that run is concluded."""
        runs = await tx.runs_of(UUID(uid))
        last = max(runs, key=lambda run: run.attempt, default=None)
        if last is None or last.state is not RunState.FINISHED or await self._moves_again(tx, last):
            return
        await self._census.taken(tx)
        found = await guest_of(tx, self._census, key.namespace, Plan.read(last.plan).vm.partition("/")[2])
        if found is None or found.domain != last.domain or found.phase is not VMPhase.MIGRATING:
            return
        ghost: Document = {"metadata": {"namespace": key.namespace, "name": key.name, "uid": uid}}
        settled = await self._committer.conclude(tx, ghost, found.vm, _conclusion(last))
        if settled is not None and settled != found.vm:
            tx.replace(key_of(VIRTUAL_MACHINE, settled), settled)

    async def _moves_again(self, tx: Transaction, run: Run) -> bool:
        """Another Migration of the same guest has begun, and will say itself where it is."""
        if await tx.unfinished_runs(run.domain):
            return True
        name = Plan.read(run.plan).vm.partition("/")[2]
        return any(key.namespace == run.migration.namespace and vm == name for key, vm in self._unfinished.items())

    def _fence(self, tx: Transaction) -> None:
        tx.fence_lease(self._held.name, self._held.token)

    def _noted(self, migration: Stored) -> Iterable[Key]:
        self._metrics.note(migration)
        if is_over(migration.document):
            # A slot is free, or a reservation: whoever waits may go on.
            self._unfinished.pop(migration.key, None)
            return (migration.key, *self._unfinished)
        self._unfinished[migration.key] = vm_name(migration.document)
        return (migration.key,)

    def _noted_at_start(self, migration: Stored) -> Iterable[Key]:
        """What is over is left alone: whatever it left behind has a pod, and that pod tells of it."""
        over = is_over(migration.document) and not migration.document["metadata"].get("finalizers")
        return () if over else self._noted(migration)

    def _of_pod_at_start(self, pod: Stored) -> Iterable[Key]:
        """Not of a process that ended long ago: had its Migration been taken away by force, the pod would have gone too."""
        ended = process_ended_at(pod.document)
        long_ago = ended is not None and self._birth.now() - ended > LONG_AGO
        return () if long_ago else self._of_pod(pod)

    def _of_pod(self, pod: Stored) -> Iterable[Key]:
        labels = pod.document["metadata"].get("labels") or {}
        name = labels.get(names.MIGRATION_NAME)
        if name is None:
            return ()
        key = Key(MIGRATION.resource, pod.key.namespace, name)
        self._uids.setdefault(key, set()).add(labels.get(names.MIGRATION_UID, ""))
        return (key,)

    def _of_vm(self, vm: Stored) -> Iterable[Key]:
        named = (vm.key.namespace, vm.key.name)
        return tuple(key for key, name in self._unfinished.items() if (key.namespace, name) == named)


async def _answers(tx: Transaction, node: str) -> bool:
    """Whether the host is there; one whose Node was deleted is not waited for."""
    try:
        document = (await tx.get(Key(NODE.resource, "", node))).document
        return is_ready(document) or is_out_of_service(document)
    except NotFound:
        return True


async def _is_left_over(tx: Transaction, pod: Document) -> bool | None:
    """Whether its guest is said to be elsewhere; None while it is on the way."""
    labels = pod["metadata"]["labels"]
    try:
        key = Key(VIRTUAL_MACHINE.resource, pod["metadata"]["namespace"], labels[names.DOMAIN])
        vm = (await tx.get(key)).document
    except NotFound:
        return False
    status = vm.get("status") or {}
    if vm["metadata"]["uid"] != labels[names.VM_UID]:
        return False
    if status.get("phase") == VMPhase.MIGRATING or status.get("migrationNodeName"):
        return None
    return bool(status.get("nodeName")) and pod["spec"]["nodeName"] != status["nodeName"]


def _conclusion(run: Run) -> Conclude:
    code = known(run.exit_code if run.exit_code is not None else -1)
    assert code is not None, f"BUG: a run finished with {run.exit_code}, which says nothing"
    meaning = MEANINGS[code]
    said = str(run.result.get("message") or meaning.meaning)
    free = run.result.get("targetFree") is not False
    return Conclude(meaning.where, run.source, run.target, said, target_free=free)

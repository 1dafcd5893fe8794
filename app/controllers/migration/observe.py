"""What a decision about a Migration rests on, read in the transaction that will commit it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from app.controllers import guest as guests
from app.controllers.census import fleet_of
from app.controllers.documents import domain_uuid, is_over
from app.controllers.migration.avoid import BREAKER, Breaker, Excluded, broken_pairs, choices, place_first
from app.controllers.migration.deadlines import Patience
from app.controllers.migration.decide import Room, RunSeen, Seen, Terms, VMSeen, is_resting, is_retrying
from app.controllers.migration.options import DEFAULTS, Options, Resolved
from app.controllers.migration.plan import Plan
from app.controllers.migration.tuning import retuned
from app.controllers.migration.turns import Waiting, in_turn
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Contradiction, Need, merge_selectors
from app.controllers.placement.pipeline import Placement
from app.controllers.placement.reservations import requests_of
from app.controllers.pods import is_finished, is_launcher_of, is_leaving, is_target_of, node_affinity, tolerations
from app.kinds import POD, VIRTUAL_MACHINE
from app.kinds.migration import ConditionType, MigrationStatus, Phase, Priority
from app.kinds.migration_options import MigrationConfiguration, MigrationOptions
from app.kinds.node import DEFAULT_WORKERS, SPARE_WORKERS
from app.kinds.virtualmachine import ConditionType as VMConditionType
from app.kinds.virtualmachine import Phase as VMPhase
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Reader, Run, RunState, Scope, Transaction

_WAITING = frozenset({Phase.NEW, Phase.PENDING, Phase.SCHEDULING})


@dataclass(frozen=True, slots=True)
class Limits:
    """How many migrations may run at once. A node's libvirtd may allow fewer: each holds one of its workers."""

    cluster: int = 5
    outbound: int = 2
    inbound: int = 2


@dataclass(frozen=True, slots=True)
class Guest:
    """A VirtualMachine and, while it runs, the pod that it has on its node."""

    vm: Document
    pod: Document | None

    @property
    def uid(self) -> str:
        return str(self.vm["metadata"]["uid"])

    @property
    def domain(self) -> UUID:
        """libvirt's UUID."""
        return domain_uuid(self.vm)

    @property
    def node(self) -> str:
        return str((self.vm.get("status") or {}).get("nodeName") or "")

    @property
    def phase(self) -> VMPhase:
        return VMPhase((self.vm.get("status") or {}).get("phase", ""))

    @property
    def can_move(self) -> bool:
        return self.phase is VMPhase.RUNNING and self.pod is not None and not is_leaving(self.vm)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that was read for one decision."""

    migration: Document
    guest: Guest | None
    runs: Sequence[Run]
    seen: Seen
    need: Need | None = None
    """What the target must offer; known when there is room to judge."""
    options: Resolved | None = None
    """How the guest is to be moved; known when there is room to judge."""


def status_of(migration: Document) -> MigrationStatus:
    return MigrationStatus.read(migration.get("status") or {})


def is_waiting(status: MigrationStatus) -> bool:
    """It looks for a place, for the first time or for a further attempt."""
    return status.phase in _WAITING or (status.phase is Phase.RUNNING and is_retrying(status))


def terms_of(migration: Document) -> Terms:
    spec = migration["spec"]
    deadline = spec.get("activeDeadlineSeconds")
    return Terms(
        cancel=bool(spec.get("cancel")),
        deadline=None if deadline is None else timedelta(seconds=deadline),
        further_attempts=spec.get("backoffLimit") or 0,
    )


def vm_name(migration: Document) -> str:
    return str(migration["spec"]["selector"]["name"])


async def observe(
    tx: Transaction,
    key: Key,
    told: Iterable[Key],
    now: datetime,
    limits: Limits,
    patience: Patience,
    defaults: MigrationOptions = DEFAULTS,
    breaker: Breaker = BREAKER,
    held_told: datetime | None = None,
) -> Scene:
    """Raises NotFound. `told` are the Migrations that may be unfinished, this one too, in the order in which the watch
    told of them. For one that waits the transaction must be serial: limits and reservations may not move until the
    commit."""
    migration = (await tx.get(key)).document
    status = status_of(migration)
    guest = await guest_of(tx, key.namespace, vm_name(migration))
    if guest is not None and status.instance not in (None, guest.uid):
        guest = None  # another one of that name: what was begun has nothing to do with it
    runs = await tx.runs_of(UUID(migration["metadata"]["uid"]))
    seen = Seen(
        now=now,
        vm_name=vm_name(migration),
        status=status,
        deleted=is_leaving(migration),
        vm=_vm_seen(guest),
        run=_run_seen(runs),
        patience=patience,
        wished=_wished(migration, status, runs),
        terms=terms_of(migration),
        held_told=held_told,
    )
    scene = Scene(migration, guest, runs, seen)
    if not is_waiting(status) or guest is None:
        return scene
    others = await _unfinished(tx, key, told, now)
    return await _compared(tx, scene, guest, others, limits, Options(tx, defaults), breaker)


async def guest_of(reader: Reader, namespace: str, name: str) -> Guest | None:
    """The VirtualMachine of that name with its current pod; None if there is none."""
    try:
        vm = (await reader.get(Key(VIRTUAL_MACHINE.resource, namespace, name))).document
    except NotFound:
        return None
    guest = Guest(vm, None)
    pods = (stored.document for stored in (await reader.list(Scope(POD.resource, namespace))).items)
    return Guest(vm, next((pod for pod in pods if is_current(pod, guest)), None))


def is_current(pod: Document, guest: Guest) -> bool:
    """Whether the guest runs in that pod, as far as the VirtualMachine says."""
    bound = (pod.get("spec") or {}).get("nodeName")
    return is_launcher_of(pod, guest.uid) and bound == guest.node and not is_leaving(pod) and not is_finished(pod)


async def _compared(
    tx: Transaction,
    scene: Scene,
    guest: Guest,
    others: _Others,
    limits: Limits,
    options: Options,
    breaker: Breaker,
) -> Scene:
    """With its rivals, and the room that those who wait for longer leave."""
    unfinished = await tx.unfinished_runs()
    rival = _rival(scene, guest, (*others.earlier, *others.later), unfinished)
    if rival is not None or not guest.can_move:
        return replace(scene, seen=replace(scene.seen, rival=rival))
    resolved = await options.of(scene.migration, guest.vm)
    try:
        need = need_of(scene.migration, guest, resolved)
    except Contradiction as contradiction:
        return replace(scene, seen=replace(scene.seen, contradiction=str(contradiction)))
    tally = await _tally(tx, unfinished, limits)
    broken = broken_pairs(await tx.failed_runs(breaker.window), breaker)
    copies = await _copies(tx, scene.migration) if scene.runs else ()
    needs = choices(need, scene.runs, copies, broken.get(guest.node, {}))
    shared = _Shared(broken, options, scene.seen.now)
    room, need = await _room(tx, guest, needs, others.earlier, tally, shared)
    return replace(scene, need=need, options=resolved, seen=replace(scene.seen, room=room))


def _rival(scene: Scene, guest: Guest, others: Sequence[Document], unfinished: Sequence[Run]) -> str | None:
    """The Migration of the same guest that came first. One that nobody has looked at yet comes later than this one."""
    if scene.seen.status.phase is not Phase.NEW:
        return None
    for run in unfinished:
        if run.domain == guest.domain:
            return run.migration.name
    same = (
        other["metadata"]["name"]
        for other in others
        if other["metadata"].get("namespace") == guest.vm["metadata"].get("namespace")
        and vm_name(other) == guest.vm["metadata"]["name"]
        and status_of(other).phase is not Phase.NEW
    )
    return next(same, None)


def need_of(migration: Document, guest: Guest, options: Resolved) -> Need:
    """What the guest's pod reserves and its host told of it, with both selectors. Raises Contradiction."""
    assert guest.pod is not None, "BUG: a guest without a pod has no size"
    requests, vm = requests_of(guest.pod), guest.vm
    return Need(
        memory=requests.memory,
        cpu_milli=requests.cpu_milli,
        hugepages=requests.hugepages,
        node_selector=merge_selectors(
            vm["spec"].get("nodeSelector") or {}, migration["spec"].get("nodeSelector") or {}
        ),
        affinity=node_affinity(vm),
        tolerations=tolerations(vm),
        host=guests.moving_needs(vm, copying=options.copies),
        encrypted=options.must_encrypt,
        source=guest.node,
    )


@dataclass(slots=True)
class _Tally:
    """Slots that are taken, and those that Migrations which wait for longer are about to take."""

    limits: Limits
    cluster: int = 0
    outbound: Counter[str] = field(default_factory=Counter)
    inbound: Counter[str] = field(default_factory=Counter)

    def take(self, source: str, target: str, *, in_cluster: bool = True) -> None:
        self.cluster += in_cluster
        self.outbound[source] += 1
        self.inbound[target] += 1

    @property
    def cluster_full(self) -> bool:
        return self.cluster >= self.limits.cluster

    def source_full(self, node: str, fleet: Fleet | None = None) -> bool:
        return self.outbound[node] >= self.limits.outbound or self._busy(node, fleet)

    def targets_full(self, fleet: Fleet) -> frozenset[str]:
        """Only nodes that somebody leaves or comes to can be."""
        named = self.outbound.keys() | self.inbound.keys()
        return frozenset(n for n in named if self.inbound[n] >= self.limits.inbound or self._busy(n, fleet))

    def _busy(self, node: str, fleet: Fleet | None) -> bool:
        """As many of its libvirtd's workers are held as may."""
        view = fleet.view(node) if fleet is not None else None
        workers = view.workers if view is not None else DEFAULT_WORKERS
        return self.outbound[node] + self.inbound[node] >= workers - SPARE_WORKERS


async def _tally(tx: Transaction, unfinished: Sequence[Run], limits: Limits) -> _Tally:
    """A held one counts for its two nodes only; it is asked after only where that matters."""
    tally = _Tally(limits)
    full = len(unfinished) >= limits.cluster
    for run in unfinished:
        tally.take(run.source, run.target, in_cluster=not (full and await _is_held(tx, run)))
    return tally


async def _is_held(tx: Transaction, run: Run) -> bool:
    try:
        status = status_of((await tx.get(run.migration)).document)
    except NotFound:
        return False
    return any(c.type is ConditionType.HELD and c.status == "True" for c in status.conditions)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What is judged alike for every Migration that waits."""

    broken: Mapping[str, Excluded]
    """By source: nodes that fail everybody."""
    options: Options
    now: datetime


async def _copies(tx: Transaction, migration: Document) -> Collection[str]:
    """Nodes of which an earlier attempt left the reservation, because nobody could say that they hold no copy."""
    pods = (await tx.list(Scope(POD.resource, migration["metadata"]["namespace"]))).items
    return {pod.document["spec"]["nodeName"] for pod in pods if is_target_of(pod.document, migration)}


async def _room(
    tx: Transaction, guest: Guest, needs: Sequence[Need], earlier: Sequence[Document], tally: _Tally, shared: _Shared
) -> tuple[Room, Need]:
    if tally.cluster_full or tally.source_full(guest.node):
        return _full(guest, tally), needs[0]
    fleet = await fleet_of(tx)
    for other in earlier:
        if not is_resting(status_of(other), shared.now):
            fleet = await _served(tx, other, fleet, tally, shared)
        if tally.cluster_full:
            break
    needs = [replace(need, origin=fleet.view(guest.node)) for need in needs]
    if tally.cluster_full or tally.source_full(guest.node, fleet):
        return _full(guest, tally, fleet), needs[0]
    return Room(place_first(needs, fleet), targets_full=tally.targets_full(fleet)), needs[0]


def _full(guest: Guest, tally: _Tally, fleet: Fleet | None = None) -> Room:
    return Room(Placement((), {}), cluster_full=tally.cluster_full, source_full=tally.source_full(guest.node, fleet))


async def _served(tx: Transaction, other: Document, fleet: Fleet, tally: _Tally, shared: _Shared) -> Fleet:
    """The fleet after that Migration, which comes first, has taken its place, if it can start now."""
    if is_leaving(other) or not is_waiting(status_of(other)):
        return fleet
    guest = await guest_of(tx, other["metadata"]["namespace"], vm_name(other))
    if guest is None or not guest.can_move or tally.source_full(guest.node, fleet):
        return fleet
    resolved = await shared.options.of(other, guest.vm)
    try:
        need = replace(need_of(other, guest, resolved), origin=fleet.view(guest.node))
    except Contradiction:
        return fleet
    runs = await tx.runs_of(UUID(other["metadata"]["uid"])) if is_retrying(status_of(other)) else ()
    needs = choices(need, runs, (), shared.broken.get(guest.node, {}))
    target = Room(place_first(needs, fleet), targets_full=tally.targets_full(fleet)).target
    if target is None:
        return fleet
    tally.take(guest.node, target)
    return fleet.reserving(target, need)


@dataclass(frozen=True, slots=True)
class _Others:
    """The other unfinished Migrations, in their turn."""

    earlier: Sequence[Document]
    later: Sequence[Document]


async def _unfinished(tx: Transaction, key: Key, told: Iterable[Key], now: datetime) -> _Others:
    found: list[tuple[Key, Document]] = []
    for known in told:
        try:
            document = (await tx.get(known)).document
        except NotFound:
            continue
        if known == key or not is_over(document):
            found.append((known, document))
    turns = in_turn((_waiting(number, document) for number, (_, document) in enumerate(found)), now)
    ordered = [found[one.number] for one in turns]
    place = next((number for number, (known, _) in enumerate(ordered) if known == key), len(ordered))
    documents = [document for _, document in ordered]
    return _Others(documents[:place], documents[place + 1 :])


def _waiting(number: int, migration: Document) -> Waiting:
    created = datetime.fromisoformat(migration["metadata"]["creationTimestamp"])
    return Waiting(number, Priority(migration["spec"].get("priority") or Priority.USER_TRIGGERED), created)


def _vm_seen(guest: Guest | None) -> VMSeen | None:
    if guest is None:
        return None
    has_pod = guest.pod is not None
    return VMSeen(guest.uid, guest.phase, guest.node if has_pod else "", is_leaving(guest.vm), bound_by(guest.vm))


def bound_by(vm: Document) -> str | None:
    """What keeps the guest on its host, by its condition LiveMigratable; None if nothing is known to."""
    conditions = (vm.get("status") or {}).get("conditions") or ()
    none: Document = {}
    told = next((c for c in conditions if c.get("type") == VMConditionType.LIVE_MIGRATABLE), none)
    return f"{told.get('message')} ({told.get('reason')})" if told.get("status") == "False" else None


def _wished(migration: Document, status: MigrationStatus, runs: Sequence[Run]) -> MigrationConfiguration | None:
    state = status.migration_state
    if status.phase is not Phase.RUNNING or state is None or state.migration_configuration is None or not runs:
        return None
    plan = Plan.read(max(runs, key=lambda run: run.attempt).plan)
    return retuned(state.migration_configuration, migration["spec"].get("options") or {}, plan.granted)


def _run_seen(runs: Sequence[Run]) -> RunSeen | None:
    if not runs:
        return None
    last = max(runs, key=lambda run: run.attempt)
    code = last.exit_code if last.state is RunState.FINISHED else None
    return RunSeen(
        last.id,
        last.source,
        last.target,
        last.cancelled,
        code,
        last.result,
        last.attempt,
        last.state is not RunState.WAITING,
    )

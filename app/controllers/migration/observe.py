"""What a decision about a Migration rests on, read in the transaction that will commit it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from app.controllers import guest as guests
from app.controllers.census import Census
from app.controllers.documents import domain_uuid, key_of
from app.controllers.migration.avoid import Excluded, broken_pairs, choices, place_first
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.options import Options, Resolved
from app.controllers.migration.plan import Plan
from app.controllers.migration.seen import RunSeen, Seen, Terms, VMSeen
from app.controllers.migration.slots import Board, Slots
from app.controllers.migration.transitions import is_resting, is_retrying
from app.controllers.migration.tuning import retuned
from app.controllers.migration.turns import Waiting, in_turn
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Contradiction, Need, merge_selectors
from app.controllers.placement.reservations import requests_of
from app.controllers.pods import is_finished, is_launcher_of, is_leaving, node_affinity, tolerations
from app.kinds import MIGRATION, VIRTUAL_MACHINE
from app.kinds.migration import ConditionType, MigrationStatus, Phase, Priority
from app.kinds.migration_options import MigrationConfiguration
from app.kinds.virtualmachine import ConditionType as VMConditionType
from app.kinds.virtualmachine import Phase as VMPhase
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Run, RunState, Transaction

Doubts = Callable[[str], Mapping[str, str]]
"""Of a guest, by its UUID: the nodes whose hosts said no to it, and why."""

_WAITING = frozenset({Phase.NEW, Phase.PENDING, Phase.SCHEDULING})


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


def no_doubts(_guest: str) -> Mapping[str, str]:
    """Where no host was asked."""
    return {}


@dataclass(frozen=True, slots=True)
class Ground:
    """What a decision stands on beside what is stored."""

    now: datetime
    config: MigrationConfig
    census: Census
    held_told: datetime | None = None
    """When an Event last said that the Migration is held."""
    doubts: Doubts = no_doubts


async def observe(tx: Transaction, migration: Document, ground: Ground) -> Scene:
    """A Migration that need not be stored: it is then the last that came. For one that waits and is to be started the
    transaction must be serial: limits and reservations may not move until the commit."""
    await ground.census.taken(tx)
    key, status = key_of(MIGRATION, migration), status_of(migration)
    guest = await guest_of(tx, ground.census, key.namespace, vm_name(migration))
    if guest is not None and status.instance not in (None, guest.uid):
        guest = None  # another one of that name: what was begun has nothing to do with it
    runs = await tx.runs_of(UUID(migration["metadata"]["uid"]))
    seen = Seen(
        now=ground.now,
        vm_name=vm_name(migration),
        status=status,
        deleted=is_leaving(migration),
        vm=_vm_seen(guest),
        run=_run_seen(runs),
        patience=ground.config.patience,
        wished=_wished(migration, status, runs),
        terms=terms_of(migration),
        held_told=ground.held_told,
    )
    scene = Scene(migration, guest, runs, seen)
    if not is_waiting(status) or guest is None:
        return scene
    others = _others(ground.census.migrations(), migration, ground.now)
    return await _compared(tx, scene, guest, others, _Shared(ground, Options(tx, ground.config.defaults)))


async def guest_of(tx: Transaction, census: Census, namespace: str, name: str) -> Guest | None:
    """The VirtualMachine of that name with its current pod, of a census that was taken in that transaction; None if there is
    none."""
    key = Key(VIRTUAL_MACHINE.resource, namespace, name)
    return (await _guests_of(tx, census, [key])).get(key)


async def _guests_of(tx: Transaction, census: Census, keys: Collection[Key]) -> Mapping[Key, Guest]:
    """Those that there are; in two reads, however many."""
    vms = {key: stored.document for key, stored in (await tx.several(keys)).items()}
    launchers = {key: census.launchers(vm["metadata"]["uid"]) for key, vm in vms.items()}
    pods = await tx.several([pod for listed in launchers.values() for pod in listed])
    return {
        key: _with_pod(vm, [pods[pod].document for pod in launchers[key] if pod in pods]) for key, vm in vms.items()
    }


def _with_pod(vm: Document, pods: Iterable[Document]) -> Guest:
    guest = Guest(vm, None)
    return Guest(vm, next((pod for pod in pods if is_current(pod, guest)), None))


def is_current(pod: Document, guest: Guest) -> bool:
    """Whether the guest runs in that pod, as far as the VirtualMachine says."""
    bound = (pod.get("spec") or {}).get("nodeName")
    return is_launcher_of(pod, guest.uid) and bound == guest.node and not is_leaving(pod) and not is_finished(pod)


async def _compared(tx: Transaction, scene: Scene, guest: Guest, others: _Others, shared: _Shared) -> Scene:
    """With its rivals, and the room that those who wait for longer leave."""
    unfinished = await tx.unfinished_runs()
    rival = _rival(scene, guest, (*others.earlier, *others.later), unfinished)
    if rival is not None or not guest.can_move:
        return replace(scene, seen=replace(scene.seen, rival=rival))
    resolved = await shared.options.of(scene.migration, guest.vm)
    try:
        need = need_of(scene.migration, guest, resolved)
    except Contradiction as contradiction:
        return replace(scene, seen=replace(scene.seen, contradiction=str(contradiction)))
    board = await _board(tx, unfinished, shared)
    breaker = shared.ground.config.breaker
    broken = broken_pairs(await tx.failed_runs(breaker.window), breaker)
    if not board.full_from(guest.node):
        board = await _served(tx, others.earlier, guest, board, broken, shared)
    copies = _copies(shared.ground.census, scene.migration) if scene.runs else ()
    needs = _judged(choices(need, scene.runs, copies, broken.get(guest.node, {})), guest, board, shared)
    need, room = needs[0], board.room_by(guest.node, lambda fleet: place_first(needs, fleet))
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
        compression=options.configuration.compression,
        source=guest.node,
    )


async def _board(tx: Transaction, unfinished: Sequence[Run], shared: _Shared) -> Board:
    """A held one counts for its two nodes only; it is asked after only where that matters. Of a full cluster the fleet
    does not matter."""
    limits = shared.ground.config.limits
    slots, full = Slots(limits), len(unfinished) >= limits.cluster
    for run in unfinished:
        slots = slots.taking(run.source, run.target, in_cluster=not (full and await _is_held(tx, run)))
    return Board(Fleet.of(()) if slots.cluster_full else shared.ground.census.fleet(unfinished), slots)


async def _is_held(tx: Transaction, run: Run) -> bool:
    try:
        status = status_of((await tx.get(run.migration)).document)
    except NotFound:
        return False
    return any(c.type is ConditionType.HELD and c.status == "True" for c in status.conditions)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What is judged alike for every Migration that waits."""

    ground: Ground
    options: Options


def _copies(census: Census, migration: Document) -> Collection[str]:
    """Nodes of which an earlier attempt left the reservation, because nobody could say that they hold no copy."""
    return {census.node_of(pod) for pod in census.targets(key_of(MIGRATION, migration), migration["metadata"]["uid"])}


async def _served(
    tx: Transaction, earlier: Iterable[Document], guest: Guest, board: Board, broken: Mapping[str, Excluded],
    shared: _Shared,
) -> Board:  # fmt: skip
    """The board after those that come first have taken their places, as far as each can start now."""
    waiting = [other for other in earlier if _wants_place(other, shared.ground.now)]
    guests = await _guests_of(tx, shared.ground.census, {_vm_key(other) for other in waiting})
    for other in waiting:
        if board.full_from(guest.node):
            break  # it can only get fuller
        found = guests.get(_vm_key(other))
        if found is not None and found.can_move and bound_by(found.vm) is None and not board.full_from(found.node):
            board = await _with_place(tx, other, found, board, broken, shared)
    return board


def _wants_place(migration: Document, now: datetime) -> bool:
    status = status_of(migration)
    return not is_leaving(migration) and is_waiting(status) and not is_resting(status, now)


async def _with_place(
    tx: Transaction, other: Document, guest: Guest, board: Board, broken: Mapping[str, Excluded], shared: _Shared
) -> Board:
    """The board after that Migration has taken its place, if there is one."""
    resolved = await shared.options.of(other, guest.vm)
    try:
        need = need_of(other, guest, resolved)
    except Contradiction:
        return board
    runs = await tx.runs_of(UUID(other["metadata"]["uid"])) if is_retrying(status_of(other)) else ()
    copies = _copies(shared.ground.census, other) if runs else ()
    needs = _judged(choices(need, runs, copies, broken.get(guest.node, {})), guest, board, shared)
    target = board.room_by(guest.node, lambda fleet: place_first(needs, fleet)).target
    return board if target is None else board.taking(need, guest.node, target)


def _vm_key(migration: Document) -> Key:
    return Key(VIRTUAL_MACHINE.resource, migration["metadata"]["namespace"], vm_name(migration))


def _judged(needs: Iterable[Need], guest: Guest, board: Board, shared: _Shared) -> Sequence[Need]:
    """With what is known of its hosts."""
    origin, doubts = board.fleet.view(guest.node), shared.ground.doubts(str(guest.domain))
    return [replace(need, origin=origin, excluded={**doubts, **need.excluded}) for need in needs]


@dataclass(frozen=True, slots=True)
class _Others:
    """The other unfinished Migrations, in their turn."""

    earlier: Sequence[Document]
    later: Sequence[Document]


def _others(unfinished: Sequence[Document], migration: Document, now: datetime) -> _Others:
    uid = migration["metadata"]["uid"]
    documents = [migration if other["metadata"]["uid"] == uid else other for other in unfinished]
    if all(document is not migration for document in documents):
        documents.append(migration)
    turns = in_turn((_waiting(number, document) for number, document in enumerate(documents)), now)
    ordered = [documents[one.number] for one in turns]
    place = next(number for number, document in enumerate(ordered) if document is migration)
    return _Others(ordered[:place], ordered[place + 1 :])


def _waiting(number: int, migration: Document) -> Waiting:
    created = datetime.fromisoformat(migration["metadata"]["creationTimestamp"])
    return Waiting(number, Priority(migration["spec"].get("priority") or Priority.USER_TRIGGERED), created)


_KEEPS = {(VMConditionType.LIVE_MIGRATABLE, "False"), (VMConditionType.DUPLICATE, "True")}


def _vm_seen(guest: Guest | None) -> VMSeen | None:
    if guest is None:
        return None
    has_pod = guest.pod is not None
    return VMSeen(guest.uid, guest.phase, guest.node if has_pod else "", is_leaving(guest.vm), bound_by(guest.vm))


def bound_by(vm: Document) -> str | None:
    """What keeps the guest where it is: its condition LiveMigratable, or Duplicate; None if nothing is known to."""
    for condition in (vm.get("status") or {}).get("conditions") or ():
        if (condition.get("type"), condition.get("status")) in _KEEPS:
            return f"{condition.get('message')} ({condition.get('reason')})"
    return None


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

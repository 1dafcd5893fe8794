"""The fleet as it is in the store, kept from one decision to the next: each reads only what has changed since.

What is kept was read once from each version of an object: the views of nodes, what pods reserve, and the Migrations that are not
over. A decision brings it up to its own transaction first. A serial one holds the store's counter, so what it then sees is
exact until its commit, whoever else decides in whatever process: nothing old is ever decided by.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.controllers.documents import is_over
from app.controllers.placement.fleet import NOTHING, Fleet, Index, Load
from app.controllers.placement.nodes import NodeView, node_view
from app.controllers.placement.reservations import Requests, laden, lightened, reservation
from app.controllers.pods import is_target
from app.kinds import MIGRATION, NODE, POD, names
from app.machinery.objects import Document
from app.store.base import Gone, Key, Mark, Run, Store, Stored, Transaction

RESOURCES = (NODE.resource, POD.resource, MIGRATION.resource)
FRESH_S = 30.0
"""After so long without a decision it is brought up outside of a serial transaction first, so that nobody waits for it."""
SLICE = 200
"""So many objects are read at a stretch when all are; then others of the process get their turn."""
MANY = 200
"""Where so many nodes changed what is free, adding up anew is quicker than one by one."""


@dataclass(frozen=True, slots=True)
class _Pod:
    """What is kept of one."""

    node: str
    requests: Requests | None
    guest: str
    """The uid of the VirtualMachine that it is the launcher or target pod of; empty of others."""
    migration: tuple[Key, str] | None
    """The Migration whose attempt made it, and its uid: that name may since be another's."""
    target: bool
    """It reserved an attempt's target."""


@dataclass(slots=True)
class _Counted:
    """Everything that is known as of a mark."""

    nodes: dict[str, NodeView] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)
    pods: dict[Key, _Pod] = field(default_factory=dict)
    guests: dict[str, set[Key]] = field(default_factory=dict)
    """The launcher and target pods of VirtualMachines, by uid."""
    attempts: dict[Key, dict[str, set[Key]]] = field(default_factory=dict)
    """The pods of Migrations, by name and uid."""
    migrations: dict[Key, Document] = field(default_factory=dict)
    """Those that are not over, in the order in which they appeared."""
    _fleet: Fleet | None = None
    _arriving: Mapping[str, int] = field(default_factory=dict)
    """How many of them the fleet knows of."""
    _changed: set[str] = field(default_factory=set)
    """Nodes whose load the fleet does not know yet."""

    def take(self, key: Key, stored: Stored | None) -> None:
        document = None if stored is None else stored.document
        if key.resource == NODE.resource:
            self._take_node(key.name, document)
        elif key.resource == POD.resource:
            self._take_pod(key, document)
        elif document is None or is_over(document):
            self.migrations.pop(key, None)
        else:
            self.migrations[key] = document

    def fleet(self, arriving: Mapping[str, int]) -> Fleet:
        """With so many guests on their way to each node."""
        met = {name for name in {*arriving, *self._arriving} if arriving.get(name) != self._arriving.get(name)}
        changed, self._changed, self._arriving = self._changed | met, set(), arriving
        if self._fleet is None or len(changed) > MANY:
            index = Index(self.nodes.values()) if self._fleet is None else self._fleet.index
            self._fleet = Fleet.loaded(index, {name: self._load(name) for name in self.nodes})
        else:
            for name in changed:
                self._fleet = self._fleet.bearing(name, self._load(name))
        return self._fleet

    def _load(self, name: str) -> Load:
        load = self.loads.get(name, NOTHING)
        return Load(load.memory, load.cpu_milli, load.hugepages, self._arriving.get(name, 0))

    def _take_node(self, name: str, document: Document | None) -> None:
        view = None if document is None else node_view(document)
        if view == self.nodes.get(name):
            return
        self._fleet = None
        if view is None:
            del self.nodes[name]
        else:
            self.nodes[name] = view

    def _take_pod(self, key: Key, document: Document | None) -> None:
        before, now = self.pods.pop(key, None), None if document is None else _pod(document)
        if now is not None:
            self.pods[key] = now
        if before == now:
            return
        if before is not None:
            self._forget_pod(key, before)
        if now is not None:
            self._add_pod(key, now)

    def _add_pod(self, key: Key, pod: _Pod) -> None:
        if pod.requests is not None:
            self.loads[pod.node] = laden(self.loads.get(pod.node, NOTHING), pod.requests)
            self._changed.add(pod.node)
        if pod.guest:
            self.guests.setdefault(pod.guest, set()).add(key)
        if pod.migration is not None:
            migration, uid = pod.migration
            self.attempts.setdefault(migration, {}).setdefault(uid, set()).add(key)

    def _forget_pod(self, key: Key, pod: _Pod) -> None:
        if pod.requests is not None:
            self.loads[pod.node] = lightened(self.loads[pod.node], pod.requests)
            self._changed.add(pod.node)
        if pod.guest:
            _drop(self.guests, pod.guest, key)
        if pod.migration is not None:
            migration, uid = pod.migration
            _drop(self.attempts[migration], uid, key)
            if not self.attempts[migration]:
                del self.attempts[migration]


def _drop(index: dict[str, set[Key]], uid: str, key: Key) -> None:
    index[uid].discard(key)
    if not index[uid]:
        del index[uid]


class Census:
    """One for a process's decisions; they may overlap."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mark: Mark | None = None
        self._counted = _Counted()
        self._taken_at = 0.0
        self._latest: Transaction | None = None
        """The one that it was brought up to last."""

    async def taken(self, tx: Transaction) -> None:
        """What is asked of it from now on is as of that transaction, or later; of a serial one, exactly as of it."""
        if self._latest is tx:
            return
        while not await self._advanced(tx):
            continue
        self._latest = tx

    async def freshen(self, store: Store) -> None:
        """Before a serial transaction is begun."""
        if self._mark is None or self._clock() - self._taken_at > FRESH_S:
            async with store.transaction() as tx:
                await self.taken(tx)

    def fleet(self, runs: Iterable[Run]) -> Fleet:
        """The nodes with what is free on them; `runs` are the unfinished ones."""
        return self._counted.fleet(Counter(run.target for run in runs))

    def migrations(self) -> Sequence[Document]:
        """Those that are not over, in the order in which they appeared."""
        return tuple(self._counted.migrations.values())

    def launchers(self, vm_uid: str) -> Sequence[Key]:
        """The launcher and target pods of that VirtualMachine."""
        return sorted(self._counted.guests.get(vm_uid, ()))

    def targets(self, migration: Key, uid: str) -> Sequence[Key]:
        """The pods that attempts of that Migration reserved their targets with."""
        pods = self._counted.attempts.get(migration, {}).get(uid, ())
        return sorted(pod for pod in pods if self._counted.pods[pod].target)

    def bearers(self, migration: Key) -> Sequence[str]:
        """The uids of all the Migrations of that name that have pods, whether or not they are still there."""
        return sorted(self._counted.attempts.get(migration, ()))

    def node_of(self, pod: Key) -> str:
        return self._counted.pods[pod].node

    async def _advanced(self, tx: Transaction) -> bool:
        """False where another decision came first: what was read may then be older than what is known."""
        mark, counted = self._mark, self._counted
        try:
            changes = await tx.changed(RESOURCES, mark)
        except Gone:
            if self._mark is mark:
                self._mark, self._counted, self._latest = None, _Counted(), None
            return False
        if mark is None:
            counted = _Counted()
            for number, (key, stored) in enumerate(changes.items.items()):
                counted.take(key, stored)
                if number % SLICE == 0:
                    await asyncio.sleep(0)
        if self._mark is not mark:
            return False
        self._mark = None  # of what is half taken nothing is kept
        for key, stored in changes.items.items() if mark is not None else ():
            counted.take(key, stored)
        self._counted, self._mark, self._taken_at = counted, changes.upto, self._clock()
        return True


def _pod(pod: Document) -> _Pod:
    metadata = pod["metadata"]
    labels, namespace = metadata.get("labels") or {}, metadata.get("namespace", "")
    reserved, name = reservation(pod), labels.get(names.MIGRATION_NAME)
    migration = (
        None if name is None else (Key(MIGRATION.resource, namespace, name), labels.get(names.MIGRATION_UID, ""))
    )
    return _Pod(
        node=(pod.get("spec") or {}).get("nodeName") or "",
        requests=None if reserved is None else reserved.requests,
        guest=labels.get(names.VM_UID, "") if labels.get(names.APP) == names.APP_LAUNCHER else "",
        migration=migration,
        target=is_target(pod),
    )

"""Placing VirtualMachines: a node is chosen and reserved in one serial transaction, under the lease `controllers`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from app.controllers import guest
from app.controllers.census import Census
from app.controllers.documents import key_of, launchers_of, unfinished_migrations_of
from app.controllers.lease import Held
from app.controllers.loop import Source
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.placement.pipeline import Placement, place
from app.controllers.pods import guest_need, is_leaving, launcher_pod
from app.controllers.tools import Tools
from app.controllers.virtualmachine.removal import forget
from app.controllers.virtualmachine.report import on_node, with_phase, with_vm_condition
from app.kinds import NODE, POD, VIRTUAL_MACHINE
from app.kinds.virtualmachine import ConditionType, Phase, Reason
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Stored, Transaction

_UNPLACED = (Phase.NEW, Phase.PENDING, Phase.SCHEDULING)
RETRY_S = 60.0
"""A VM that fits nowhere is tried when a node or a pod changes, and for good measure after so long."""


def phase_of(vm: Document) -> Phase:
    """How far the VM is."""
    return Phase((vm.get("status") or {}).get("phase", ""))


def node_of(vm: Document) -> str:
    """Where the store says that the guest is; empty where it is nowhere yet."""
    return str((vm.get("status") or {}).get("nodeName") or "")


@dataclass(slots=True)
class Scheduler:
    """Takes new VirtualMachines to Scheduled, and begins the deletion of those that must go."""

    tools: Tools
    held: Held
    census: Census = field(default_factory=Census)
    _waiting: set[Key] = field(default_factory=set)

    def sources(self) -> list[Source]:
        """VMs; nodes and pods for those that fit nowhere; Migrations for a VM that waits for theirs to end."""
        return [
            Source(Scope(VIRTUAL_MACHINE.resource), self._mine),
            Source(Scope(NODE.resource), lambda _: tuple(self._waiting)),
            Source(Scope(POD.resource), self._room_made),
        ]

    async def reconcile(self, key: Key) -> Outcome:
        try:
            vm = (await self.tools.store.objects.get(key)).document
        except NotFound:
            self._waiting.discard(key)
            return SETTLED
        if is_leaving(vm):
            self._waiting.discard(key)
            return await self._leave(vm)
        match phase_of(vm):
            case Phase.NEW:
                await self._take_on(vm)
                return Again(0.0)
            case Phase.PENDING | Phase.SCHEDULING:
                return await self._place(key)
            case _:
                return SETTLED

    def _mine(self, stored: Stored) -> Iterable[Key]:
        """Those that have no node yet, and those that go; the others are their agents'."""
        if is_leaving(stored.document) or phase_of(stored.document) in _UNPLACED:
            return (stored.key,)
        self._waiting.discard(stored.key)
        return ()

    def _room_made(self, pod: Stored) -> Iterable[Key]:
        """A pod that goes or has ended makes room for those that wait."""
        return tuple(self._waiting)

    async def _take_on(self, vm: Document) -> None:
        async with self.tools.store.transaction() as tx:
            self._fence(tx)
            tx.replace(key_of(VIRTUAL_MACHINE, vm), with_phase(vm, Phase.PENDING))

    async def _place(self, key: Key) -> Outcome:
        await self.census.freshen(self.tools.store)
        async with self.tools.store.transaction(serial=True) as tx:
            self._fence(tx)
            await self.census.taken(tx)
            vm = (await tx.get(key)).document
            if is_leaving(vm) or phase_of(vm) not in (Phase.PENDING, Phase.SCHEDULING):
                return Again(0.0)
            read = guest.facts(vm)
            need = guest_need(read.memory, read.vcpus, vm, hugepages=read.hugepages, host=guest.host_needs(read))
            placement = place(need, self.census.fleet(await tx.unfinished_runs()))
            if not placement.fitting:
                await self._explain(tx, vm, placement)
                self._waiting.add(key)
                return Again(RETRY_S)
            node = placement.fitting[0]
            tx.create(*_new(launcher_pod(self.tools.birth, vm, node, need)))
            tx.replace(key, with_phase(on_node(vm, node), Phase.SCHEDULED))
            name = f"{key.namespace}/{key.name}"
            await self.tools.recorder.record(tx, vm, "Scheduled", f"Successfully assigned {name} to {node}")
        self._waiting.discard(key)
        return SETTLED

    async def _explain(self, tx: Transaction, vm: Document, placement: Placement) -> None:
        message = placement.message()
        told = with_vm_condition(
            with_phase(vm, Phase.SCHEDULING),
            ConditionType.READY,
            "False",
            Reason.UNSCHEDULABLE,
            message,
            self.tools.birth.stamp(),
        )
        if told != vm:
            tx.replace(key_of(VIRTUAL_MACHINE, vm), told)
            details = f" ({placement.details()})" if placement.excluded else ""
            await self.tools.recorder.record(tx, vm, "FailedScheduling", message + details, "Warning")

    async def _leave(self, vm: Document) -> Outcome:
        """What moves it is stopped by the Migration's own controller, which keeps the record. Then what has no node any more
        goes here, everything else by the agent of its node."""
        async with self.tools.store.transaction() as tx:
            self._fence(tx)
            if await unfinished_migrations_of(tx, vm):
                return Again(1.0)
            if await self._has_node(tx, vm):
                return SETTLED
            forget(tx, vm, await launchers_of(tx, vm))
        return SETTLED

    async def _has_node(self, tx: Transaction, vm: Document) -> bool:
        node = (vm.get("status") or {}).get("nodeName")
        if not node:
            return False
        try:
            await tx.get(Key(NODE.resource, "", node))
        except NotFound:
            return False
        return True

    def _fence(self, tx: Transaction) -> None:
        tx.fence_lease(self.held.name, self.held.token)


def _new(pod: Document) -> tuple[Key, Document]:
    return key_of(POD, pod), pod

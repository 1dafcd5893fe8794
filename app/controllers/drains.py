"""Nodes that are to be emptied: one annotated so is emptied here, and uncordoning calls off what was not begun."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from app.controllers.documents import is_over, key_of
from app.controllers.evacuate import Evacuations
from app.controllers.evacuation import Move, Wait, is_drained, judge
from app.controllers.lease import Held
from app.controllers.loop import Source
from app.controllers.migration.observe import is_waiting, status_of
from app.controllers.nodestatus import is_news, with_observed, without_condition
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.pods import is_leaving
from app.controllers.tools import Tools
from app.kinds import MIGRATION, NODE, VIRTUAL_MACHINE, names
from app.kinds.node import ConditionType, Reason, is_draining, takes_no_guests
from app.kinds.virtualmachine import FINAL, Phase
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Stored, Transaction

log = structlog.get_logger()

LOOK_AGAIN_S = 15.0
"""At a guest that waits for something that no change tells of."""
NAMED = 5
"""Guests that are named in the condition; the others are counted."""


@dataclass(slots=True)
class Drains:
    """Runs under the lease `controllers`. Reconciles by Node."""

    tools: Tools
    held: Held
    _draining: set[str] = field(default_factory=set)

    def sources(self) -> list[Source]:
        """Nodes, and for those that are being emptied what comes, goes and ends there."""
        return [
            Source(Scope(NODE.resource), self._noted),
            Source(Scope(VIRTUAL_MACHINE.resource), self._of_vm),
            Source(Scope(MIGRATION.resource), self._of_migration),
        ]

    async def reconcile(self, key: Key) -> Outcome:
        try:
            node = (await self.tools.store.objects.get(key)).document
        except NotFound:
            self._draining.discard(key.name)
            return SETTLED
        if not takes_no_guests(node):
            await self._call_off(key.name)
        if not is_draining(node):
            await self._write(node, without_condition(node, ConditionType.DRAINED))
            return SETTLED
        waits = await self._empty(node)
        await self._write(node, self._told(node, waits))
        return (
            Again(min([LOOK_AGAIN_S, *(w.again_after_s for w in waits.values() if w.again_after_s)]))
            if waits
            else SETTLED
        )

    async def _empty(self, node: Document) -> dict[str, Wait]:
        """Why each guest that is still there stays for now; a Migration is made of each that can move."""
        name = node["metadata"]["name"]
        migrations = [one.document for one in (await self.tools.store.objects.list(Scope(MIGRATION.resource))).items]
        evacuations, waits = Evacuations(self.tools.birth, self.tools.recorder), {}
        for vm in await self._guests(name):
            namespace = vm["metadata"]["namespace"]
            of_room = [m for m in migrations if m["metadata"]["namespace"] == namespace]
            # Judged twice, so that only those that move cost a transaction in which nothing else is written.
            verdict = judge(evacuations.seen(vm, node, name, of_room))
            if isinstance(verdict, Move):
                verdict = await self._take_out(evacuations, vm, name)
            waits[f"{namespace}/{vm['metadata']['name']}"] = verdict
        return waits

    async def _take_out(self, evacuations: Evacuations, vm: Document, node: str) -> Wait:
        async with self.tools.store.transaction(serial=True) as tx:
            self._fence(tx)
            fresh = (await tx.get(key_of(VIRTUAL_MACHINE, vm))).document
            wait = await evacuations.take_out(tx, fresh, node)
        return wait or Wait("a Migration was made")

    async def _guests(self, node: str) -> list[Document]:
        vms = [one.document for one in (await self.tools.store.objects.list(Scope(VIRTUAL_MACHINE.resource))).items]
        return [vm for vm in vms if _is_on(vm, node)]

    async def _call_off(self, node: str) -> None:
        """Those that were made to empty it and have not begun. One that begins at this moment goes on."""
        for stored in (await self.tools.store.objects.list(Scope(MIGRATION.resource))).items:
            migration = stored.document
            labels, spec = migration["metadata"].get("labels") or {}, migration["spec"]
            if labels.get(names.EVACUATION) != node or not is_drained(migration) or spec.get("cancel"):
                continue
            if is_over(migration) or is_leaving(migration) or not is_waiting(status_of(migration)):
                continue
            metadata = {**migration["metadata"], "generation": migration["metadata"].get("generation", 1) + 1}
            async with self.tools.store.transaction() as tx:
                self._fence(tx)
                tx.replace(stored.key, {**migration, "metadata": metadata, "spec": {**spec, "cancel": True}})
                message = f"{node} takes guests again: this is called off"
                await self.tools.recorder.record(tx, migration, "Uncordoned", message)
            log.info("evacuation called off", node=node, namespace=stored.key.namespace, name=stored.key.name)

    def _told(self, node: Document, waits: dict[str, Wait]) -> Document:
        now = self.tools.birth.stamp()
        if not waits:
            return with_observed(node, ConditionType.DRAINED, "True", Reason.EMPTY, "no guest is left", now)
        stuck = {name: wait.message for name, wait in waits.items() if wait.stuck}
        guests = "1 guest is" if len(waits) == 1 else f"{len(waits)} guests are"
        message = f"{guests} left"
        if stuck:
            shown = "; ".join(f"{name}: {why}" for name, why in sorted(stuck.items())[:NAMED])
            message += f", {len(stuck)} cannot move: {shown}"
        return with_observed(node, ConditionType.DRAINED, "False", Reason.GUESTS_LEFT, message, now)

    async def _write(self, node: Document, told: Document) -> None:
        if not is_news(node, told):
            return
        async with self.tools.store.transaction() as tx:
            self._fence(tx)
            tx.replace(key_of(NODE, node), told)

    def _fence(self, tx: Transaction) -> None:
        tx.fence_lease(self.held.name, self.held.token)

    def _noted(self, node: Stored) -> Iterable[Key]:
        if is_draining(node.document):
            self._draining.add(node.key.name)
        else:
            self._draining.discard(node.key.name)
        return (node.key,)

    def _of_vm(self, vm: Stored) -> Iterable[Key]:
        node = (vm.document.get("status") or {}).get("nodeName")
        return (Key(NODE.resource, "", node),) if node in self._draining else ()

    def _of_migration(self, migration: Stored) -> Iterable[Key]:
        """One that has ended may have to be followed by another. Progress is not of interest."""
        if not is_over(migration.document):
            return ()
        return tuple(Key(NODE.resource, "", node) for node in self._draining)


def _is_on(vm: Document, node: str) -> bool:
    status = vm.get("status") or {}
    return status.get("nodeName") == node and Phase(status.get("phase", "")) not in FINAL

"""Evacuating one guest: what is stored of it is read, judged, and a Migration made, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.controllers.birth import Birth
from app.controllers.documents import key_of
from app.controllers.evacuation import Move, Seen, Wait, judge, last_of, unfinished_of
from app.controllers.events import Recorder
from app.kinds import MIGRATION, NODE, names
from app.kinds.migration import Priority
from app.kinds.node import takes_no_guests
from app.machinery.names import SUFFIX_LENGTH
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Reader, Scope, Transaction

_SAID = "-evacuation-"
_ROOM = 63 - len(_SAID) - SUFFIX_LENGTH
"""What of the VirtualMachine's name the Migration's has room for."""


@dataclass(frozen=True, slots=True)
class Evacuations:
    """Makes them; it does not matter whether kubectl or the Node's annotation asks."""

    birth: Birth = field(default_factory=Birth)
    recorder: Recorder = field(default_factory=lambda: Recorder("evacuation"))

    async def see(self, reader: Reader, vm: Document, node: str) -> Seen:
        """What is stored of the guest on that node. To act on it the transaction must be serial."""
        listing = await reader.list(Scope(MIGRATION.resource, vm["metadata"]["namespace"]))
        return self.seen(vm, await _node(reader, node), node, [stored.document for stored in listing.items])

    def seen(self, vm: Document, host: Document, node: str, migrations: list[Document]) -> Seen:
        """The same, from what was read already."""
        of_it = [migration for migration in migrations if _is_of(migration, vm)]
        now, closed = self.birth.now(), takes_no_guests(host)
        return Seen(now, node, closed, vm, unfinished_of(of_it), last_of(of_it, node))

    async def take_out(self, tx: Transaction, vm: Document, node: str, *, dry_run: bool = False) -> Wait | None:
        """None when a Migration was made, or would be."""
        seen = await self.see(tx, vm, node)
        match judge(seen):
            case Wait() as wait:
                return wait
            case Move(failures):
                if not dry_run:
                    await self._make(tx, seen, failures)
                return None

    async def _make(self, tx: Transaction, seen: Seen, failures: int) -> None:
        vm = seen.vm["metadata"]
        name = f"{vm['name'][:_ROOM].rstrip('-')}{_SAID}{self.birth.suffix()}"
        spec: Document = {"selector": {"name": vm["name"]}, "priority": Priority.SYSTEM_CRITICAL.value}
        migration = self.birth.document(
            MIGRATION, vm["namespace"], name, labels={names.EVACUATION: seen.node}, spec=spec
        )
        annotations = {names.DRAIN: "true"} if seen.closed else {}
        if failures:
            annotations[names.EVACUATION_FAILURES] = str(failures)
        if annotations:
            migration["metadata"]["annotations"] = annotations
        tx.create(key_of(MIGRATION, migration), migration)
        await self.recorder.record(tx, seen.vm, "Evacuating", f"to leave {seen.node}, by Migration {name}")


def _is_of(migration: Document, vm: Document) -> bool:
    """Not of a former VirtualMachine of that name."""
    instance = (migration.get("status") or {}).get("instance")
    name, uid = vm["metadata"]["name"], vm["metadata"]["uid"]
    return bool(migration["spec"]["selector"]["name"] == name and instance in (None, uid))


async def _node(reader: Reader, name: str) -> Document:
    try:
        return (await reader.get(Key(NODE.resource, "", name))).document
    except NotFound:
        return {}

"""The garbage collector: what owner references ask for when an owner goes, in the foreground, the background, or not at all.

An object without an owner that is there goes; one that another owner still holds only loses its reference. An owner
marked `foregroundDeletion` goes after the dependents that block it, one marked `orphan` after they have lost its name.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from app.controllers.config import HostConfig
from app.controllers.dependents import Dependents
from app.controllers.lease import Held
from app.controllers.loop import Loop
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.ownership import (
    Delete,
    Keep,
    Standing,
    Strip,
    blocks,
    is_waiting,
    judge,
    references,
    unblocking,
    without_owners,
)
from app.controllers.pods import is_leaving
from app.controllers.remover import Removal, Remover
from app.controllers.tools import Tools
from app.kinds import ALL, NAMESPACE
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.machinery.propagation import FOREGROUND, ORPHAN
from app.store.base import Key, NotFound, Scope, Stored

log = structlog.get_logger()

_OWNERS: dict[tuple[str, str], Kind[Any, Any]] = {
    (str(group_version), kind.name): kind for kind in ALL for group_version in kind.served
}
REASON = "OwnerRefInvalidNamespace"


class Garbage:
    """Runs under the lease `controllers`. Whatever it does may be done again: each step reads the store first."""

    def __init__(self, tools: Tools, held: Held, config: HostConfig) -> None:
        self._tools = tools
        self._objects = tools.store.objects
        self._config = config
        self._remover = Remover(tools, held)
        self._loop = Loop(
            "garbage", tools.store, (), self.reconcile, concurrency=8, clock=tools.clock, metrics=tools.loops
        )
        self._dependents = Dependents(tools.store, self._loop.enqueue)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._loop.run())
            tasks.create_task(self._dependents.run())

    async def reconcile(self, key: Key) -> Outcome:
        """One object: as an owner that waits, or as a dependent."""
        try:
            stored = await self._objects.get(key)
            if is_waiting(stored.document):
                return await self._see_to_dependents(stored)
            if is_leaving(stored.document) or not references(stored.document):
                return SETTLED
            return await self._judged(stored)
        except NotFound:
            return SETTLED

    async def _judged(self, stored: Stored) -> Outcome:
        dependents = self._dependents.of(stored.document["metadata"]["uid"])
        standings = {
            reference["uid"]: await self._standing(stored, reference) for reference in references(stored.document)
        }
        match judge(stored.document, standings, has_dependents=bool(dependents)):
            case Keep():
                return SETTLED
            case Strip(uids):
                await self._remover.put(stored, without_owners(stored.document, uids))
                return SETTLED
            case Delete(policy):
                ring = policy == "Foreground" and await self._any_waits(dependents)
                removed = await self._remover.delete(stored, policy, marking=unblocking if ring else None)
                return Again(self._config.garbage_s) if removed is Removal.KEPT else SETTLED

    async def _see_to_dependents(self, owner: Stored) -> Outcome:
        """What is made a dependent after the mark is found when the owner has gone."""
        await self._dependents.reached(owner.revision)
        uid = owner.document["metadata"]["uid"]
        dependents = [stored for key in self._dependents.of(uid) if (stored := await self._found(key)) is not None]
        if ORPHAN in owner.document["metadata"]["finalizers"]:
            for stored in dependents:
                await self._remover.put(stored, without_owners(stored.document, frozenset((uid,))))
            await self._remover.release(owner, ORPHAN)
            return SETTLED
        for stored in dependents:
            self._loop.enqueue(stored.key)
        if not any(blocks(stored.document, uid) for stored in dependents):
            await self._remover.release(owner, FOREGROUND)
        return SETTLED

    async def _standing(self, dependent: Stored, reference: Document) -> Standing:
        kind = _OWNERS.get((reference["apiVersion"], reference["kind"]))
        if kind is None:
            return Standing.SOLID
        namespace, name = dependent.key.namespace, reference["name"]
        if kind.namespaced and not namespace:
            await self._tell_of(dependent, f"a cluster-scoped object cannot have {_shown(reference)} as its owner")
            return Standing.ELSEWHERE
        owner = await self._found(Key(kind.resource, namespace if kind.namespaced else "", name))
        if owner is not None and owner.document["metadata"]["uid"] == reference["uid"]:
            waits = is_waiting(owner.document) and FOREGROUND in owner.document["metadata"]["finalizers"]
            return Standing.WAITING if waits else Standing.SOLID
        if kind.namespaced and await self._lives_elsewhere(kind, reference, namespace):
            await self._tell_of(dependent, f'ownerRef {_shown(reference)} does not exist in namespace "{namespace}"')
            return Standing.ELSEWHERE
        return Standing.GONE

    async def _lives_elsewhere(self, kind: Kind[Any, Any], reference: Document, namespace: str) -> bool:
        rooms = [stored.key.name for stored in (await self._objects.list(Scope(NAMESPACE.resource))).items]
        keys = [Key(kind.resource, room, reference["name"]) for room in rooms if room != namespace]
        found = await asyncio.gather(*map(self._found, keys))
        return any(stored is not None and stored.document["metadata"]["uid"] == reference["uid"] for stored in found)

    async def _any_waits(self, keys: frozenset[Key]) -> bool:
        found = await asyncio.gather(*map(self._found, keys))
        return any(stored is not None and is_waiting(stored.document) for stored in found)

    async def _found(self, key: Key) -> Stored | None:
        try:
            return await self._objects.get(key)
        except NotFound:
            return None

    async def _tell_of(self, dependent: Stored, message: str) -> None:
        await self._tools.recorder.record_alone(self._tools.store, dependent.document, REASON, message, "Warning")


def _shown(reference: Document) -> str:
    """As kube-controller-manager shows a reference."""
    return f"[{reference['apiVersion']}/{reference['kind']}, name: {reference['name']}, uid: {reference['uid']}]"

"""Deleting on Drover's own account: as the API deletes, fenced by the lease, and never what a guest or a process needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any

import structlog

from app.controllers.documents import revision_of
from app.controllers.guards import namespace_guard, node_guard
from app.controllers.lease import Held
from app.controllers.pods import is_finished
from app.controllers.tools import Tools
from app.kinds import ALL, NAMESPACE, NODE, POD, names
from app.machinery.errors import ApiError
from app.machinery.kind import Kind
from app.machinery.lifecycle import is_finished_deleting, prepare_delete
from app.machinery.objects import Document
from app.store.base import Stored, Transaction

log = structlog.get_logger()

KINDS: Mapping[str, Kind[Any, Any]] = {kind.resource: kind for kind in ALL}
"""By the store's word for each."""

_GUARDS: Mapping[str, Callable[[Transaction, Document], Awaitable[None]]] = {
    NODE.resource: node_guard,
    NAMESPACE.resource: namespace_guard,
}


class Removal(Enum):
    """What became of an object that nobody needs."""

    GONE = auto()
    MARKED = auto()
    """Its finalizers are waited for."""
    KEPT = auto()
    """Somebody needs it still: to be asked again later."""


class Remover:
    """Deletes exactly the version that was read. Raises Conflict when it has changed, NotFound when it has gone."""

    def __init__(self, tools: Tools, held: Held) -> None:
        self._tools = tools
        self._held = held

    async def delete(
        self, stored: Stored, policy: str = "Background", *, marking: Callable[[Document], Document] | None = None
    ) -> Removal:
        """`marking` changes what is left of an object that waits for its finalizers."""
        kind, document = KINDS[stored.key.resource], stored.document
        if kind is POD and await self._is_in_use(document):
            return Removal.KEPT
        marked = prepare_delete(kind, document, {"propagationPolicy": policy}, now=self._tools.birth.stamp())
        guard = _GUARDS.get(stored.key.resource)
        async with self._tools.store.transaction(serial=guard is not None) as tx:
            if guard is not None:
                try:
                    await guard(tx, document)
                except ApiError as refusal:
                    log.info("not removed", resource=stored.key.resource, name=stored.key.name, why=refusal.message)
                    return Removal.KEPT
            self.fence(tx)
            if marked is None:
                tx.delete(stored.key, revision=stored.revision)
            else:
                tx.replace(stored.key, marking(marked) if marking else marked)
        log.info("removed", resource=stored.key.resource, namespace=stored.key.namespace, name=stored.key.name)
        return Removal.GONE if marked is None else Removal.MARKED

    async def release(self, stored: Stored, finalizer: str) -> None:
        """Takes a finalizer off; the object goes with the last one."""
        document = stored.document
        metadata = {name: value for name, value in document["metadata"].items() if name != "finalizers"}
        left = [name for name in document["metadata"].get("finalizers") or () if name != finalizer]
        await self.put(stored, {**document, "metadata": {**metadata, "finalizers": left} if left else metadata})

    async def put(self, stored: Stored, changed: Document) -> None:
        """Replaces it; or removes it, when that leaves nothing to wait for."""
        async with self._tools.store.transaction() as tx:
            self.fence(tx)
            settle(tx, stored, changed)

    def fence(self, tx: Transaction) -> None:
        """Nothing of the transaction happens once another process leads."""
        tx.fence_lease(self._held.name, self._held.token)

    async def _is_in_use(self, pod: Document) -> bool:
        """A guest runs or arrives in it, or a process that moves one runs: such a pod outlives its owner."""
        if is_finished(pod):
            return False
        labels = pod["metadata"].get("labels") or {}
        if labels.get(names.APP) == names.APP_LAUNCHER:
            return True
        migration_uid = labels.get(names.MIGRATION_UID)
        return any(str(run.migration_uid) == migration_uid for run in await self._tools.store.runs.unfinished())


def settle(tx: Transaction, stored: Stored, changed: Document) -> None:
    """The changed object is stored, or gone when it was being deleted and nothing holds it any more."""
    if is_finished_deleting(changed):
        tx.delete(stored.key, revision=revision_of(changed), document=changed)
    else:
        tx.replace(stored.key, changed)

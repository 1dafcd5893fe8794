"""Namespaces that terminate: what is in one goes first, in order, and the namespace with the last of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.controllers.config import HostConfig
from app.controllers.lease import Held
from app.controllers.loop import Source
from app.controllers.namespace_conditions import conditions
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.pods import is_leaving
from app.controllers.remover import Remover, settle
from app.controllers.tools import Tools
from app.kinds import (
    EVENT,
    MIGRATION,
    NAMESPACE,
    POD,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    VIRTUAL_MACHINE,
)
from app.kinds.namespace import KUBERNETES
from app.machinery.objects import Document
from app.store.base import Conflict, Key, NotFound, Scope, Stored

ORDER = (MIGRATION, VIRTUAL_MACHINE, POD, EVENT, SERVICE_ACCOUNT, ROLE_BINDING, ROLE)
"""Migrations are cancelled before their guests are shut down; pods follow the guests and processes in them. Rights go last, so
that who watches over the deletion may to its end; they do not wait for the next namespace of that name."""
PAGE = 200
"""How many objects are deleted at a time: each in a transaction of its own, which the store groups."""


@dataclass(slots=True)
class _Content:
    """What is left, after everything was asked to go."""

    objects: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)

    def note(self, stored: Stored) -> None:
        self.objects[stored.key.resource] += 1
        self.finalizers.update(stored.document["metadata"].get("finalizers") or ())


class Namespaces:
    """Runs under the lease `controllers`. Each step reads the store anew, so it may be done again."""

    def __init__(self, tools: Tools, held: Held, config: HostConfig) -> None:
        self._tools = tools
        self._objects = tools.store.objects
        self._config = config
        self._remover = Remover(tools, held)
        self._terminating: set[str] = set()

    def sources(self) -> list[Source]:
        """Namespaces, and what changes in those that terminate."""
        return [
            Source(Scope(NAMESPACE.resource)),
            *(Source(Scope(kind.resource), self._room, deletions_only=True) for kind in ORDER),
        ]

    async def reconcile(self, key: Key) -> Outcome:
        try:
            namespace = await self._objects.get(key)
        except NotFound:
            self._terminating.discard(key.name)
            return SETTLED
        if not is_leaving(namespace.document) or not _waits(namespace.document):
            return SETTLED
        self._terminating.add(key.name)
        for kind in ORDER:
            await self._empty(Scope(kind.resource, key.name))
        if await self._finish(key):
            return SETTLED
        return await self._report(key)

    def _room(self, stored: Stored) -> Iterable[Key]:
        name = stored.key.namespace
        return (Key(NAMESPACE.resource, "", name),) if name in self._terminating else ()

    async def _empty(self, scope: Scope) -> None:
        """Everything is asked to go that was not asked before."""
        after: Key | None = None
        while True:
            page = await self._objects.list(scope, limit=PAGE, after=after)
            await asyncio.gather(*(self._remove(stored) for stored in page.items if not is_leaving(stored.document)))
            if not page.remaining:
                return
            after = page.items[-1].key

    async def _remove(self, stored: Stored) -> None:
        """What others change or remove at this moment is found again by the next step."""
        try:
            await self._remover.delete(stored)
        except (Conflict, NotFound):
            return

    async def _finish(self, key: Key) -> bool:
        """When nothing is left: judged while nothing can be written, so that nothing is left behind either."""
        async with self._tools.store.transaction(serial=True) as tx:
            for kind in ORDER:
                if (await tx.list(Scope(kind.resource, key.name), limit=1)).items:
                    return False
            namespace = await tx.get(key)
            self._remover.fence(tx)
            settle(tx, namespace, self._emptied(namespace.document))
        self._terminating.discard(key.name)
        return True

    def _emptied(self, namespace: Document) -> Document:
        left = [name for name in namespace["spec"]["finalizers"] if name != KUBERNETES]
        told = self._told(namespace, _Content())
        return {**namespace, "spec": {**namespace["spec"], "finalizers": left}, "status": told}

    async def _report(self, key: Key) -> Outcome:
        """The conditions say what is waited for."""
        content = await self._content(key.name)
        namespace = await self._objects.get(key)
        if not content.objects:
            return Again(0.0)
        await self._remover.put(namespace, {**namespace.document, "status": self._told(namespace.document, content)})
        return Again(self._config.sweep_s)

    async def _content(self, name: str) -> _Content:
        content = _Content()
        for kind in ORDER:
            after: Key | None = None
            while True:
                page = await self._objects.list(Scope(kind.resource, name), limit=PAGE, after=after)
                for stored in page.items:
                    content.note(stored)
                if not page.remaining:
                    break
                after = page.items[-1].key
        return content

    def _told(self, namespace: Document, content: _Content) -> Document:
        status: Document = namespace.get("status") or {}
        before: Sequence[Document] = status.get("conditions") or ()
        now = self._tools.birth.stamp()
        return {**status, "conditions": conditions(before, content.objects, content.finalizers, now)}


def _waits(namespace: Document) -> bool:
    return KUBERNETES in ((namespace.get("spec") or {}).get("finalizers") or ())

"""What nobody needs any more: dependents whose controller has gone, old Events, old log entries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import structlog

from app.controllers.birth import controller_of
from app.controllers.config import HostConfig
from app.controllers.documents import revision_of
from app.controllers.lease import Held
from app.controllers.loop import Source
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.pods import is_finished
from app.controllers.tools import Tools
from app.kinds import EVENT, MIGRATION, POD, VIRTUAL_MACHINE, names
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.store.base import Conflict, Key, NotFound, Scope, Stored, StoreError

log = structlog.get_logger()

_OWNERS: dict[str, Kind[Any, Any]] = {kind.name: kind for kind in (VIRTUAL_MACHINE, MIGRATION)}
_EVENTS_AT_ONCE = 500


class Garbage:
    """Runs under the lease `controllers`. Background deletion: the owner goes first, then what it controlled."""

    def __init__(self, tools: Tools, held: Held, config: HostConfig) -> None:
        self._tools = tools
        self._held = held
        self._config = config

    def sources(self) -> list[Source]:
        """Pods, and the owners that go; the pods of an owner are found by `_dependents`."""
        self._pods: dict[str, set[Key]] = {}
        return [
            Source(Scope(POD.resource), self._pod),
            Source(Scope(VIRTUAL_MACHINE.resource), self._dependents, deletions_only=True),
            Source(Scope(MIGRATION.resource), self._dependents, deletions_only=True),
        ]

    async def reconcile(self, key: Key) -> Outcome:
        """One pod."""
        try:
            pod = (await self._tools.store.objects.get(key)).document
        except NotFound:
            return SETTLED
        owner = controller_of(pod)
        if owner is None or await self._is_there(key.namespace, owner):
            return SETTLED
        if await self._is_in_use(pod):
            return Again(self._config.garbage_s)
        async with self._tools.store.transaction() as tx:
            tx.fence_lease(self._held.name, self._held.token)
            tx.delete(key, revision=revision_of(pod))
        log.info("orphan removed", pod=key.name, namespace=key.namespace, owner=owner["name"])
        return SETTLED

    async def run_sweeps(self) -> None:
        """Old Events and old log entries, until cancelled."""
        while True:
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("nothing swept", error=str(error))
            await asyncio.sleep(self._config.garbage_s)

    async def sweep(self) -> None:
        """Once."""
        await self._expire_events()
        await self._tools.store.compact(older_than=self._config.log_retention, keep=self._config.log_keep)

    def _pod(self, stored: Stored) -> Iterable[Key]:
        """Judged when it is first seen, in case its owner has gone already; after that when its owner goes."""
        owner = controller_of(stored.document)
        if owner is None:
            return ()
        known = self._pods.setdefault(owner["uid"], set())
        if stored.key in known:
            return ()
        known.add(stored.key)
        return (stored.key,)

    def _dependents(self, owner: Stored) -> Iterable[Key]:
        return tuple(self._pods.pop(owner.document["metadata"]["uid"], ()))

    async def _is_there(self, namespace: str, owner: Document) -> bool:
        """An owner of a kind that Drover does not keep is not ours to judge: it counts as there."""
        kind = _OWNERS.get(owner["kind"])
        if kind is None:
            return True
        try:
            found = await self._tools.store.objects.get(Key(kind.resource, namespace, owner["name"]))
        except NotFound:
            return False
        return bool(found.document["metadata"]["uid"] == owner["uid"])

    async def _is_in_use(self, pod: Document) -> bool:
        """A guest runs or arrives in it, or a process that moves one runs: such a pod outlives its owner."""
        if is_finished(pod):
            return False
        labels = pod["metadata"].get("labels") or {}
        if labels.get(names.APP) == names.APP_LAUNCHER:
            return True
        migration_uid = labels.get(names.MIGRATION_UID)
        return any(str(run.migration_uid) == migration_uid for run in await self._tools.store.runs.unfinished())

    async def _expire_events(self) -> None:
        before = self._tools.birth.now() - self._config.event_ttl
        listing = await self._tools.store.objects.list(Scope(EVENT.resource))
        old = [stored for stored in listing.items if _last_seen(stored.document) < before]
        for stored in old[:_EVENTS_AT_ONCE]:
            await self._expire(stored)

    async def _expire(self, stored: Stored) -> None:
        """An Event that is counted again at this moment stays."""
        try:
            await self._tools.store.objects.delete(stored.key, revision=stored.revision)
        except (Conflict, NotFound):
            return


def _last_seen(event: Document) -> datetime:
    stamp = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    return datetime.fromisoformat(stamp)

"""Who names whom as an owner, followed through the store's log: only objects that name one are remembered."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

import structlog

from app.controllers.ownership import is_waiting, references
from app.controllers.queue import Backoff
from app.kinds import ALL
from app.store.base import Event, EventType, Gone, Key, Revision, Scope, Store, Stored, StoreError

log = structlog.get_logger()

PAGE = 2000
"""Objects that are looked through at once at the start."""
PATIENCE_S = 60.0
"""How long a change may take from the store to here, or the first look at everything."""
_SIGNS = (b'"ownerReferences"', b'"deletionTimestamp"')


class Graph:
    """Dependents by their owner's uid. Knows no store."""

    def __init__(self) -> None:
        self._owners: dict[Key, frozenset[str]] = {}
        self._dependents: defaultdict[str, set[Key]] = defaultdict(set)
        self._waiting: dict[str, Key] = {}

    def dependents_of(self, uid: str) -> frozenset[Key]:
        return frozenset(self._dependents.get(uid, ()))

    def note(self, stored: Stored) -> set[Key]:
        """What to look at again because of this version of an object."""
        before = self._owners.get(stored.key, frozenset())
        if not before and not any(sign in stored.body for sign in _SIGNS):
            return set()
        document = stored.document
        after = frozenset(str(reference["uid"]) for reference in references(document))
        self._move(stored.key, before, after)
        affected = {self._waiting[uid] for uid in before | after if uid in self._waiting}
        if after != before and after:
            affected.add(stored.key)
        if is_waiting(document):
            self._waiting[document["metadata"]["uid"]] = stored.key
            affected.add(stored.key)
        return affected

    def forget(self, stored: Stored) -> set[Key]:
        """The object has gone: its dependents are looked at again, and the owners that waited for it."""
        before, uid = self._owners.get(stored.key, frozenset()), stored.document["metadata"].get("uid", "")
        self._move(stored.key, before, frozenset())
        self._waiting.pop(uid, None)
        waiting = {self._waiting[owner] for owner in before if owner in self._waiting}
        return waiting | self._dependents.get(uid, set())

    def _move(self, key: Key, before: frozenset[str], after: frozenset[str]) -> None:
        for uid in before - after:
            self._dependents[uid].discard(key)
            if not self._dependents[uid]:
                del self._dependents[uid]
        for uid in after - before:
            self._dependents[uid].add(key)
        if after:
            self._owners[key] = after
        else:
            self._owners.pop(key, None)


class Dependents:
    """Keeps a graph as new as the log, and tells which objects a change concerns."""

    def __init__(self, store: Store, concerned: Callable[[Key], None]) -> None:
        self._store = store
        self._concerned = concerned
        self._graph = Graph()
        self._revision: Revision = 0
        self._moved = asyncio.Condition()

    def of(self, uid: str) -> frozenset[Key]:
        """The objects that name that owner."""
        return self._graph.dependents_of(uid)

    async def reached(self, revision: Revision) -> None:
        """Waits until every change up to there is known: who was a dependent when its owner was marked is found then.
        Raises TimeoutError while the log cannot be read."""
        async with asyncio.timeout(PATIENCE_S), self._moved:
            await self._moved.wait_for(lambda: self._revision >= revision)

    async def run(self) -> None:
        """Until cancelled. Lists, then watches; lists again when the log no longer reaches back."""
        backoff, failures = Backoff(), 0
        while True:
            try:
                since = await self._list()
                failures = 0
                await self._watch(since)
            except Gone:
                log.info("listing anew", loop="garbage")
            except StoreError as error:
                failures += 1
                log.warning("watch broken", loop="garbage", error=str(error))
                await asyncio.sleep(backoff.after(failures))

    async def _list(self) -> Revision:
        since, graph, concerned = await self._store.objects.revision(), Graph(), set[Key]()
        for kind in ALL:
            after: Key | None = None
            while True:
                page = await self._store.objects.list(Scope(kind.resource), limit=PAGE, after=after)
                for stored in page.items:
                    concerned |= graph.note(stored)
                if not page.remaining:
                    break
                after = page.items[-1].key
        self._graph = graph
        self._tell(concerned)
        await self._at(since)
        return since

    async def _watch(self, since: Revision) -> None:
        async with self._store.objects.watch(Scope(None), since) as watch:
            async for event in watch:
                self._tell(self._noted(event))
                for ready in watch.ready():
                    self._tell(self._noted(ready))
                await self._at(watch.revision)

    def _noted(self, event: Event) -> set[Key]:
        return self._graph.forget(event.object) if event.type is EventType.DELETED else self._graph.note(event.object)

    def _tell(self, concerned: set[Key]) -> None:
        for key in concerned:
            self._concerned(key)

    async def _at(self, revision: Revision) -> None:
        async with self._moved:
            self._revision = revision
            self._moved.notify_all()

"""Events are written into the store with what they tell of, and from there told to the cluster: each, however long it is away.

The store is the queue, so it survives everybody. What is told carries how often it had happened by then, so that telling twice
changes nothing. An Event that the cluster never took, because it is away for longer than Events are kept, its namespace is
gone, or too many wait, is counted and logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from app.cluster.base import Cluster, ClusterError, Refused
from app.controllers.loop import Loop, Source
from app.controllers.outcome import SETTLED, Again, Outcome
from app.kinds import EVENT
from app.machinery.kind import CORE, KUBEVIRT
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Store, Stored

log = structlog.get_logger()

TOLD = "kubevirt.io/told"
"""Annotation of the stored Event: up to which count the cluster knows of it."""
WAITING_MOST = 10_000
"""Events that may wait for the cluster; each is about a kilobyte."""
HOLD_OFF_S = 5.0
"""How long nothing is sent to a cluster that did not take the last Event."""
_TERMINATING = "NamespaceTerminating"


class Tally(Protocol):
    """Counts what becomes of Events: told, lost."""

    def told(self) -> None: ...

    def lost(self, why: str) -> None: ...

    def waiting(self, number: int) -> None: ...


class EventForwarder:
    """Runs under a lease: one process tells for all. What is told twice all the same stays one Event there."""

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        tally: Tally,
        *,
        waiting_most: int = WAITING_MOST,
        hold_off_s: float = HOLD_OFF_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._tally = tally
        self._waiting_most = waiting_most
        self._hold_off_s = hold_off_s
        self._clock = clock
        self._waiting: set[Key] = set()
        self._away_until = 0.0
        self._said = ""

    async def run(self) -> None:
        """Until cancelled."""
        sources = [Source(Scope(EVENT.resource))]
        await Loop("events", self._store, sources, self.reconcile, clock=self._clock).run()

    async def reconcile(self, key: Key) -> Outcome:
        try:
            stored = await self._store.objects.get(key)
        except NotFound:
            if key in self._waiting:
                self._lose(key, "kept no longer")
            return SETTLED
        if is_told(stored.document):
            return SETTLED
        left_s = self._away_until - self._clock()
        if left_s > 0:
            return await self._wait(stored, left_s)
        return await self._tell(stored)

    async def _tell(self, stored: Stored) -> Outcome:
        try:
            await self._send(stored.document)
        except Refused as error:
            if error.code == 404 or _TERMINATING in error.causes:
                return await self._drop(stored, "its namespace is gone")
            if error.code in (400, 422):
                return await self._drop(stored, f"refused: {error}")
            return await self._put_off(stored, error)
        except ClusterError as error:
            return await self._put_off(stored, error)
        await self._mark(stored)
        self._waiting.discard(stored.key)
        self._tally.told()
        self._tally.waiting(len(self._waiting))
        if self._said:
            log.info("the cluster takes events again", waiting=len(self._waiting))
            self._said = ""
        return SETTLED

    async def _send(self, event: Document) -> None:
        """Created, or changed where it was told before; one that has expired there is created again."""
        theirs = of_cluster(event)
        collection = f"/api/v1/namespaces/{theirs['metadata']['namespace']}/events"
        item = f"{collection}/{theirs['metadata']['name']}"
        again = {"count": theirs["count"], "lastTimestamp": theirs["lastTimestamp"], "message": theirs["message"]}
        if TOLD in (event["metadata"].get("annotations") or {}):
            try:
                await self._cluster.merge(item, again)
            except Refused as error:
                if error.code != 404:
                    raise
            else:
                return
        try:
            await self._cluster.create(collection, theirs)
        except Refused as error:
            if error.reason != "AlreadyExists":
                raise
            await self._cluster.merge(item, again)

    async def _drop(self, stored: Stored, why: str) -> Outcome:
        """Nobody will take it: said here, once, and not tried again."""
        await self._mark(stored)
        self._lose(stored.key, why, stored.document)
        return SETTLED

    async def _mark(self, stored: Stored) -> None:
        """Raises Conflict when it has happened again meanwhile: then it is told again, with the new count."""
        document = stored.document
        annotations = {**(document["metadata"].get("annotations") or {}), TOLD: str(_count(document))}
        metadata = {**document["metadata"], "annotations": annotations}
        await self._store.objects.replace(stored.key, {**document, "metadata": metadata})

    def _lose(self, key: Key, why: str, event: Document | None = None) -> None:
        self._waiting.discard(key)
        self._tally.lost(why.partition(":")[0])
        self._tally.waiting(len(self._waiting))
        told = {} if event is None else {"reason": event.get("reason"), "message": event.get("message")}
        log.warning(
            "event lost: the cluster never took it", namespace=key.namespace, event_name=key.name, why=why, **told
        )

    async def _put_off(self, stored: Stored, error: ClusterError) -> Outcome:
        self._away_until = self._clock() + self._hold_off_s
        if str(error) != self._said:
            log.warning("the cluster takes no events; they wait", waiting=len(self._waiting) + 1, error=str(error))
            self._said = str(error)
        return await self._wait(stored, self._hold_off_s)

    async def _wait(self, stored: Stored, wait_s: float) -> Outcome:
        if stored.key not in self._waiting and len(self._waiting) >= self._waiting_most:
            return await self._drop(stored, "too many wait")
        self._waiting.add(stored.key)
        self._tally.waiting(len(self._waiting))
        return Again(wait_s)


def is_told(event: Document) -> bool:
    """Does the cluster know of it, as often as it has happened?"""
    return (event["metadata"].get("annotations") or {}).get(TOLD) == str(_count(event))


def of_cluster(event: Document) -> Document:
    """The Event as the cluster is to have it: nodes and pods of ours are not those of the cluster's core group."""
    involved = dict(event.get("involvedObject") or {})
    if involved.get("apiVersion") == str(CORE) and involved.get("kind") in ("Node", "Pod"):
        involved["apiVersion"] = str(KUBEVIRT)
    metadata = {name: event["metadata"][name] for name in ("name", "namespace")}
    told = ("reason", "message", "type", "source", "reportingComponent", "firstTimestamp", "lastTimestamp")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": involved,
        **{name: event[name] for name in told if event.get(name) is not None},
        "count": _count(event),
    }


def _count(event: Document) -> int:
    return int(event.get("count") or 1)

"""Keeping in memory what is stored: listed once, then followed by the store's own watch. Each process does it for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog

from app.machinery.objects import Document
from app.store.base import Event, EventType, Gone, Objects, Scope, StoreError

log = structlog.get_logger()

RETRY_S = 1.0
"""After the store did not answer; what was known before goes on to count."""


class Kept(Protocol):
    """Holds what is followed."""

    def replace(self, resource: str, documents: Iterable[Document]) -> None:
        """These are all that there are."""

    def put(self, resource: str, document: Document) -> None: ...

    def remove(self, resource: str, document: Document) -> None: ...


class Following:
    """A change counts in every process a moment after it was written."""

    def __init__(self, objects: Objects, resources: Sequence[str], kept: Kept) -> None:
        self._objects = objects
        self._resources = tuple(resources)
        self._kept = kept

    async def load(self) -> None:
        """Reads all of them once, so that the first request is judged by them. Raises StoreError."""
        for resource in self._resources:
            await self._list(resource)

    async def run(self) -> None:
        """Follows them until it is cancelled."""
        async with asyncio.TaskGroup() as following:
            for resource in self._resources:
                following.create_task(self._follow(resource))

    async def _list(self, resource: str) -> int:
        listing = await self._objects.list(Scope(resource))
        self._kept.replace(resource, (stored.document for stored in listing.items))
        return listing.revision

    async def _follow(self, resource: str) -> None:
        while True:
            try:
                since = await self._list(resource)
                async with self._objects.watch(Scope(resource), since) as changes:
                    async for change in changes:
                        self._apply(resource, change)
            except Gone:
                log.info("listed anew: the log is compacted", resource=resource)
            except StoreError as error:
                log.warning("what is known may be out of date", resource=resource, error=repr(error))
                await asyncio.sleep(RETRY_S)

    def _apply(self, resource: str, change: Event) -> None:
        if change.type is EventType.DELETED:
            self._kept.remove(resource, change.object.document)
        else:
            self._kept.put(resource, change.object.document)

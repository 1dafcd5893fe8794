"""Who may do what by the roles that are stored: kept in memory, and followed by the store's own watch."""

from __future__ import annotations

import asyncio

import structlog

from app.machinery.access import Attributes, User, Verdict
from app.machinery.bindings import RESOURCES, Bindings
from app.store.base import Event, EventType, Gone, Objects, Scope, StoreError

log = structlog.get_logger()

RETRY_S = 1.0
"""After the store did not answer; what was known before goes on to count."""


class Roles:
    """Judges by roles and bindings. Several processes each follow them: a change counts everywhere a moment later."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.bindings = Bindings()

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        return self.bindings.judge(user, asked)

    async def load(self) -> None:
        """Reads all of them once, so that the first request is judged by them. Raises StoreError."""
        for resource in RESOURCES:
            await self._list(resource)

    async def run(self) -> None:
        """Follows them until it is cancelled."""
        async with asyncio.TaskGroup() as following:
            for resource in RESOURCES:
                following.create_task(self._follow(resource))

    async def _list(self, resource: str) -> int:
        listing = await self._objects.list(Scope(resource))
        self.bindings.replace(resource, (stored.document for stored in listing.items))
        return listing.revision

    async def _follow(self, resource: str) -> None:
        while True:
            try:
                since = await self._list(resource)
                async with self._objects.watch(Scope(resource), since) as changes:
                    async for change in changes:
                        self._apply(resource, change)
            except Gone:
                log.info("roles are listed anew: their log is compacted", resource=resource)
            except StoreError as error:
                log.warning("roles may be out of date", resource=resource, error=repr(error))
                await asyncio.sleep(RETRY_S)

    def _apply(self, resource: str, change: Event) -> None:
        if change.type is EventType.DELETED:
            self.bindings.remove(resource, change.object.document)
        else:
            self.bindings.put(resource, change.object.document)

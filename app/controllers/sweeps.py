"""What goes with time: old Events, Events of namespaces that are gone, old entries of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import structlog

from app.controllers.config import HostConfig
from app.controllers.guards import DEFAULT_NAMESPACE
from app.controllers.tools import Tools
from app.kinds import EVENT, NAMESPACE
from app.machinery.objects import Document
from app.store.base import Conflict, Key, NotFound, Scope, Stored, StoreError

log = structlog.get_logger()

PAGE = 500
"""Events that are read at once."""
AT_ONCE = 50
"""Events that are deleted beside one another, so that their writes share a commit."""


class Sweeps:
    """Runs under the lease `controllers`."""

    def __init__(self, tools: Tools, config: HostConfig) -> None:
        self._tools = tools
        self._config = config

    async def run(self) -> None:
        """Until cancelled."""
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
        await self._tools.store.history.forget(self._config.history_retention)

    async def _expire_events(self) -> None:
        """A controller may tell of an object after the namespace of both has gone: such an Event is nobody's."""
        before = self._tools.birth.now() - self._config.event_ttl
        namespaces = (await self._tools.store.objects.list(Scope(NAMESPACE.resource))).items
        rooms = {DEFAULT_NAMESPACE, *(stored.key.name for stored in namespaces)}
        old = [
            stored
            async for stored in self._events()
            if _last_seen(stored.document) < before or stored.key.namespace not in rooms
        ]
        for number in range(0, len(old), AT_ONCE):
            await asyncio.gather(*map(self._expire, old[number : number + AT_ONCE]))

    async def _events(self) -> AsyncIterator[Stored]:
        """Page by page, so that never all of them are held."""
        after: Key | None = None
        while True:
            page = (await self._tools.store.objects.list(Scope(EVENT.resource), limit=PAGE, after=after, left=0)).items
            for stored in page:
                yield stored
            if len(page) < PAGE:
                return
            after = page[-1].key

    async def _expire(self, stored: Stored) -> None:
        """An Event that is counted again at this moment stays."""
        try:
            await self._tools.store.objects.delete(stored.key, revision=stored.revision)
        except (Conflict, NotFound):
            return


def _last_seen(event: Document) -> datetime:
    """Of what happened long before it was told, that is when it was told."""
    stamps = (event["metadata"]["creationTimestamp"], event.get("lastTimestamp"), event.get("eventTime"))
    return max(datetime.fromisoformat(stamp) for stamp in stamps if stamp)

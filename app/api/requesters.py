"""Who asked for a change of the objects whose history is kept: noted beside the request, and written together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection

import structlog

from app.api.audit import Audited, source_ips
from app.store.base import Asked, History, StoreError

log = structlog.get_logger()

AT_MOST = 10_000
"""Requests that wait for a database that is away; of more, the oldest are forgotten, and that is told."""
RETRY_S = 1.0
LEAVE_S = 2.0
"""How long the last ones may take when the process ends."""


class Requesters:
    """An audit sink. `resources` are those of the objects: plural and group, as in the store's keys."""

    def __init__(self, history: History, resources: Collection[str]) -> None:
        self._history = history
        self._resources = resources
        self._waiting: deque[Asked] = deque(maxlen=AT_MOST)
        self._arrived = asyncio.Event()

    def take(self, audited: Audited) -> None:
        """Of writes that were done, those of the resources."""
        asked, uid = audited.request.attributes, audited.object.get("uid")
        resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
        if resource not in self._resources or not uid or audited.request.method == "GET":
            return
        if len(self._waiting) == AT_MOST:
            log.error(
                "who asked is forgotten: the database has been away for too long", audit_id=self._waiting[0].audit_id
            )
        user = audited.request.user
        self._waiting.append(
            Asked(
                audited.request.audit_id.decode("latin-1"), str(uid), audited.received, asked.verb,
                user.name, user.groups, next(iter(source_ips(audited.request)), ""),
                audited.request.header(b"user-agent")[:256], audited.code,
            )
        )  # fmt: skip
        self._arrived.set()

    async def run(self) -> None:
        """Until cancelled; what has arrived by then is written."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                await self._write()
        except asyncio.CancelledError:
            await self._leave()
            raise

    async def _write(self) -> None:
        while self._waiting:
            together = list(self._waiting)
            try:
                await self._history.asked(together)
            except StoreError as error:
                log.warning("who asked is not written yet", requests=len(together), error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            for _ in range(min(len(together), len(self._waiting))):
                self._waiting.popleft()

    async def _leave(self) -> None:
        if not self._waiting:
            return
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._history.asked(list(self._waiting))
        except (StoreError, TimeoutError) as error:
            log.error("who asked is lost", requests=len(self._waiting), error=str(error))

"""Following a collection of the cluster: list, watch, and list again; what was known stays known while it is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from app.cluster.base import NOTHING, Change, Cluster, ClusterError, Refused
from app.machinery.objects import Document

log = structlog.get_logger()

FIRST_S, LONGEST_S = 0.8, 30.0
"""The wait after a failure, and at most: a reflector's."""
PAGE = 500


class Follower:
    """Tells a collection, or by a field selector one object of it, from the first list on. Both callbacks may raise
    ClusterError: then everything is listed again."""

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        listed: Callable[[Sequence[Document]], Awaitable[None]],
        changed: Callable[[Change], Awaitable[None]],
        *,
        query: Mapping[str, str] = NOTHING,
        hint: str = "",
        first_s: float = FIRST_S,
    ) -> None:
        """`hint` mends a 403."""
        self._cluster = cluster
        self._path = path
        self._listed = listed
        self._changed = changed
        self._query = query
        self._hint = hint
        self._first_s = first_s
        self.synced = asyncio.Event()
        """Set once everything has been listed for the first time."""

    async def run(self) -> None:
        """Until cancelled."""
        failures, said = 0, ""
        while True:
            try:
                since = await self._list()
                if said:
                    log.info("the cluster answers again", path=self._path)
                failures, said = 0, ""
                await self._watch(since)
            except Refused as error:
                if error.code == 410:
                    continue
                failures, said = failures + 1, self._tell(error, said)
                await asyncio.sleep(self._wait_s(failures))
            except ClusterError as error:
                failures, said = failures + 1, self._tell(error, said)
                await asyncio.sleep(self._wait_s(failures))

    async def _list(self) -> str:
        items: list[Document] = []
        after = ""
        while True:
            paging = {"limit": str(PAGE)} | ({"continue": after} if after else {})
            page = await self._cluster.get(self._path, {**self._query, **paging})
            items.extend(page.get("items") or ())
            metadata = page.get("metadata") or {}
            after = str(metadata.get("continue") or "")
            if not after:
                await self._listed(items)
                self.synced.set()
                return str(metadata.get("resourceVersion") or "")

    async def _watch(self, since: str) -> None:
        """Watches again from where the last one ended, until one is refused."""
        while True:
            async with self._cluster.watch(self._path, since, self._query) as changes:
                async for change in changes:
                    if change.type != "BOOKMARK":
                        await self._changed(change)
                    since = str((change.object.get("metadata") or {}).get("resourceVersion") or since)

    def _tell(self, error: ClusterError, said: str) -> str:
        """Once for as long as it is the same."""
        if str(error) != said:
            forbidden = isinstance(error, Refused) and error.code == 403
            hint = {"hint": self._hint} if forbidden and self._hint else {}
            log.warning("the cluster does not tell; what was known stays", path=self._path, error=str(error), **hint)
        return str(error)

    def _wait_s(self, failures: int) -> float:
        wait_s: float = min(LONGEST_S, self._first_s * 2.0 ** min(failures - 1, 16))
        return wait_s * random.uniform(1.0, 1.5)

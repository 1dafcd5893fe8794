"""The link to the cluster: what one process does for all while it holds the lease `cluster`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from app.controllers.lease import LeaseKeeper
from app.store.base import LeaseLost

log = structlog.get_logger()

LEASE = "cluster"


class ClusterLink:
    """Runs until cancelled; its parts only while the lease is held."""

    def __init__(self, keeper: LeaseKeeper, parts: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._keeper = keeper
        self._parts = parts

    async def run(self) -> None:
        while True:
            try:
                async with self._keeper.hold(LEASE) as held, asyncio.TaskGroup() as tasks:
                    log.info("linked to the cluster", holder=self._keeper.holder, token=held.token)
                    for part in self._parts:
                        tasks.create_task(_until_cancelled(part))
            except LeaseLost:
                log.warning("no longer linked to the cluster", holder=self._keeper.holder)


async def _until_cancelled(part: Callable[[], Awaitable[None]]) -> None:
    await part()

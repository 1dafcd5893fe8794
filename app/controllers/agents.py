"""The agents of this process: one for each host that it serves, as the hosts are shared out among all processes."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from app.controllers.config import HostConfig
from app.controllers.hosts import Hosts
from app.controllers.lease import Held, LeaseKeeper
from app.controllers.node import NodeAgent
from app.controllers.sharing import share
from app.controllers.tools import Tools
from app.kinds import NODE
from app.store.base import Lease, LeaseLost, Scope, StoreError

log = structlog.get_logger()

MEMBER = "agents/"
"""Lease of each process that serves hosts, followed by its identity: who is there to share them."""
SERVES = "node/"
"""Lease of each host's agent, followed by the Node's name."""


class Lapses:
    """Tells a lease that lapsed, because its holder died or froze, from one that was given back: by how long it had
    stood without being renewed when it went."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._seen: dict[str, tuple[datetime, float]] = {}

    def saw(self, leases: list[Lease], now: float) -> None:
        """All leases that have not lapsed."""
        for lease in leases:
            until, _ = self._seen.get(lease.name, (None, now))
            if until != lease.until:
                self._seen[lease.name] = (lease.until, now)

    def lapsed(self, name: str, now: float) -> bool:
        """Asked of a name that is free now."""
        seen = self._seen.get(name)
        return seen is not None and now - seen[1] >= self._ttl_s * 0.6


class NodeAgents:
    """Runs until cancelled; each agent under its own lease, and none longer."""

    def __init__(self, keeper: LeaseKeeper, tools: Tools, hosts: Hosts, config: HostConfig) -> None:
        self._keeper = keeper
        self._tools = tools
        self._hosts = hosts
        self._config = config
        self._lapses = Lapses(keeper.renew_s * 3)
        self._agents: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        while True:
            try:
                async with self._keeper.hold(MEMBER + self._keeper.holder), asyncio.TaskGroup() as tasks:
                    await self._share_out(tasks)
            except LeaseLost:
                log.warning("no longer counted among those that serve hosts", holder=self._keeper.holder)

    async def _share_out(self, tasks: asyncio.TaskGroup) -> None:
        self._agents.clear()
        while True:
            try:
                await self._step(tasks)
            except StoreError as error:
                log.warning("hosts not shared out", error=str(error))
            await asyncio.sleep(self._config.share_s)

    async def _step(self, tasks: asyncio.TaskGroup) -> None:
        leases = list(await self._tools.store.leases.held())
        listing = await self._tools.store.objects.list(Scope(NODE.resource))
        self._lapses.saw(leases, self._tools.clock())
        members = [lease.holder for lease in leases if lease.name.startswith(MEMBER)]
        served = {lease.name.removeprefix(SERVES): lease.holder for lease in leases if lease.name.startswith(SERVES)}
        me = self._keeper.holder
        # A lease that an earlier life of this process left is ours, but nobody serves under it.
        served = {name: who for name, who in served.items() if who != me or name in self._agents}
        mine = share(me, members, [stored.key.name for stored in listing.items], served)
        for name in mine.give_up:
            self._agents[name].cancel()
        for name in mine.take:
            await self._take(tasks, name)

    async def _take(self, tasks: asyncio.TaskGroup, name: str) -> None:
        if name in self._agents:
            return
        held = await self._keeper.try_acquire(SERVES + name)
        if held is not None:
            self._agents[name] = tasks.create_task(self._serve(name, held))

    async def _serve(self, name: str, held: Held) -> None:
        now = self._tools.clock()
        lapsed = self._lapses.lapsed(held.name, now)
        may_end_at = self._tools.birth.now().timestamp() + self._config.takeover_s if lapsed else 0.0
        log.info("serving host", node=name, holder=self._keeper.holder, token=held.token, lapsed=lapsed)
        try:
            async with self._keeper.holding(held):
                await NodeAgent(name, held, self._tools, self._hosts, self._config, may_end_at).run()
        except LeaseLost:
            log.warning("lease of host lost", node=name, holder=self._keeper.holder)
        finally:
            del self._agents[name]

"""The agents of this process: one for each host that it serves, as the hosts are shared out among all processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

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


SLACK_S = 3.0
"""How far this machine's clock may be off the database's when the end of a lease is judged. A lease that is given back
has far more left."""


class Lapses:
    """Tells a lease that lapsed, because its holder died or froze, from one that was given back before its end."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lapsed: set[str] = set()

    def saw(self, leases: Iterable[Lease], now: float) -> None:
        """All leases that have not lapsed; now in seconds since the epoch."""
        standing = {lease.name: lease.until.timestamp() for lease in leases}
        ended = {name: until for name, until in self._until.items() if name not in standing}
        self._lapsed -= standing.keys()
        self._lapsed |= {name for name, until in ended.items() if now >= until - SLACK_S}
        self._until = standing

    def __contains__(self, name: str) -> bool:
        """It lapsed, and nobody was seen to hold it since."""
        return name in self._lapsed


class NodeAgents:
    """Runs until cancelled; each agent under its own lease, and none longer."""

    def __init__(self, keeper: LeaseKeeper, tools: Tools, hosts: Hosts, config: HostConfig) -> None:
        self._keeper = keeper
        self._tools = tools
        self._hosts = hosts
        self._config = config
        self._lapses = Lapses()
        self._agents: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[str] = set()

    async def run(self) -> None:
        while True:
            try:
                async with self._keeper.hold(MEMBER + self._keeper.holder), asyncio.TaskGroup() as tasks:
                    await self._share_out(tasks)
            except LeaseLost:
                log.warning("no longer counted among those that serve hosts", holder=self._keeper.holder)

    async def _share_out(self, tasks: asyncio.TaskGroup) -> None:
        self._agents.clear()
        self._leaving.clear()
        while True:
            try:
                await self._step(tasks)
            except StoreError as error:
                log.warning("hosts not shared out", error=str(error))
            await asyncio.sleep(self._config.share_s)

    async def _step(self, tasks: asyncio.TaskGroup) -> None:
        leases = list(await self._tools.store.leases.held())
        listing = await self._tools.store.objects.list(Scope(NODE.resource))
        self._lapses.saw(leases, self._tools.birth.now().timestamp())
        members = [lease.holder for lease in leases if lease.name.startswith(MEMBER)]
        served = {lease.name.removeprefix(SERVES): lease.holder for lease in leases if lease.name.startswith(SERVES)}
        me = self._keeper.holder
        # A lease that an earlier life of this process left is ours, but nobody serves under it.
        served = {name: who for name, who in served.items() if who != me or name in self._agents}
        mine = share(me, members, [stored.key.name for stored in listing.items], served)
        for name in mine.give_up:
            if name not in self._leaving:
                self._leaving.add(name)
                self._agents[name].cancel()
        for name in mine.take:
            await self._take(tasks, name)

    async def _take(self, tasks: asyncio.TaskGroup, name: str) -> None:
        if name in self._agents:
            return
        held = await self._keeper.try_acquire(SERVES + name)
        if held is not None:
            self._agents[name] = tasks.create_task(self._serve(name, held, held.name in self._lapses))

    async def _serve(self, name: str, held: Held, taken_over: bool) -> None:
        now = self._tools.birth.now().timestamp()
        may_end_at = now + self._config.takeover_s if taken_over else 0.0
        log.info("serving host", node=name, holder=self._keeper.holder, token=held.token, taken_over=taken_over)
        try:
            async with self._keeper.holding(held):
                await NodeAgent(name, held, self._tools, self._hosts, self._config, may_end_at).run()
        except LeaseLost:
            log.warning("lease of host lost", node=name, holder=self._keeper.holder)
        finally:
            del self._agents[name]
            self._leaving.discard(name)

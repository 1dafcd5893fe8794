"""The agents of this process: one for each host that it serves, as the hosts are shared out among all processes."""

from __future__ import annotations

import asyncio

import structlog

from app.controllers.config import HostConfig
from app.controllers.hosts import Hosts
from app.controllers.lease import Held, LeaseKeeper
from app.controllers.node import NodeAgent
from app.controllers.sharing import share
from app.controllers.tools import Tools
from app.controllers.virtualmachine.follow import Inheritance
from app.controllers.virtualmachine.schedule import node_of
from app.kinds import NODE, VIRTUAL_MACHINE
from app.store.base import LeaseLost, Scope, StoreError

log = structlog.get_logger()

MEMBER = "agents/"
"""Lease of each process that serves hosts, followed by its identity: who is there to share them."""
SERVES = "node/"
"""Lease of each host's agent, followed by the Node's name."""


class NodeAgents:
    """Runs until cancelled; each agent under its own lease, and none longer."""

    def __init__(self, keeper: LeaseKeeper, tools: Tools, hosts: Hosts, config: HostConfig) -> None:
        self._keeper = keeper
        self._tools = tools
        self._hosts = hosts
        self._config = config
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
            inheritance = await self._inheritance(name, held)
            self._agents[name] = tasks.create_task(self._serve(name, held, inheritance))

    async def _inheritance(self, name: str, held: Held) -> Inheritance:
        """Read after the lease was taken: what is bound to the host later, no former agent has ever seen."""
        quiet_s = held.quiet_s(self._config.takeover_s)
        if not quiet_s:
            return Inheritance()
        listing = await self._tools.store.objects.list(Scope(VIRTUAL_MACHINE.resource))
        here = (stored.document for stored in listing.items if node_of(stored.document) == name)
        until = self._tools.birth.now().timestamp() + quiet_s
        return Inheritance(frozenset(vm["metadata"]["uid"] for vm in here), until)

    async def _serve(self, name: str, held: Held, inheritance: Inheritance) -> None:
        log.info(
            "serving host", node=name, holder=self._keeper.holder, token=held.token, inherited=len(inheritance.guests)
        )
        try:
            async with self._keeper.holding(held):
                await NodeAgent(name, held, self._tools, self._hosts, self._config, inheritance).run()
        except LeaseLost:
            log.warning("lease of host lost", node=name, holder=self._keeper.holder)
        finally:
            del self._agents[name]
            self._leaving.discard(name)

"""The hosts' side as one part for wiring: this process's agents, and, while it leads, what is done once for all."""

from __future__ import annotations

import asyncio

from app.controllers.agents import NodeAgents
from app.controllers.config import HostConfig
from app.controllers.hosts import Hosts
from app.controllers.leader import Leader
from app.controllers.lease import LeaseKeeper
from app.controllers.tools import Tools
from app.hypervisor.base import Hypervisors
from app.store.base import Store


class HostControllers:
    """`keeper` is this process's only one; it is run by wiring, or by whoever else shares it, not here."""

    def __init__(
        self,
        store: Store,
        hypervisors: Hypervisors,
        keeper: LeaseKeeper,
        config: HostConfig | None = None,
        tools: Tools | None = None,
    ) -> None:
        self._tools = tools or Tools(store)
        self._keeper = keeper
        self._config = config or HostConfig()
        self._hosts = Hosts(hypervisors, clock=self._tools.clock)

    async def run(self) -> None:
        """Until cancelled: then leases are given back and connections closed; no guest is disturbed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Leader(self._keeper, self._tools, self._config).run())
                tasks.create_task(NodeAgents(self._keeper, self._tools, self._hosts, self._config).run())
        finally:
            await self._hosts.close()

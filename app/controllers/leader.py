"""What one process does for all: place VirtualMachines, collect garbage, end namespaces, notice hosts that nobody serves."""

from __future__ import annotations

import asyncio

import structlog

from app.controllers.agents import SERVES
from app.controllers.config import HostConfig
from app.controllers.drains import Drains
from app.controllers.garbage import Garbage
from app.controllers.history import History
from app.controllers.lease import Held, LeaseKeeper
from app.controllers.loop import Loop
from app.controllers.namespaces import Namespaces
from app.controllers.nodestatus import with_ready
from app.controllers.sweeps import Sweeps
from app.controllers.tools import Tools
from app.controllers.virtualmachine.schedule import Scheduler
from app.kinds import NODE
from app.kinds.node import Reason
from app.store.base import LeaseLost, Scope, Stored, StoreError

log = structlog.get_logger()

LEADS = "controllers"


class Leader:
    """Runs until cancelled; its work only while the lease `controllers` is held."""

    def __init__(self, keeper: LeaseKeeper, tools: Tools, config: HostConfig) -> None:
        self._keeper = keeper
        self._tools = tools
        self._config = config

    async def run(self) -> None:
        while True:
            try:
                async with self._keeper.hold(LEADS) as held, asyncio.TaskGroup() as tasks:
                    log.info("leading", holder=self._keeper.holder, token=held.token)
                    self._begin(held, tasks)
            except LeaseLost:
                log.warning("no longer leading", holder=self._keeper.holder)

    def _begin(self, held: Held, tasks: asyncio.TaskGroup) -> None:
        scheduler, namespaces = Scheduler(self._tools, held), Namespaces(self._tools, held, self._config)
        drains = Drains(self._tools, held)
        history = History(self._tools, held, self._config.kept)
        clock, told = self._tools.clock, self._tools.loops
        for loop in (
            Loop("schedule", self._tools.store, scheduler.sources(), scheduler.reconcile, clock=clock, metrics=told),
            Loop(
                "namespaces", self._tools.store, namespaces.sources(), namespaces.reconcile, clock=clock, metrics=told
            ),
            Loop("drains", self._tools.store, drains.sources(), drains.reconcile, clock=clock, metrics=told),
            Loop("history", self._tools.store, history.sources(), history.reconcile, clock=clock, metrics=told),
        ):
            tasks.create_task(loop.run())
        tasks.create_task(Garbage(self._tools, held, self._config).run())
        tasks.create_task(Sweeps(self._tools, self._config).run())
        tasks.create_task(Unserved(self._tools, held, self._config).run())


class Unserved:
    """A Node whose agent is missing, because no process could take its lease, is Unknown until one does."""

    def __init__(self, tools: Tools, held: Held, config: HostConfig) -> None:
        self._tools = tools
        self._held = held
        self._config = config
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            try:
                await self._look()
            except StoreError as error:
                log.warning("unserved nodes not looked for", error=str(error))
            await asyncio.sleep(self._config.unserved_s / 4)

    async def _look(self) -> None:
        served = {lease.name for lease in await self._tools.store.leases.held()}
        now = self._tools.clock()
        for stored in (await self._tools.store.objects.list(Scope(NODE.resource))).items:
            if SERVES + stored.key.name in served:
                self._since.pop(stored.key.name, None)
            elif now - self._since.setdefault(stored.key.name, now) >= self._config.unserved_s:
                await self._say(stored)

    async def _say(self, stored: Stored) -> None:
        message = "no worker has asked the host for a while: check that `drover work` runs"
        told = with_ready(stored.document, "Unknown", Reason.HEARTBEAT_MISSED, message, self._tools.birth.stamp())
        if told != stored.document:
            async with self._tools.store.transaction() as tx:
                tx.fence_lease(self._held.name, self._held.token)
                tx.replace(stored.key, told)

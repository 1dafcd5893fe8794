"""Going on with a post-copy that broke: again and again, less and less often, until the guest is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.controllers.migration.destination import destination
from app.controllers.migration.move import Move
from app.controllers.queue import Backoff
from app.hypervisor.base import HypervisorError


class Recovery:
    """One attempt at a time; nothing else is ever done to a guest that is on two hosts by halves."""

    def __init__(self, move: Move) -> None:
        self._move = move
        self._backoff = Backoff()
        self._failures = 0
        self._not_before_s = 0.0
        self._under_way: asyncio.Task[None] | None = None

    async def attempt(self) -> None:
        """Begins one if it is time; the caller sees on the hosts what comes of it. Raises LeaseLapsed."""
        loop = asyncio.get_running_loop()
        if self._under_way is not None and not self._under_way.done():
            return
        if loop.time() < self._not_before_s:
            return
        await self._move.orders.leave_to_act()
        self._not_before_s = loop.time() + self._backoff.after(self._failures + 1)
        self._failures += 1
        self._under_way = asyncio.create_task(self._recover())

    async def close(self) -> None:
        """What was asked of libvirt goes on."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    async def _recover(self) -> None:
        move, to = self._move, destination(self._move.plan)
        move.say("post-copy broke: recovering it")
        try:
            await move.source.ask(lambda host: host.recover(move.plan.domain, to, still=move.orders.require))
        except HypervisorError as error:
            move.say(f"not recovered yet: {error.text}")


@asynccontextmanager
async def recovering(move: Move) -> AsyncIterator[Recovery]:
    """Whatever is under way is no longer followed after the block."""
    recovery = Recovery(move)
    try:
        yield recovery
    finally:
        await recovery.close()

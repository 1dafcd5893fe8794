"""One host of a move, as its process sees it: connected when it is needed, and again after the connection broke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from app.controllers.migration.plan import Place
from app.hypervisor.base import Domain, Hypervisor, HypervisorError, Hypervisors, Unreachable

AnswerT = TypeVar("AnswerT")


class End:
    """A host by its node's name. What it raises is the port's; a broken connection is dropped."""

    def __init__(self, place: Place, hypervisors: Hypervisors) -> None:
        self.node = place.node
        self._place = place
        self._hypervisors = hypervisors
        self._host: Hypervisor | None = None
        self._connecting = asyncio.Lock()

    async def host(self) -> Hypervisor:
        """Raises Unreachable."""
        async with self._connecting:
            if self._host is None:
                self._host = await self._hypervisors.connect(self._place.uri, self._place.credentials)
            return self._host

    async def ask(self, question: Callable[[Hypervisor], Awaitable[AnswerT]]) -> AnswerT:
        """The answer over the connection that stands, or a new one. Raises HypervisorError."""
        host = await self.host()
        try:
            return await question(host)
        except Unreachable:
            await self._drop(host)
            raise

    async def look(self, domain: UUID) -> Domain | None:
        """What the host says of the guest; None when it does not answer."""
        try:
            return await self.ask(lambda host: host.look(domain))
        except HypervisorError:
            return None

    async def close(self) -> None:
        if self._host is not None:
            await self._drop(self._host)

    async def _drop(self, host: Hypervisor) -> None:
        if self._host is host:
            self._host = None
        await host.close()

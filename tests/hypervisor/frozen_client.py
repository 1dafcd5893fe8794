"""A process that asks a host everything at once, again and again: `python -m tests.hypervisor.frozen_client <uri> <seconds>`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from app.hypervisor.base import Hypervisor, HypervisorError
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors

QUESTIONS: tuple[Callable[[Hypervisor], Awaitable[object]], ...] = (
    lambda host: host.host(),
    lambda host: host.domains(),
    lambda host: host.look(uuid4()),
    lambda host: host.find_file("/tmp/nothing"),
)


class Asking:
    """One connection at a time, dialled anew when it broke."""

    def __init__(self, uri: str, until: float) -> None:
        self._uri = uri
        self._until = until
        self._hypervisors = LibvirtHypervisors()
        self._host: Hypervisor | None = None
        self._dialling = asyncio.Lock()
        self.answers = 0

    async def ask(self, question: Callable[[Hypervisor], Awaitable[object]]) -> None:
        while time.monotonic() < self._until:
            try:
                async with asyncio.timeout(15):
                    await question(await self._connected())
                self.answers += 1
            except (HypervisorError, TimeoutError):
                pass  # it is frozen
            await asyncio.sleep(0.02)

    async def _connected(self) -> Hypervisor:
        async with self._dialling:
            if self._host is None or not self._host.connected:
                self._host = await self._hypervisors.connect(self._uri)
            return self._host


async def main(uri: str, seconds: float) -> None:
    asking = Asking(uri, time.monotonic() + seconds)
    async with asyncio.TaskGroup() as tasks:
        for question in QUESTIONS * 2:
            tasks.create_task(asking.ask(question))
    print(asking.answers, flush=True)
    os._exit(0)  # a thread that still waits in libvirt is not waited for


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))

"""
A connection and the one thread that speaks over it.

One thread a connection, never two: in libvirt's client before 10.4 (CVE-2024-4418) a thread that waits for an answer leaves
its stack behind in the connection, for the next one that waits there. A host that froze and woke ended the whole process so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import libvirt

from app.hypervisor.base import Unreachable
from app.hypervisor.libvirt_driver.connection import (
    ERRORS,
    Call,
    Errors,
    T,
    dial,
    hang_up_meanwhile,
    listen_for_end,
    translated,
)
from app.hypervisor.threads import Lane


class Line:
    """Dialled when it is first needed, if it was not before. After `end` every call raises Unreachable."""

    def __init__(
        self,
        name: str,
        uri: str,
        connect_s: float,
        ended: Callable[[int], None],
        connection: libvirt.virConnect | None = None,
    ) -> None:
        self.waiting = 0
        """Calls that were not answered yet."""
        self._uri = uri
        self._connect_s = connect_s
        self._ended = ended
        self._lane = Lane(name, 1)
        self._connection = connection
        self._dialling = asyncio.Lock()
        self._over = False

    async def run(self, call: Call[T], errors: Errors = ERRORS) -> T:
        """Raises HypervisorError; Unreachable also where the host lets nobody in."""
        self.waiting += 1
        try:
            connection = await self.dialled()
            return await self._lane.run(partial(translated, call, connection, errors))
        finally:
            self.waiting -= 1

    def end(self, events: Sequence[int] = ()) -> None:
        """Nobody waits for it. `events` are libvirt's numbers of what is listened to, also of what comes of a call under way."""
        if self._over:
            return
        self._over = True
        self._lane.end()
        if self._connection is not None:
            hang_up_meanwhile(self._connection, self._lane, events=events)

    async def dialled(self) -> libvirt.virConnect:
        """At once where it was before. Raises Unreachable, within its deadline."""
        async with self._dialling:
            if self._over:
                raise Unreachable(f"the connection to {self._uri} was closed")
            if self._connection is None:
                connection = await dial(self._uri, self._connect_s)
                if self._over:
                    hang_up_meanwhile(connection)
                    raise Unreachable(f"the connection to {self._uri} was closed")
                self._connection = connection
                await self._lane.run(
                    partial(translated, partial(listen_for_end, ended=self._ended), connection, ERRORS)
                )
            return self._connection

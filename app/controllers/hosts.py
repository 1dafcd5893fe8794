"""This process's connections to hosts: one for each URI and set of credentials, opened when it is first needed, and anew after
it broke."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.controllers.queue import Backoff
from app.hypervisor.base import Hypervisor, HypervisorError, Hypervisors, Unreachable
from app.kinds import names
from app.kinds.node import NodeSpec, NodeStatus
from app.machinery.objects import Object


@dataclass(slots=True)
class _Line:
    """What is known of one URI with one set of credentials."""

    open: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Hypervisor | None = None
    failures: int = 0
    not_before: float = 0.0
    error: str = ""


class Hosts:
    """After a failure a host is left alone for a growing while: who asks meanwhile gets the same answer at once."""

    def __init__(
        self,
        hypervisors: Hypervisors,
        *,
        connect_s: float = 5.0,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hypervisors = hypervisors
        self._connect_s = connect_s
        self._backoff = backoff or Backoff(first_s=0.5, longest_s=5.0)
        self._clock = clock
        self._lines: dict[tuple[str, str], _Line] = {}

    async def of(self, node: Object[NodeSpec, NodeStatus]) -> Hypervisor:
        """The connection to that Node's host. Raises Unreachable with libvirt's words."""
        uri, credentials = node.spec.provider_id, (node.metadata.annotations or {}).get(names.CREDENTIALS) or ""
        line = self._lines.setdefault((uri, credentials), _Line())
        async with line.open:
            if line.connection is not None and not line.connection.connected:
                await self.drop(line.connection)
            if line.connection is None:
                line.connection = await self._connect(uri, credentials, line)
            return line.connection

    async def drop(self, connection: Hypervisor) -> None:
        """It broke, or does not answer: close it, so that the next `of` opens another. Twice is harmless."""
        for line in self._lines.values():
            if line.connection is connection:
                line.connection = None
        await _close(connection)

    async def close(self) -> None:
        """All of them."""
        for line in self._lines.values():
            if line.connection is not None:
                await self.drop(line.connection)

    async def _connect(self, uri: str, credentials: str, line: _Line) -> Hypervisor:
        if self._clock() < line.not_before:
            raise Unreachable(line.error)
        try:
            async with asyncio.timeout(self._connect_s):
                connection = await self.hypervisors.connect(uri, credentials)
        except TimeoutError:
            raise self._failed(line, f"no answer from {uri} within {self._connect_s:g} s") from None
        except Unreachable as error:
            raise self._failed(line, error.text) from error
        line.failures = 0
        return connection

    def _failed(self, line: _Line, text: str) -> Unreachable:
        line.failures += 1
        line.error = text
        line.not_before = self._clock() + self._backoff.after(line.failures)
        return Unreachable(text)


async def _close(connection: Hypervisor) -> None:
    """A connection that is broken may say so when it is closed: it is closed all the same."""
    try:
        async with asyncio.timeout(5.0):
            await connection.close()
    except (HypervisorError, TimeoutError):
        return

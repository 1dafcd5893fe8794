"""A lab: local hosts, registered as Nodes of a Drover, and taken away again without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.kubeconfig import Way
from app.lab.errors import LabError
from app.lab.hosts import LabHosts
from app.lab.registration import Silent, registration

__all__ = ["LabError", "down", "up"]


async def up(directory: Path, nodes: int, way: Way) -> LabHosts:
    """node0, node1, …: started, or brought back where they died, and registered. Twice is harmless."""
    standing = {host.name for host in LabHosts.of(directory)}
    names = sorted(standing | {f"node{number}" for number in range(nodes)}, key=lambda name: (len(name), name))
    hosts = LabHosts(directory, names)
    async with registration(hosts, way) as drover:
        await drover.knows_us()  # where no Drover answers, no host is started
        await _to_its_end(hosts.start)
        await drover.register()
    return hosts


async def down(directory: Path, way: Way | None) -> None:
    """
    The guests go through Drover's API while it answers, then Nodes, processes and files. No process and no file is left,
    whatever died before; a LabError afterwards says what Drover would not let go.
    """
    hosts = LabHosts.of(directory)
    try:
        if way is not None:
            with suppress(Silent):
                await _withdraw(hosts, way)
    finally:
        await _to_its_end(hosts.remove)


async def _withdraw(hosts: LabHosts, way: Way) -> None:
    async with registration(hosts, way) as drover:
        if await drover.knows_us():
            await _to_its_end(hosts.start)
            await drover.withdraw()


async def _to_its_end(work: Callable[[], None]) -> None:
    """In a thread, and not left half done by a Ctrl-C: a thread cannot be interrupted, so it is waited for."""
    working = asyncio.create_task(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise

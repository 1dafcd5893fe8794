"""Connections to a host that are lost and made again: each leaves neither a descriptor nor a thread behind."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.hypervisor.base import Change, Hypervisor, Unreachable
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors
from app.lab.hosts import LabHosts
from tests.hypervisor.conftest import A

pytestmark = pytest.mark.libvirt

WARM, ROUNDS = 5, 25
SPARE = 3
"""A thread that is just ending, a descriptor that is just being closed."""


class Wire:
    """What lies between us and a host, and can be cut."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._ends: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Every connection ends at once, as when the host's daemon is killed."""
        for end in self._ends:
            end.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_host, to_host = await asyncio.open_unix_connection(self._to)
        self._ends |= {writer, to_host}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copied(reader, to_host))
                tasks.create_task(_copied(from_host, writer))
        finally:
            self._ends -= {writer, to_host}


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: a unix socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="dl-") as made:
        yield Path(made)


@asynccontextmanager
async def wired(uri: str, folder: Path) -> AsyncIterator[tuple[str, Wire]]:
    """The same host's URI, by a wire that can be cut."""
    (socket,) = parse_qs(urlsplit(uri).query)["socket"]
    wire, here = Wire(socket), folder / "wire.sock"
    server = await asyncio.start_unix_server(wire.carry, here)
    try:
        yield uri.replace(socket, str(here)), wire
    finally:
        server.close()
        wire.cut()


async def lost(host: Hypervisor, wire: Wire) -> None:
    """It says so to whoever listens, and answers nothing any more."""
    events = host.lifecycle()
    wire.cut()
    async with asyncio.timeout(20):
        async for event in events:
            if event.change is Change.DISCONNECTED:
                break
    with pytest.raises(Unreachable):
        await host.host()
    await host.close()


def held() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


async def test_lost_and_closed_connections_leave_nothing_behind(lab: LabHosts, folder: Path) -> None:
    async with wired(lab[A].uri, folder) as (uri, wire):
        hypervisors = LibvirtHypervisors()
        before = (0, 0)
        for number in range(WARM + ROUNDS):
            if number == WARM:
                before = held()
            host = await hypervisors.connect(uri)
            await host.host()
            await lost(host, wire)
            again = await hypervisors.connect(uri)
            await again.host()
            await again.close()
        after = held()
        await hypervisors.close()

    assert after[0] <= before[0] + SPARE, f"descriptors: {before[0]}, and {after[0]} after {ROUNDS} rounds"
    assert after[1] <= before[1] + SPARE, f"threads: {before[1]}, and {after[1]} after {ROUNDS} rounds"

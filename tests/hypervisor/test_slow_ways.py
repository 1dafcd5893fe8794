"""A host at the end of a slow way: ssh, or a far one. What takes long to be dialled is a host all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.hypervisor.base import Job, State
from app.hypervisor.libvirt_driver.driver import Deadlines, LibvirtHypervisors
from app.hypervisor.metrics import CallMetrics
from app.lab.hosts import LabHost, LabHosts
from tests.hypervisor.waiting import eventually

pytestmark = pytest.mark.libvirt


@pytest.fixture
def host() -> Iterator[LabHost]:
    with LabHosts.temporary("node0") as lab:
        yield lab["node0"]


class Way:
    """Between us and a host: each connection but the first begins late; on all of them answers may be held up."""

    def __init__(self, host: LabHost, late_s: float) -> None:
        self.open = 0
        """Connections that both ends keep."""
        self.answers = asyncio.Event()
        self.answers.set()
        self._host = host
        self._late_s = late_s
        self._begun = 0

    @property
    def socket(self) -> Path:
        return self._host.socket.with_name("way")

    @property
    def uri(self) -> str:
        return f"qemu+unix:///session?socket={self.socket}"

    @asynccontextmanager
    async def open_for(self) -> AsyncIterator[Way]:
        server = await asyncio.start_unix_server(self._carry, self.socket)
        try:
            yield self
        finally:
            server.close()

    async def _carry(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._begun += 1
        if self._begun > 1:
            await asyncio.sleep(self._late_s)
        answers, there = await asyncio.open_unix_connection(self._host.socket)
        self.open += 1
        try:
            ways = (asyncio.create_task(self._pass(here, there)), asyncio.create_task(self._pass(answers, back, True)))
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            self.open -= 1
            there.close()
            back.close()

    async def _pass(self, read: asyncio.StreamReader, write: asyncio.StreamWriter, held: bool = False) -> None:
        while chunk := await read.read(65536):
            if held:
                await self.answers.wait()
            write.write(chunk)
            await write.drain()


async def test_what_a_guest_does_is_known_where_a_connection_takes_long_to_come(host: LabHost) -> None:
    """Else it would count as busy for ever, and no migration of it would begin."""
    guest = await idle_guest(host)
    hypervisors = LibvirtHypervisors(Deadlines(probe_s=0.5))

    async with Way(host, late_s=1.5).open_for() as way:
        far = await hypervisors.connect(way.uri)
        seen = await far.look(guest)
        await hypervisors.close()

    assert (seen.state, seen.job) == (State.RUNNING, Job.NONE)


class Halfway(CallMetrics):
    """Holds up the answers of a way once a connection was dialled."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self._way = way

    @contextmanager
    def call(self, verb: str, uri: str) -> Iterator[None]:
        with super().call(verb, uri):
            yield
        if verb == "connect":
            self._way.answers.clear()


async def test_a_connection_that_nobody_waits_for_any_more_is_closed(host: LabHost) -> None:
    """Whoever gave it up tries again: each try would leave one on the host."""
    async with Way(host, late_s=0).open_for() as way:
        hypervisors = LibvirtHypervisors(metrics=Halfway(way))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await hypervisors.connect(way.uri)
        before = way.open
        way.answers.set()
        await eventually(lambda: _value(way.open), lambda now: now == 0)

    assert before == 1


async def _value(value: int) -> int:
    return value


async def idle_guest(host: LabHost) -> UUID:
    guest, hypervisors = uuid4(), LibvirtHypervisors()
    near = await hypervisors.connect(host.uri)
    await near.define_and_start(
        f"<domain type='qemu'><name>g</name><uuid>{guest}</uuid><memory unit='MiB'>16</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    await hypervisors.close()
    return guest

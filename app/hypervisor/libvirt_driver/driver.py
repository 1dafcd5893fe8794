"""The port's Hypervisors over libvirt: one connection a host and holder, its threads and its deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import libvirt

from app.hypervisor.base import (
    Busy,
    Candidate,
    Certificate,
    Completed,
    Destination,
    Domain,
    GuestCpus,
    Host,
    Hypervisor,
    Hypervisors,
    Inspection,
    Job,
    Lifecycle,
    Mark,
    Progress,
    State,
    Steer,
    Unreachable,
)
from app.hypervisor.capabilities import Capabilities
from app.hypervisor.credentials import Credentials
from app.hypervisor.libvirt_driver import certificates
from app.hypervisor.libvirt_driver.connection import (
    DEFINE_ERRORS,
    ERRORS,
    Call,
    Errors,
    T,
    dial,
    hang_up_meanwhile,
    listen,
    translated,
)
from app.hypervisor.libvirt_driver.host import capabilities_of, is_awake, judge, read_host, use_worker
from app.hypervisor.libvirt_driver.line import Line
from app.hypervisor.libvirt_driver.looking import definition_of, inspect, list_domains, look, probe
from app.hypervisor.libvirt_driver.moving import apply_steer, completed_of, migrate, progress_of, recover
from app.hypervisor.libvirt_driver.peers import reach
from app.hypervisor.libvirt_driver.storage import (
    disk_sizes,
    disk_usage,
    find_file,
    free_space,
    make_disk,
    remove_disk,
)
from app.hypervisor.libvirt_driver.streams import Stream, Transfer, download, finished, received, sent, upload
from app.hypervisor.libvirt_driver.verbs import (
    define_and_start,
    destroy,
    make_transient,
    power_off,
    resume,
    set_autostart,
    suspend,
    undefine,
    write_mark,
)
from app.hypervisor.metrics import CallMetrics
from app.hypervisor.subscription import Subscriptions, disconnected
from app.hypervisor.threads import Lane


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a host may take. A healthy one answers reads in milliseconds."""

    connect_s: float = 10
    read_s: float = 10
    work_s: float = 90
    """Starting a guest, and destroying one: libvirt itself waits 15 s for QEMU to end."""
    probe_s: float = 1
    """For what libvirt answers only when a worker is free; without an answer the job counts as OTHER."""
    peer_s: float = 8
    """For this host's libvirt to reach another's."""
    peer_patient_s: float = 150
    """And where its answer is waited for until TCP gives up: after 127 s, as Linux comes (net.ipv4.tcp_syn_retries)."""
    worker_s: float = 4
    """For a free worker, before the host counts as one that takes no work."""


_ACTIVE = frozenset({State.RUNNING, State.PAUSED, State.SHUTTING_DOWN, State.CRASHED})


def _verb(call: Call[T]) -> str:
    """What a call is named in metrics: its function's name, of which there are as many as this folder has."""
    named = call.func if isinstance(call, partial) else call
    return str(getattr(named, "__name__", "call")).strip("_")


def connect_factory(credentials: Credentials | None = None) -> Hypervisors:
    """For the migration process: named by its path, so that it can be handed to another interpreter."""
    return LibvirtHypervisors(credentials=credentials)


class LibvirtHypervisors:
    """Opens connections to libvirtd; each is one host seen by one holder."""

    def __init__(
        self,
        deadlines: Deadlines | None = None,
        metrics: CallMetrics | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._credentials = credentials or Credentials()
        self._deadlines = deadlines or Deadlines()
        self._metrics = metrics or CallMetrics()
        self._opened: set[LibvirtHypervisor] = set()

    async def connect(self, uri: str, credentials: str = "") -> Hypervisor:
        """Raises Unreachable, with libvirt's text, within its deadline."""
        with self._metrics.call("connect", uri):
            address = self._credentials.address(uri, credentials)
            connection = await dial(address, self._deadlines.connect_s)
        opened = LibvirtHypervisor(uri, connection, self._deadlines, self._metrics, address)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(opened.close)
            await opened.listen()
            undo.pop_all()
        self._opened = {one for one in self._opened if one.connected} | {opened}
        return opened

    async def certificates(self, uri: str, credentials: str = "") -> Sequence[Certificate]:
        shown = self._credentials.client_certificate(uri, credentials)
        lane = Lane("certificates", 1)
        try:
            with self._metrics.call("certificates", uri):
                return await lane.run(partial(certificates.read, uri, shown, self._deadlines.connect_s))
        finally:
            lane.end()

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        self._opened = set()


class LibvirtHypervisor:
    """
    One connection. A call that overruns its deadline breaks it: every later call raises Unreachable at once, listeners hear
    DISCONNECTED, and its holder connects again.

    There are five threads, and a connection for each as it is needed: one for what libvirtd answers at any time, which also
    hears its events, one for what needs a free worker there, one that learns whether there is any, two for starting and
    stopping guests. Each running migration has a connection of its own too.
    """

    def __init__(
        self,
        uri: str,
        connection: libvirt.virConnect,
        deadlines: Deadlines,
        metrics: CallMetrics | None = None,
        address: str = "",
    ) -> None:
        """`address` is the URI with the files of its credentials, where it has any."""
        self._metrics = metrics or CallMetrics()
        self._uri = uri
        self._address = address = address or uri
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._prompt = Line("prompt", address, deadlines.connect_s, self._ended, connection)
        self._patient = Line("patient", address, deadlines.connect_s, self._ended)
        self._any_worker = Line("any-worker", address, deadlines.connect_s, self._ended)
        self._worker_used: asyncio.Task[None] | None = None
        """Until a worker was free for it."""
        self._work = tuple(Line(f"work-{number}", address, deadlines.connect_s, self._ended) for number in range(2))
        self._subscriptions = Subscriptions()
        self._broken: str | None = None
        self._events: list[int] = []
        """libvirt's numbers of our listening."""
        self._capabilities: tuple[Capabilities, tuple[GuestCpus, ...]] | None = None

    @property
    def uri(self) -> str:
        return self._uri

    @property
    def connected(self) -> bool:
        return self._broken is None

    async def listen(self) -> None:
        """Hear libvirtd's events, once, before anybody asks for them."""
        await self._ask(self._prompt, partial(listen, heard=self._heard, ended=self._ended, numbers=self._events))

    async def host(self) -> Host:
        await self._ask(self._prompt, is_awake)
        await self._use_worker()
        if self._capabilities is None:
            self._capabilities = await self._ask(self._patient, capabilities_of)
        return await self._ask(self._prompt, partial(read_host, *self._capabilities))

    async def domains(self) -> list[Domain]:
        return await self._with_jobs(await self._ask(self._prompt, list_domains))

    async def look(self, domain: UUID) -> Domain:
        seen = await self._ask(self._prompt, partial(look, domain))
        return (await self._with_jobs([seen]))[0]

    async def definition(self, domain: UUID) -> str:
        return await self._ask(self._patient, partial(definition_of, domain))

    async def inspect(self, domain: UUID) -> Inspection:
        return await self._ask(self._patient, partial(inspect, domain))

    async def judge(self, guest: Candidate) -> None:
        await self._ask(self._patient, partial(judge, guest))

    async def reach(self, peer_uri: str, *, patient: bool = False) -> None:
        # A peer that is silent holds a worker of libvirtd's until TCP gives up: that must not keep anything else waiting.
        async with asyncio.timeout(self._deadlines.peer_patient_s if patient else self._deadlines.peer_s):
            await self._block(partial(reach, peer_uri))

    async def disk_sizes(self, domain: UUID) -> Mapping[str, int]:
        return await self._ask(self._patient, partial(disk_sizes, domain))

    async def disk_usage(self, domain: UUID) -> Mapping[str, int]:
        return await self._ask(self._patient, partial(disk_usage, domain))

    async def find_file(self, path: str) -> int | None:
        return await self._labour(partial(find_file, path))

    async def free_space(self, path: str) -> int | None:
        return await self._labour(partial(free_space, path))

    async def read_file(self, path: str) -> AsyncGenerator[bytes, None]:
        async with self._transfer(partial(download, path)) as transfer:
            while chunk := await transfer.step(received):
                yield chunk
            await transfer.step(finished)

    async def write_file(self, path: str, size: int, content: AsyncIterator[bytes]) -> None:
        async with self._transfer(partial(upload, path, size)) as transfer:
            async for chunk in content:
                await transfer.step(partial(sent, chunk))
            await transfer.step(finished)

    async def make_disk(self, path: str, form: str, size: int) -> None:
        await self._labour(partial(make_disk, path, form, size))

    async def remove_disk(self, path: str) -> None:
        await self._labour(partial(remove_disk, path))

    async def define_and_start(self, domain_xml: str, *, paused: bool = False) -> None:
        await self._labour(partial(define_and_start, domain_xml, paused), DEFINE_ERRORS)

    async def power_off(self, domain: UUID) -> None:
        await self._labour(partial(power_off, domain))

    async def destroy(self, domain: UUID, *, unless_running: bool = False) -> None:
        await self._labour(partial(destroy, domain, unless_running))

    async def suspend(self, domain: UUID) -> None:
        await self._labour(partial(suspend, domain))

    async def resume(self, domain: UUID) -> None:
        await self._labour(partial(resume, domain))

    async def undefine(self, domain: UUID) -> None:
        await self._labour(partial(undefine, domain))

    async def make_transient(self, domain: UUID) -> None:
        await self._labour(partial(make_transient, domain))

    async def set_autostart(self, domain: UUID, on: bool) -> None:
        await self._labour(partial(set_autostart, domain, on))

    async def mark(self, domain: UUID, mark: Mark) -> None:
        await self._labour(partial(write_mark, domain, mark))

    async def migrate(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        await self._block(partial(migrate, domain, to, still))

    async def recover(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        await self._block(partial(recover, domain, to, still))

    async def _block(self, call: Call[None]) -> None:
        """For as long as it takes, on a connection of its own."""
        if self._broken is not None:
            raise Unreachable(self._broken)
        connection = await dial(self._address, self._deadlines.connect_s)
        lane = Lane("migrate", 1)
        try:
            await lane.run(partial(translated, call, connection, ERRORS))
        finally:
            # A call that still blocks in its thread keeps the connection, and the job goes on.
            lane.end()
            hang_up_meanwhile(connection, lane)

    @asynccontextmanager
    async def _transfer(self, begin: Call[Stream]) -> AsyncIterator[Transfer]:
        """On a connection of its own, so that a host that is slow with a file answers everything else."""
        if self._broken is not None:
            raise Unreachable(self._broken)
        connection = await dial(self._address, self._deadlines.connect_s)
        transfer = Transfer(self._uri, connection, self._deadlines.read_s)
        try:
            await transfer.begin(begin)
            yield transfer
        finally:
            await transfer.end()

    async def progress(self, domain: UUID) -> Progress | None:
        return await self._ask(self._patient, partial(progress_of, domain))

    async def completed(self, domain: UUID) -> Completed | None:
        return await self._ask(self._patient, partial(completed_of, domain))

    async def steer(self, domain: UUID, steer: Steer) -> None:
        await self._ask(self._patient, partial(apply_steer, domain, steer))

    def lifecycle(self) -> AsyncIterator[Lifecycle]:
        subscription = self._subscriptions.open()
        if self._broken is not None:
            subscription.put(disconnected(time.time()))
        return subscription

    async def close(self) -> None:
        self._break(f"the connection to {self._uri} was closed")

    async def _ask(self, line: Line, call: Call[T], errors: Errors = ERRORS) -> T:
        deadline_s = self._deadlines.work_s if line in self._work else self._deadlines.read_s
        if self._broken is not None:
            raise Unreachable(self._broken)
        with self._metrics.call(_verb(call), self._uri):
            try:
                async with asyncio.timeout(deadline_s):
                    return await line.run(call, errors)
            except TimeoutError:
                text = f"{self._uri} did not answer within {deadline_s:g} s"
                self._break(text)
                raise Unreachable(text) from None

    async def _use_worker(self) -> None:
        """Raises Busy. Asked once, however long it takes: a second question, on a new connection too, would wait behind it."""
        used = self._worker_used
        if used is None:
            used = self._worker_used = asyncio.create_task(self._any_worker.run(use_worker))
            used.add_done_callback(_looked_at)
        done, _ = await asyncio.wait({used}, timeout=self._deadlines.worker_s)
        if not done:
            text = (
                f"no worker of libvirtd was free within {self._deadlines.worker_s:g} s: it answers, but takes no work"
            )
            raise Busy(text)
        if self._worker_used is used:
            self._worker_used = None
        if used.cancelled():
            raise Unreachable(self._broken or f"the connection to {self._uri} was closed")
        used.result()

    async def _labour(self, call: Call[T], errors: Errors = ERRORS) -> T:
        """On the line where fewer wait."""
        return await self._ask(min(self._work, key=lambda line: line.waiting), call, errors)

    async def _with_jobs(self, seen: list[Domain]) -> list[Domain]:
        """Jobs and marks need a free worker in libvirtd. Without one every active domain counts as busy."""
        if all(domain.state is State.ABSENT for domain in seen):
            return seen
        await self._patient.dialled()  # which may take its time, on a slow way: that says nothing of the host's workers
        try:
            async with asyncio.timeout(self._deadlines.probe_s * (1 + len(seen) / 20)):
                return await self._patient.run(partial(probe, seen))
        except (TimeoutError, Busy):
            return [replace(domain, job=Job.OTHER if domain.state in _ACTIVE else Job.NONE) for domain in seen]

    def _heard(self, event: Lifecycle) -> None:
        """Called in libvirt's thread."""
        self._post(partial(self._subscriptions.tell, event))

    def _ended(self, reason: int) -> None:
        """Called in libvirt's thread."""
        self._post(partial(self._break, f"the connection to {self._uri} ended (libvirt's reason {reason})"))

    def _post(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call)

    def _break(self, text: str) -> None:
        if self._broken is not None:
            return
        self._broken = text
        self._subscriptions.tell(disconnected(time.time()))
        self._prompt.end(self._events)
        for line in (self._patient, self._any_worker, *self._work):
            line.end()
        if self._worker_used is not None:
            self._worker_used.cancel()


def _looked_at(task: asyncio.Task[None]) -> None:
    """An error that comes when nobody waits any more is the connection's end, which is told otherwise."""
    if not task.cancelled():
        task.exception()

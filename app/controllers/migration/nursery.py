"""Starts the processes of migrations, quickly: forked from a server that has imported what they need."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

from app.controllers.migration import messages, process
from app.controllers.migration.job import Job
from app.controllers.migration.orders import Bounds
from app.machinery.objects import Wire

_LINE_LIMIT = 1 << 20
# multiprocessing keeps one set of children a process and reads their exit statuses in passing: one thread at a time.
_BOOKKEEPING = threading.Lock()


class Child:
    """A running process of a migration, and our ends of what is said. Each way has a pipe of its own: of a socket for both, the
    end of one side takes away what it had said last, where it has not heard what was said to it last."""

    def __init__(
        self,
        running: ForkServerProcess,
        pidfd: int | None,
        reports: asyncio.StreamReader,
        orders: asyncio.WriteTransport,
        output: asyncio.StreamReader,
        readings: tuple[asyncio.BaseTransport, ...],
    ) -> None:
        self.pid = running.pid or 0
        self._running = running
        self._pidfd = pidfd
        self._reports = reports
        self._orders = orders
        self._output = output
        self._readings = readings

    def send(self, order: Wire) -> None:
        """Does nothing when it has ended."""
        if not self._orders.is_closing():
            self._orders.write(messages.line(order))

    async def report(self) -> messages.Report | None:
        """The next one; None when it has ended, perhaps in the middle of a word."""
        line = await self._reports.readline()
        return messages.report(line) if line.endswith(b"\n") else None

    async def line(self) -> str | None:
        """What it prints next; None when it has ended."""
        line = await self._output.readline()
        return line.decode(errors="replace").rstrip("\n") if line else None

    def hang_up(self) -> None:
        """Closes its orders: it ends by itself, and the libvirt job goes on. Twice is harmless."""
        self._orders.close()

    def kill(self) -> None:
        """Harmless when it has ended already: a pidfd never means another process."""
        if self._pidfd is not None:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return

    async def ended(self) -> int:
        """Waits until it is certainly dead; the exit status as a shell gives it, 128 + n for signal n."""
        await _readable(self._running.sentinel)
        if self._pidfd is not None:
            self.kill()  # the sentinel also ends when the fork server dies, and then the process may live
            await _readable(self._pidfd)
        status = await asyncio.to_thread(_reaped, self._running)
        return 128 - status if status < 0 else status

    async def end(self) -> None:
        """Stops it, whatever it does: by hanging up, else by force. The libvirt job goes on."""
        self.hang_up()
        try:
            async with asyncio.timeout(1.0):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()

    def close(self) -> None:
        """Frees the descriptors of a process that has ended."""
        self._orders.close()
        for reading in self._readings:
            reading.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


class Nursery:
    """Makes children with one driver."""

    def __init__(self, factory: process.Factory) -> None:
        self._factory = factory
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")

    async def warm(self) -> None:
        """Starts the fork server, so that the first migration does not wait for its imports."""
        # "__main__" too: otherwise every child imports the command's module again.
        self._context.set_forkserver_preload(["__main__", process.__name__, _module_of(self._factory)])
        await asyncio.to_thread(_start_server)

    async def start(self, job: Job, bounds: Bounds) -> Child:
        """Raises OSError when the machine has no room for another process."""
        with ExitStack() as pipes:
            heard, ordering = _pipe(pipes)
            reports, reporting = _pipe(pipes)
            output, printed = _pipe(pipes)
            running = self._context.Process(
                target=process.main, args=(heard, reporting, printed, job, bounds, self._factory), daemon=True
            )
            await asyncio.to_thread(_started, running)
            said, first = await _reader(reports)
            lines, second = await _reader(output)
            orders, _ = await asyncio.get_running_loop().connect_write_pipe(
                asyncio.BaseProtocol, os.fdopen(os.dup(ordering.fileno()), "wb", 0)
            )
        return Child(running, _pidfd(running), said, orders, lines, (first, second))


def _pipe(stack: ExitStack) -> tuple[Connection, Connection]:
    """The end to read from, and the end to write to."""
    reading, writing = multiprocessing.Pipe(duplex=False)
    stack.callback(reading.close)
    stack.callback(writing.close)
    return reading, writing


async def _reader(end: Connection) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(end.fileno()), "rb")
    )
    return reader, transport


def _module_of(factory: process.Factory) -> str:
    """Where the driver is: of a factory that was given some of its words, the one below counts."""
    return _module_of(factory.func) if isinstance(factory, partial) else str(factory.__module__)


def _start_server() -> None:
    """Ctrl-C reaches the whole group, and the server listens to signals only once it has imported everything."""
    multiprocessing.resource_tracker.ensure_running()  # first: it unblocks SIGINT in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _started(running: ForkServerProcess) -> None:
    with _BOOKKEEPING:
        running.start()


def _reaped(running: ForkServerProcess) -> int:
    with _BOOKKEEPING:
        running.join()
        assert running.exitcode is not None, "BUG: a process that was joined has a status"
        return running.exitcode


def _pidfd(running: ForkServerProcess) -> int | None:
    try:
        return os.pidfd_open(running.pid or 0)
    except ProcessLookupError:
        return None  # it has ended already


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)

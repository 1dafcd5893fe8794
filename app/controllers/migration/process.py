"""The operating-system process of one migration: its signals, its pipes, its end. What it does is in `run`."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

from app.controllers.migration import messages
from app.controllers.migration.job import Job
from app.controllers.migration.messages import Renewed
from app.controllers.migration.orders import Bounds, Orders, boottime
from app.controllers.migration.run import run_migration
from app.hypervisor.base import Hypervisors
from app.machinery.objects import Wire
from app.tracing import flush, is_on, tracing, within

Factory = Callable[[], Hypervisors]
"""Makes the driver; a module's own name, so that it can be sent to another process."""

UNKNOWN = 1
"""The worker is gone, or stopped renewing, or something failed here: whoever holds the run then asks both hosts."""
HEARTBEAT_S = 1.0
FLUSH_S = 0.5
"""How long its end waits for whoever collects traces."""
NAME = b"drover-migrate"
"""What `ps` and `top` call the process: the kernel keeps 15 letters."""


def main(
    heard: Connection, reports: Connection, output: Connection, job: Job, bounds: Bounds, factory: Factory
) -> None:
    """Ends with one of exit_codes.ExitCode, or as an unknown outcome. Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the worker decides, not the terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Path("/proc/self/comm").write_bytes(NAME)
    os.dup2(output.fileno(), sys.stdout.fileno())
    os.dup2(output.fileno(), sys.stderr.fileno())
    output.close()
    with tracing("drover", version("drover")):
        asyncio.run(_live(heard, reports, job, bounds, factory))


async def _live(heard: Connection, reports: Connection, job: Job, bounds: Bounds, factory: Factory) -> None:
    orders = Orders(bounds)
    listener = threading.Thread(
        target=_listen, args=(heard, bounds.deadline_s, orders, asyncio.get_running_loop()), daemon=True
    )
    listener.start()

    def tell(report: Wire) -> None:
        _write(reports, messages.line(report))

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_beat(tell))
            with within(
                job.plan.migration_uid, "attempt", number=job.plan.attempt, target=job.plan.target.node
            ) as span:
                outcome = await run_migration(job, factory(), orders, tell, _say)
                span.note(f"attempt {job.plan.attempt}", outcome=outcome.code.name)
            tell(messages.Ended(result=outcome.result))
            if is_on():
                await asyncio.to_thread(flush, FLUSH_S)
            _exit(outcome.code)
    finally:
        # Not by returning: threads that wait in libvirt would be waited for, and what failed here says nothing of the guest.
        traceback.print_exc()
        _exit(UNKNOWN)


async def _beat(tell: Callable[[Wire], None]) -> None:
    """A process that was stopped, or hangs, is told from one that waits by its silence."""
    while True:
        tell(messages.Alive())
        await asyncio.sleep(HEARTBEAT_S)


def _listen(channel: Connection, deadline_s: float, orders: Orders, loop: asyncio.AbstractEventLoop) -> None:
    """Hears the worker; ends the process at once when the worker is gone or the lease has lapsed."""
    heard = b""
    while True:
        ready, _, _ = select.select([channel], [], [], max(0.0, deadline_s - boottime()))
        chunk = os.read(channel.fileno(), 65536) if ready else b""
        if not chunk:
            _exit(UNKNOWN)
        *lines, heard = (heard + chunk).split(b"\n")
        for line in lines:
            order = messages.order(line)
            if isinstance(order, Renewed):
                deadline_s = max(deadline_s, order.deadline_s)
            loop.call_soon_threadsafe(orders.take, order)


def _write(pipe: Connection, data: bytes) -> None:
    """Raises BrokenPipeError when the worker is gone."""
    while data:
        data = data[os.write(pipe.fileno(), data) :]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _exit(status: int) -> None:
    sys.stdout.flush()
    os._exit(status)

"""API processes over a shared PostgreSQL: `python -m tests.api.processes serve <url> [<patience in s> [<port> [<folder>]]]`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import uvloop

from app.api.application import create_api
from app.connections import Connection, Patience
from app.kinds import ALL
from app.server import listen, listening
from app.store.postgres import PostgresStore
from app.tls import Own, Tls
from app.wiring.service import Service

ROOT = Path(__file__).parents[2]


def patient(seconds: float) -> type[Connection]:
    """As the real one, but with no more patience than that."""

    class Impatient(Connection):
        patience = Patience(head_s=seconds, request_s=2 * seconds, stalled_s=seconds, look_s=seconds / 10)

    return Impatient


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Process]:
    """The process, ended by closing its input unless it has been killed; killed if it does not end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.api.processes", *arguments,
        cwd=ROOT, stdin=PIPE, stdout=PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        yield process
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            async with asyncio.timeout(20):
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def free_port() -> int:
    """One that nobody listens on; for a process that is to come back to it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


async def line(process: Process) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    async with asyncio.timeout(100):
        return (await process.stdout.readline()).decode().strip()


async def serve(url: str, patience_s: str = "30", port: str = "0", tls_folder: str = "") -> None:
    """The API alone, until standard input ends; says its URL. With a folder for certificates it speaks TLS."""
    store = PostgresStore(url)
    await store.open()
    api = create_api(store, ALL, version="v1.36.0+drover-test")
    listener = listen("127.0.0.1", int(port))
    service = Service(api, asyncio.Event(), api.end_streams)
    tls = Tls(Own(Path(tls_folder), "127.0.0.1")) if tls_folder else None
    async with listening(service, listener, tls, patient(float(patience_s))):
        print(f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}")
        await asyncio.to_thread(sys.stdin.read)
    await store.close()


if __name__ == "__main__":
    # As the real ones: nobody reads standard output after the first line, and a full pipe would stop the process.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(*sys.argv[2:]))

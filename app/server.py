"""The process: a listener on a socket of our own, and an end that every signal leads to once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import structlog
import uvicorn
from starlette.types import ASGIApp

from app.api.opening import opening
from app.connections import Connection
from app.tls import Tls
from app.wiring.errors import Misconfigured
from app.wiring.service import Service

log = structlog.get_logger()

SHUTDOWN_S = 5.0
"""How long open requests may take to finish once the listener closes; watches are ended first."""

ALIVE_AFTER_S = 1.0
"""A start usually takes less: then nobody is answered before all is there."""

KEEP_ALIVE_S = 90
"""How long a connection may be idle: as kube-apiserver, so that clients which reuse one do not find it just closed."""


def listen(bind: str, port: int) -> socket.socket:
    """A listening socket, or Misconfigured with what to do."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((bind, port))
    except OSError as error:
        listener.close()
        raise Misconfigured(
            f"cannot listen on {bind} port {port}: {error.strerror}; "
            "choose another with --port or DROVER_PORT (0 takes a free one)"
        ) from error
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def url_of(bind: str, port: int, *, secure: bool = False) -> str:
    """Where a client of this machine reaches the listener: one on every address is reached on loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


class _Listener(uvicorn.Server):
    """uvicorn without its own signal handlers (signals belong to the whole process), telling when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(app: ASGIApp, tls: Tls | None, connection: type[Connection] = Connection) -> _Listener:
    return _Listener(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="off",
            loop="none",
            http=connection,
            timeout_keep_alive=KEEP_ALIVE_S,
            ws="none",
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=int(SHUTDOWN_S),
            backlog=1024,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
        )
    )


@contextlib.asynccontextmanager
async def alive(listener: socket.socket, tls: Tls | None = None) -> AsyncIterator[None]:
    """Inside the block, if it takes long: whoever asks on the socket hears that the process lives and is not ready."""
    answering = asyncio.create_task(_answer_alive(listener, tls), name="alive")
    try:
        yield
    finally:
        answering.cancel()
        await asyncio.wait([answering])


async def _answer_alive(listener: socket.socket, tls: Tls | None) -> None:
    """Until cancelled; the socket itself stays open."""
    await asyncio.sleep(ALIVE_AFTER_S)
    server = _listener(opening, tls)
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]), name="listener")
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def listening(
    service: Service,
    listener: socket.socket,
    tls: Tls | None = None,
    connection: type[Connection] = Connection,
) -> AsyncIterator[asyncio.Task[None]]:
    """Serves on the socket inside the block; on the way out ends watches, lets requests finish, and closes."""
    server = _listener(service.api, tls, connection)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="listener")
    try:
        async with asyncio.timeout(SHUTDOWN_S):
            await server.listens.wait()
        async with _kept(tls):
            yield serving
    finally:
        service.end_watches()
        server.should_exit = True
        await serving
        listener.close()


@contextlib.asynccontextmanager
async def _kept(tls: Tls | None) -> AsyncIterator[None]:
    """The certificate is looked after inside the block."""
    if tls is None:
        yield
        return
    keeping = asyncio.create_task(tls.keep(), name="certificate")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


def settle() -> None:
    """What was made at the start stays: schemas and documents are not gone through again whenever there is garbage.
    Requests leave next to none in circles, so it is looked for less often. And a watch needs a descriptor each."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first SIGINT or SIGTERM sets."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(name: str) -> None:
        if not stop.is_set():
            log.info("stopping", signal=name)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class Stopped(Exception):
    """The process was told to stop before it had started."""


@contextlib.asynccontextmanager
async def unless(stop: asyncio.Event) -> AsyncIterator[None]:
    """The block is cut short, and Stopped raised, when the event is set."""
    try:
        async with asyncio.timeout(None) as patience:
            watching = asyncio.create_task(_reschedule(patience, stop))
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.wait([watching])
    except TimeoutError:
        if not patience.expired():
            raise
        raise Stopped from None


async def _reschedule(patience: asyncio.Timeout, stop: asyncio.Event) -> None:
    await stop.wait()
    patience.reschedule(asyncio.get_running_loop().time())


async def first(*events: asyncio.Event) -> None:
    """Returns when one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

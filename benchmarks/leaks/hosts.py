"""Simulated hosts that other processes reach: they live in the worker, and each migration has a process of its own.

One connection over a unix socket is one connection to a host. Both ends are this program's: what they say is pickled.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from app.hypervisor.base import (
    Certificate,
    Destination,
    Hypervisor,
    HypervisorError,
    Hypervisors,
    Lifecycle,
    Unreachable,
)
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.hypervisor.subscription import Subscriptions, disconnected

SOCKET = "DROVER_SIMULATED_HOSTS"
"""The variable that tells a migration's process where they are."""
_LENGTH = 4
_TOLD = -1
"""In place of a question's number: an event."""


@asynccontextmanager
async def offered(cloud: FakeCloud, path: Path) -> AsyncIterator[None]:
    """Other processes reach the hosts there, until the block ends."""
    server = await asyncio.start_unix_server(partial(_serve, cloud), path)
    os.environ[SOCKET] = str(path)
    try:
        yield
    finally:
        server.close()


async def _serve(cloud: FakeCloud, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    hypervisors = FakeHypervisors(cloud)
    try:
        await _answer_all(hypervisors, reader, writer)
    finally:
        await hypervisors.close()
        writer.close()


async def _answer_all(hypervisors: FakeHypervisors, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        host = await hypervisors.connect(await _read(reader))
    except HypervisorError as error:
        return _write(writer, (_TOLD, error))
    _write(writer, (_TOLD, None))
    async with asyncio.TaskGroup() as tasks:
        answering = {tasks.create_task(_tell(host, writer))}
        try:
            while True:
                task = tasks.create_task(_answer(host, writer, *await _read(reader)))
                answering.add(task)
                task.add_done_callback(answering.discard)
        except (
            asyncio.IncompleteReadError,
            ConnectionError,
        ):  # the process has ended: what it asked for goes on without
            for task in tuple(answering):
                task.cancel()


async def _tell(host: Hypervisor, writer: asyncio.StreamWriter) -> None:
    async for event in host.lifecycle():
        _write(writer, (_TOLD, event))


async def _answer(
    host: Hypervisor,
    writer: asyncio.StreamWriter,
    number: int,
    verb: str,
    words: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    try:
        _write(writer, (number, await getattr(host, verb)(*words, **named)))
    except HypervisorError as error:
        _write(writer, (number, error))


class RemoteHost:
    """The other end. Every verb of the port that is not written here is one question and its answer."""

    def __init__(self, uri: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.uri = uri
        self.connected = True
        self._reader, self._writer = reader, writer
        self._subscriptions = Subscriptions()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count()
        self._hearing = asyncio.create_task(self._hear(), name=f"answers of {uri}")

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        if verb.startswith("_"):
            raise AttributeError(verb)
        return partial(self._ask, verb)

    async def migrate(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        if still is not None:
            still()
        await self._ask("migrate", domain, to)

    async def recover(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        if still is not None:
            still()
        await self._ask("recover", domain, to)

    def lifecycle(self) -> AsyncIterator[Lifecycle]:
        return self._subscriptions.open()

    async def close(self) -> None:
        self._break()
        self._hearing.cancel()
        await asyncio.wait([self._hearing])

    async def _ask(self, verb: str, *words: Any, **named: Any) -> Any:
        if not self.connected:
            raise Unreachable(f"the connection to {self.uri} was lost")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            _write(self._writer, (number, verb, words, named))
            answered = await answer
        finally:
            del self._asked[number]
        if isinstance(answered, HypervisorError):
            raise answered
        return answered

    async def _hear(self) -> None:
        try:
            while True:
                number, said = await _read(self._reader)
                if number != _TOLD:
                    if number in self._asked and not self._asked[number].done():
                        self._asked[number].set_result(said)
                elif said == disconnected(said.at):
                    return
                else:
                    self._subscriptions.tell(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._break()

    def _break(self) -> None:
        if not self.connected:
            return
        self.connected = False
        self._subscriptions.tell(disconnected(time.time()))
        for answer in self._asked.values():
            if not answer.done():
                answer.set_result(Unreachable(f"the connection to {self.uri} was lost"))
        self._writer.close()


class RemoteHosts:
    """Connections to the hosts behind one socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened: list[RemoteHost] = []

    async def connect(self, uri: str, credentials: str = "") -> Hypervisor:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
            _write(writer, uri)
            _, refusal = await _read(reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Unreachable(f"no host answers at {uri}: {error}") from error
        if refusal is not None:
            writer.close()
            raise refusal
        host = RemoteHost(uri, reader, writer)
        self._opened.append(host)
        return cast(Hypervisor, host)  # the port's other verbs are looked up when they are asked

    async def certificates(self, uri: str, credentials: str = "") -> Sequence[Certificate]:
        """A unix socket shows none."""
        return ()

    async def close(self) -> None:
        for host in self._opened:
            await host.close()


def remote_hosts() -> Hypervisors:
    """What a migration's process drives."""
    return RemoteHosts(os.environ[SOCKET])


async def _read(reader: asyncio.StreamReader) -> Any:
    length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
    return pickle.loads(await reader.readexactly(length))


def _write(writer: asyncio.StreamWriter, said: Any) -> None:
    if not writer.is_closing():
        packed = pickle.dumps(said)
        writer.write(len(packed).to_bytes(_LENGTH, "big") + packed)

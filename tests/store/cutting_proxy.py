"""A proxy before PostgreSQL that cuts a connection when the server has answered, before its client hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class CuttingProxy:
    """`cut_after(text)`: the next query that contains it is done, and its answer is lost with the connection."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._words: bytes | None = None
        self.port = 0
        self.cuts = 0

    def cut_after(self, text: bytes) -> None:
        self._words = text

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        doomed = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._up(reader, back, doomed))
                ways.create_task(self._down(there, writer, doomed))
        except* (ConnectionError, EOFError):
            pass
        finally:
            for side in (writer, back):
                side.close()
                with suppress(ConnectionError):
                    await side.wait_closed()

    async def _up(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            if self._words is not None and self._words in data:
                self._words = None
                doomed.set()
            back.write(data)
            await back.drain()
        raise EOFError

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        while data := await there.read(1 << 16):
            # ReadyForQuery, idle: the transaction is over, for better or worse.
            if doomed.is_set() and data.endswith(b"Z\x00\x00\x00\x05I"):
                self.cuts += 1
                raise EOFError
            if not doomed.is_set():
                writer.write(data)
                await writer.drain()
        raise EOFError


@asynccontextmanager
async def cutting_proxy(target: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(target)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()

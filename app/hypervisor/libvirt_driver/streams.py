"""Files of a host, streamed from it and to it through libvirt's pools. Runs in the driver's threads, but for Transfer."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import libvirt
import structlog

from app.hypervisor.base import Unreachable
from app.hypervisor.libvirt_driver.connection import ERRORS, Call, T, hang_up_meanwhile, translated
from app.hypervisor.libvirt_driver.storage import POOL_ATTEMPTS, POOL_WAIT_S, new_pool, tried, volume_xml
from app.hypervisor.threads import Lane

log = structlog.get_logger()

CHUNK = 256 * 1024


@dataclass(slots=True)
class Stream:
    """Bytes on their way from or to a file. Used in the driver's threads."""

    stream: Any
    close: Callable[[], None]
    """Its pool, where it was made for this, goes."""
    undo: Callable[[], None] | None = None
    """What was made for it goes: until all has arrived."""


class Transfer:
    """A stream of libvirt's, step by step, each within a deadline."""

    def __init__(self, uri: str, connection: libvirt.virConnect, deadline_s: float) -> None:
        self._uri = uri
        self._connection = connection
        self._deadline_s = deadline_s
        self._lane = Lane("transfer", 1)
        self._stream: Stream | None = None

    async def begin(self, call: Call[Stream]) -> None:
        self._stream = await self._run(partial(translated, call, self._connection, ERRORS))

    async def step(self, call: Callable[[Stream], T]) -> T:
        assert self._stream is not None, "BUG: a transfer that has not begun"
        stream = self._stream
        return await self._run(partial(translated, lambda _: call(stream), self._connection, ERRORS))

    async def end(self) -> None:
        """What was not finished is undone; on a host that does not answer, nobody waits for that."""
        stream, self._stream = self._stream, None
        try:
            if stream is not None:
                await asyncio.shield(self._run(partial(_concluded, stream)))
        except Unreachable:
            pass  # what was being asked has failed with the same
        finally:
            self._lane.end()
            hang_up_meanwhile(self._connection, self._lane)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._lane.run(call)
        except TimeoutError:
            raise Unreachable(f"{self._uri} did not answer within {self._deadline_s:g} s") from None


def download(path: str, connection: libvirt.virConnect) -> Stream:
    return tried(lambda: _begin_download(path, connection))


def _begin_download(path: str, connection: libvirt.virConnect) -> Stream:
    folder, name = posixpath.split(path)
    pool, close = _held_pool(connection, folder)
    try:
        volume, stream = pool.storageVolLookupByName(name), connection.newStream(0)
        volume.download(stream, 0, 0, 0)
    except libvirt.libvirtError:
        close()
        raise
    return Stream(stream, close)


def upload(path: str, size: int, connection: libvirt.virConnect) -> Stream:
    return tried(lambda: _begin_upload(path, size, connection))


def _begin_upload(path: str, size: int, connection: libvirt.virConnect) -> Stream:
    """Bytes as they are: whatever format they have, for libvirt the file is a raw one."""
    folder, name = posixpath.split(path)
    pool, close = _held_pool(connection, folder, make=True)
    volume = None
    try:
        volume = pool.createXML(volume_xml(name, "raw", size), 0)
        stream = connection.newStream(0)
        volume.upload(stream, 0, size, 0)
    except libvirt.libvirtError:
        if volume is not None:
            volume.delete(0)
        close()
        raise
    return Stream(stream, close, undo=partial(volume.delete, 0))


def _held_pool(connection: libvirt.virConnect, folder: str, *, make: bool = False) -> tuple[Any, Callable[[], None]]:
    """The pool of that folder for as long as somebody streams, and what ends that."""
    try:
        found = connection.storagePoolLookupByTargetPath(folder)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise
        made = new_pool(connection, folder, make)
        return made, made.destroy
    found.refresh(0)
    return found, lambda: None


def received(stream: Stream) -> bytes:
    return bytes(stream.stream.recv(CHUNK))


def sent(chunk: bytes, stream: Stream) -> None:
    left = memoryview(chunk)
    while left:
        left = left[stream.stream.send(bytes(left[:CHUNK])) :]


def finished(stream: Stream) -> None:
    """The host says only now whether all has arrived."""
    stream.stream.finish()
    stream.undo = None
    stream.stream = None


def _concluded(stream: Stream) -> None:
    """Another connection's use of the pool may still be in its way: then it is that one's to remove."""
    if stream.stream is not None:
        with contextlib.suppress(libvirt.libvirtError):  # it broke before
            stream.stream.abort()
    for left in reversed(range(POOL_ATTEMPTS)):
        try:
            if stream.undo is not None:
                stream.undo()
                stream.undo = None
            stream.close()
        except libvirt.libvirtError as error:
            if not left:
                log.warning("left after a transfer", error=error.get_error_message())
            time.sleep(POOL_WAIT_S if left else 0)
        else:
            return

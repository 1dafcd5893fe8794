"""How long one write takes to reach every watcher: many TLS watches in one process, one write after another."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvloop

from benchmarks.subject import Subject, WrongAnswer

ROUND_S = 20.0
AT_ONCE = 32
"""Handshakes under way at the same time."""
WARM_UP = 3
"""Rounds that are not counted."""

_TOLD = re.compile(rb'"type":"ADDED".*?"name":"(fan-[0-9]+-[0-9]+)"')


@dataclass(frozen=True, slots=True)
class Spread:
    """From the first byte of a write being sent to each watcher having read it."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class _Watcher(asyncio.Protocol):
    """One watch: keeps what it reads, and when the awaited name came."""

    def __init__(self, request: bytes, heard: asyncio.Semaphore) -> None:
        self._request = request
        self._heard = heard
        self.awaited = b""
        self.at = 0.0
        self.read: list[bytes] = []
        self.open = asyncio.Event()

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]  # as loops have it
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.read.append(data)
        if self.awaited and self.awaited in data:
            self.at = time.perf_counter()
            self.awaited = b""
            self._heard.release()
        elif not self.open.is_set() and b"\r\n\r\n" in data:
            self.open.set()

    def told(self) -> list[bytes]:
        """The names of all that it was told, in order."""
        answer = b"".join(self.read)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise WrongAnswer(f"a watch was answered {answer[:200]!r}")
        return _TOLD.findall(answer)


class _Writer(asyncio.Protocol):
    """The connection that creates."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]  # as loops have it
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            self.answers.put_nowait(data)

    async def post(self, request: bytes) -> float:
        """When it was sent. Raises WrongAnswer."""
        assert self.transport is not None
        sent = time.perf_counter()
        self.transport.write(request)
        answer = await self.answers.get()
        if not answer.startswith(b"HTTP/1.1 201"):
            raise WrongAnswer(f"a create was answered {answer[:200]!r}")
        return sent


def fan_out(subject: Subject, watchers: int, rounds: int, *, while_open: Callable[[], None] = lambda: None) -> Spread:
    """Each watcher must be told every write once and in order. `while_open` is called once, after the last write, with
    every watch still open. Raises WrongAnswer, TimeoutError."""
    return uvloop.run(_fan_out(subject, watchers, rounds, while_open))


async def _fan_out(subject: Subject, watchers: int, rounds: int, while_open: Callable[[], None]) -> Spread:
    loop, at = asyncio.get_running_loop(), urlsplit(subject.url)
    heard, gate = asyncio.Semaphore(0), asyncio.Semaphore(AT_ONCE)
    asked = _request(subject, "GET", f"{subject.collection}?watch=1&resourceVersion={_newest(subject)}")
    names = [f"fan-{watchers}-{time.time_ns() % 10**9}{number:03d}" for number in range(rounds + WARM_UP)]

    async with AsyncExitStack() as stack:

        async def connected(protocol: asyncio.Protocol) -> None:
            async with gate, asyncio.timeout(ROUND_S):
                transport, _ = await loop.create_connection(
                    lambda: protocol, at.hostname or "", at.port or 443, ssl=subject.trust, server_hostname=at.hostname
                )
            stack.callback(transport.abort)

        listening = [_Watcher(asked, heard) for _ in range(watchers)]
        writer = _Writer()
        await asyncio.gather(connected(writer), *map(connected, listening))
        async with asyncio.timeout(ROUND_S):
            await asyncio.gather(*(watcher.open.wait() for watcher in listening))
        taken = [took for name in names for took in await _round(subject, name, writer, listening, heard)]
        while_open()

    told = [name.encode() for name in names]
    wrong = sum(watcher.told() != told for watcher in listening)
    if wrong:
        raise WrongAnswer(f"{wrong} of {watchers} watchers were not told each write once and in order")
    return spread(taken[WARM_UP * watchers :])


async def _round(
    subject: Subject, name: str, writer: _Writer, listening: list[_Watcher], heard: asyncio.Semaphore
) -> list[float]:
    for watcher in listening:
        watcher.awaited = b'"name":"%b"' % name.encode()
    request = _request(subject, "POST", subject.collection, json.dumps(subject.migration(name), separators=(",", ":")))
    async with asyncio.timeout(ROUND_S):
        sent = await writer.post(request)
        for _ in listening:
            await heard.acquire()
    return [watcher.at - sent for watcher in listening]


def spread(taken_s: list[float]) -> Spread:
    """The percentiles, in milliseconds."""
    ordered = sorted(taken_s)

    def percentile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    return Spread(percentile(0.5), percentile(0.99), ordered[-1] * 1000)


def _newest(subject: Subject) -> str:
    """Where watches begin; the yardstick has only what is new."""
    if subject.collection == "/objects":
        return "0"
    listed = subject.ask("GET", f"{subject.collection}?limit=1", 200)
    return str(listed["metadata"]["resourceVersion"])


def _request(subject: Subject, method: str, path: str, body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(subject.url).netloc}"]
    lines += [f"{name}: {value}" for name, value in subject.headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

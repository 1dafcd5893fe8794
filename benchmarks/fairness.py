"""
Whether one user's flood is felt by another: `python -m benchmarks.fairness [--json]`.

A thousand idle watches are open, one user sends lists of everything as fast as the answers come, over many connections, and
another user sends one get after the other. How long those gets take is measured, before the flood and during it. Everything
goes over TLS to one process of the API; the users are told apart by their tokens, and none is an administrator. The flood is
wrk's, in a process of its own, and heeds no Retry-After.

Exit status 1 when a get of the other user takes longer than the goal at the 99th percentile, or any answer is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import uvloop

from benchmarks.fairness_server import FLOODER, READER, WATCHER, serving
from benchmarks.fanout import Spread, spread
from benchmarks.wrk import Counted, WrkError, reads, wrk

GOAL_P99_MS = 100.0
COLLECTION = "/apis/kubevirt.io/v1alpha1/namespaces/default/migrations"
ANSWER_S = 60.0
FLOODED_S = 1.0
"""How long the flood runs before the gets are measured, and after."""
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the server."""

    watches: int = 1000
    objects: int = 2000
    flooders: int = 64
    """Connections of the one user who floods."""
    seconds: float = 15.0


@dataclass
class Outcome:
    """What came of it."""

    load: Load
    quiet: Spread
    flooded: Spread
    gets: int
    lists: int
    """Answered to the one who floods."""
    refused: int
    """Of those, with 429."""
    listed_mib_per_s: float
    open_watches: int

    @property
    def reached(self) -> bool:
        return self.flooded.p99_ms < GOAL_P99_MS and self.open_watches == self.load.watches


class Connection:
    """One kept-alive connection that asks one thing after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f"Host: {host}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"

    @classmethod
    async def to(cls, url: str, trust: ssl.SSLContext, token: str) -> Connection:
        at = urlsplit(url)
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(at.hostname, at.port, ssl=trust, limit=1 << 20)
        return cls(reader, writer, at.netloc, token)

    async def get(self, path: str) -> tuple[int, int]:
        """The code and the length of the answer."""
        async with asyncio.timeout(ANSWER_S):
            code, headers = await self.ask(path)
            length = int(headers[b"content-length"])
            await self._reader.readexactly(length)
        return code, length

    async def ask(self, path: str) -> tuple[int, dict[bytes, bytes]]:
        """The head of the answer."""
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._head}".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        pairs = (line.split(b": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    def close(self) -> None:
        self._writer.transport.abort()

    @property
    def closed(self) -> bool:
        return self._reader.at_eof()


def measured(load: Load) -> Outcome:
    """Starts a server, and stops it."""
    with serving(load.objects) as (url, authority):
        trust = ssl.create_default_context(cafile=str(authority))
        return uvloop.run(_measured(url, trust, load))


async def _measured(url: str, trust: ssl.SSLContext, load: Load) -> Outcome:
    async with AsyncExitStack() as stack:
        watches = await _watches(stack, url, trust, load.watches)
        reader = await Connection.to(url, trust, READER)
        stack.callback(reader.close)
        await _gets(reader, 1.0)
        quiet = await _gets(reader, load.seconds / 3)
        flooding = asyncio.create_task(asyncio.to_thread(_flood, url, load))
        await asyncio.sleep(FLOODED_S)
        flooded = await _gets(reader, load.seconds)
        flood = await flooding
        still = sum(not watch.closed for watch in watches)
    if flood.broken:
        raise RuntimeError(f"{flood.broken} connections of the flood broke, or were not answered")
    rate = flood.bytes / (flood.microseconds / 1e6) / 2**20
    return Outcome(load, spread(quiet), spread(flooded), len(flooded), flood.requests, flood.refused, rate, still)


def _flood(url: str, load: Load) -> Counted:
    """Lists of everything, for a moment longer than the gets are measured."""
    headers = {"Authorization": f"Bearer {FLOODER}", "Accept": "application/json"}
    seconds = load.seconds + 2 * FLOODED_S
    return wrk(url, reads([COLLECTION]), connections=load.flooders, seconds=seconds, headers=headers)


async def _watches(stack: AsyncExitStack, url: str, trust: ssl.SSLContext, count: int) -> list[Connection]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def opened() -> Connection:
        async with gate, asyncio.timeout(ANSWER_S):
            connection = await Connection.to(url, trust, WATCHER)
            stack.callback(connection.close)
            code, _ = await connection.ask(f"{COLLECTION}?watch=1&fieldSelector=metadata.name=nobody")
        if code != 200:
            raise RuntimeError(f"a watch was answered {code}")
        return connection

    return await asyncio.gather(*(opened() for _ in range(count)))


async def _gets(connection: Connection, seconds: float) -> list[float]:
    """One after the other; how long each took."""
    ends, taken = time.perf_counter() + seconds, []
    while (began := time.perf_counter()) < ends:
        code, _ = await connection.get(f"{COLLECTION}/m0")
        if code != 200:
            raise RuntimeError(f"a get was answered {code}")
        taken.append(time.perf_counter() - began)
    return taken


def table(outcome: Outcome) -> str:
    load, rows = outcome.load, []
    rows.append(
        f"{load.watches} idle watches ({outcome.open_watches} still open), {load.objects} objects, "
        f"{load.flooders} connections that list them all"
    )
    rows.append(f"{'gets of another user':<24} {'p50':>9} {'p99':>9} {'longest':>9}")
    for name, seen in (("before the flood", outcome.quiet), ("during the flood", outcome.flooded)):
        rows.append(f"{name:<24} {seen.p50_ms:>6.1f} ms {seen.p99_ms:>6.1f} ms {seen.max_ms:>6.1f} ms")
    rows.append(
        f"the flood: {outcome.lists - outcome.refused} lists, {outcome.listed_mib_per_s:.0f} MiB/s; "
        f"{outcome.refused} times 429"
    )
    verdict = "reached" if outcome.reached else "MISSED"
    rows.append(f"goal: p99 under {GOAL_P99_MS:g} ms during the flood: {verdict} ({outcome.gets} gets)")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fairness", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output instead of a table")
    for name, default in asdict(Load()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    words = vars(parser.parse_args())
    as_json = words.pop("json")
    try:
        outcome = measured(Load(**words))
    except WrkError as error:
        print(f"benchmarks.fairness: {error}", file=sys.stderr)
        return 2
    print(json.dumps(asdict(outcome) | {"reached": outcome.reached}) if as_json else table(outcome))
    return 0 if outcome.reached else 1


if __name__ == "__main__":
    sys.exit(main())

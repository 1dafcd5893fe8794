"""Many at once who send half and never the rest, or ask and never read: memory is bounded, and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from statistics import median
from time import monotonic

import httpx

from tests.api.builders import NODES, node
from tests.api.processes import line, running
from tests.api.test_connections import (
    cut_off,
    deaf,
    forget_peak,
    large_change,
    make_namespace_over,
    memory,
    told_while_written,
)

MB = 1 << 20
HALVES = (
    b"",
    b"GET /api/v1/no",
    b"GET /api/v1/nodes HTTP/1.1\r\nhost: dro",
    b"POST /api/v1/nodes HTTP/1.1\r\nhost: drover\r\ncontent-length: 3000000\r\n\r\n{" + b" " * 10_000,
    b"POST /api/v1/nodes HTTP/1.1\r\nhost: drover\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
)


async def test_a_thousand_halves_of_requests_cost_little_and_slow_nobody(postgres_url: str) -> None:
    async with running("serve", postgres_url, "8") as server:
        url = httpx.URL(await line(server))
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            await client.post(NODES, json=node("node0"))
            alone = await typical_get(client)
            before = memory(server.pid, "RssAnon")
            forget_peak(server.pid)
            with halves((str(url.host), int(url.port or 0)), 1000) as connections:
                beside = await typical_get(client)
                await asyncio.gather(*(gone(connection) for connection in connections))
            grown = memory(server.pid, "VmHWM") - before
            after = await client.get(f"{NODES}/node0")

    print(f"a get: {alone * 1000:.1f} ms alone, {beside * 1000:.1f} ms beside 1,000 halves; {grown / MB:.0f} MB more")
    assert after.status_code == 200
    assert beside < 5 * alone + 0.05
    assert grown < 100 * MB


async def test_many_who_never_read_their_watches_cost_little_and_slow_nobody(postgres_url: str) -> None:
    """Twenty-five megabytes of changes to each of forty: a gigabyte that must not be kept for them."""
    async with running("serve", postgres_url, "6") as server:
        url = httpx.URL(await line(server))
        address = (str(url.host), int(url.port or 0))
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            await make_namespace_over(client)
            await client.post(NODES, json=node("node0"))
            alone = await told_while_written(client, await five_changes(client), 30)
            start = await five_changes(client)
            before = memory(server.pid, "RssAnon")
            forget_peak(server.pid)
            request = f"GET {NODES}?watch=1&resourceVersion={start} HTTP/1.1\r\nhost: drover\r\n\r\n"
            with contextlib.ExitStack() as stack:
                connections = [stack.enter_context(deaf(address, request)) for _ in range(40)]
                beside = await told_while_written(client, start, 100)
                for connection in connections:
                    await cut_off(connection)
            grown = memory(server.pid, "VmHWM") - before

    usual, slowed = median(alone), median(beside)
    print(
        f"told within {usual * 1000:.0f} ms alone, {slowed * 1000:.0f} ms beside 40 deaf watches; {grown / MB:.0f} MB more"
    )
    assert len(beside) == 100
    assert slowed < 5 * usual + 0.25
    assert grown < 200 * MB


async def five_changes(client: httpx.AsyncClient) -> str:
    """Makes five, which a watcher is told at once; the version before them."""
    listed = (await client.get(NODES)).json()
    await asyncio.gather(*(large_change(client, number) for number in range(5)))
    return str(listed["metadata"]["resourceVersion"])


async def typical_get(client: httpx.AsyncClient) -> float:
    """Seconds that the median of some gets takes."""
    took = []
    for _ in range(31):
        started = monotonic()
        assert (await client.get(f"{NODES}/node0")).status_code == 200
        took.append(monotonic() - started)
    return median(took)


@contextlib.contextmanager
def halves(address: tuple[str, int], number: int) -> Iterator[list[socket.socket]]:
    """That many connections, each with the beginning of a request."""
    with contextlib.ExitStack() as stack:
        connections = []
        for index in range(number):
            connection = stack.enter_context(socket.create_connection(address, timeout=20))
            connection.sendall(HALVES[index % len(HALVES)])
            connection.setblocking(False)
            connections.append(connection)
        yield connections


async def gone(connection: socket.socket) -> None:
    """Returns when the other side has ended the connection, without an answer."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            assert await loop.sock_recv(connection, 1) == b""

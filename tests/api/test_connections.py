"""Clients that send too slowly, too much, or never read: they are cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from app.api.application import Api
from app.connections import HEAD_LIMIT
from app.server import SHUTDOWN_S, listen, listening
from app.tls import Own, Tls
from app.wiring.service import Service
from tests.api.builders import MACHINES, NODES, annotated, machine, node
from tests.api.processes import line, patient, running
from tests.api.watched import watching

HEAD = b"HTTP/1.1\r\nhost: drover\r\n"


@pytest.fixture
async def address(api: Api) -> AsyncIterator[tuple[str, int]]:
    """Of the service's own listener, less patient."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address: tuple[str, int] = listener.getsockname()
    service = Service(api, asyncio.Event(), api.end_streams)
    async with listening(service, listener, connection=patient(1)):
        yield address


@pytest.fixture
async def remote(address: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{address[1]}", timeout=10) as opened:
        yield opened


@dataclass
class Peer:
    """A client that speaks bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def says(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes:
        """All that comes until the connection is closed; broken counts as closed."""
        answered = b""
        async with asyncio.timeout(15):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(65536):
                    answered += data
        return answered


@pytest.fixture
async def peer(address: tuple[str, int]) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection(*address)
    yield Peer(reader, writer)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_keeps_a_connection_for_later_is_not_waited_for(api: Api, tmp_path: Path) -> None:
    tls = Tls(Own(tmp_path, "127.0.0.1"))
    listener = listen("127.0.0.1", 0)
    trusting = ssl.create_default_context(cadata=tls.authority)
    with socket.create_connection(listener.getsockname()) as plain:
        async with listening(Service(api, asyncio.Event(), api.end_streams), listener, tls):
            keeping = await asyncio.to_thread(trusting.wrap_socket, plain, server_hostname="127.0.0.1")
            await asyncio.to_thread(keeping.sendall, b"GET /api HTTP/1.1\r\nhost: drover\r\n\r\n")
            answered = await asyncio.to_thread(keeping.recv, 65536)
            closing = monotonic()
        took_s = monotonic() - closing
        keeping.close()

    assert answered.startswith(b"HTTP/1.1 200")
    assert took_s < SHUTDOWN_S


async def test_a_connection_that_says_nothing_is_closed(peer: Peer) -> None:
    assert await peer.answer() == b""


@pytest.mark.parametrize(
    "half",
    [
        b"GE",
        b"GET /api/v1/nodes HTTP/1.1\r\nhost: dro",
        b"GET /api/v1/nodes " + HEAD,
        b"POST /api/v1/nodes " + HEAD + b"content-length: 100\r\n\r\n{",
        b"POST /api/v1/nodes " + HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
        b"PATCH /api/v1/nodes/x "
        + HEAD
        + b"content-type: application/merge-patch+json\r\ncontent-length: 3000000\r\n\r\n"
        + b" " * 100_000,
    ],
    ids=["method", "header", "head", "body", "chunk", "large body"],
)
async def test_half_a_request_is_waited_for_and_then_cut_off(peer: Peer, half: bytes) -> None:
    started = monotonic()
    await peer.says(half)

    answered = await peer.answer()

    assert answered == b""
    assert 0.9 < monotonic() - started < 5


async def test_a_body_that_trickles_is_cut_off(peer: Peer) -> None:
    """Each byte in time, the whole of them not."""
    await peer.says(b"POST /api/v1/nodes " + HEAD + b"content-length: 1000\r\n\r\n")

    async def trickle() -> None:
        while True:
            await peer.says(b" ")
            await asyncio.sleep(0.2)

    trickling = asyncio.create_task(trickle())
    answered = await peer.answer()
    trickling.cancel()
    await asyncio.wait([trickling])

    assert answered == b""


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_trouble(
    peer: Peer, remote: httpx.AsyncClient
) -> None:
    await peer.says(b"POST /api/v1/nodes " + HEAD + b"content-length: 100\r\n\r\n{")
    peer.writer.transport.abort()

    assert (await remote.get(NODES)).status_code == 200


async def test_a_head_without_end_is_refused(peer: Peer) -> None:
    await peer.says(b"GET /api/v1/nodes?labelSelector=")
    with contextlib.suppress(ConnectionError):
        for _ in range(2 * HEAD_LIMIT // 65536):
            await peer.says(b"a" * 65536)
    answered = await peer.answer()

    assert answered.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n") or answered == b""


async def test_a_head_just_below_the_limit_is_read(peer: Peer) -> None:
    padding = b"x-padding: " + b"a" * (HEAD_LIMIT - 1000) + b"\r\n"
    await peer.says(b"GET /api/v1/nodes " + HEAD + padding + b"connection: close\r\n\r\n")

    assert (await peer.answer()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_the_last_request_of_a_connection_is_answered_whole(peer: Peer) -> None:
    await peer.says(b"GET /api " + HEAD + b"connection: close\r\n\r\n")

    head, _, body = (await peer.answer()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert b"\r\nconnection: close" in head
    assert head.count(b"content-length: %d" % len(body)) == 1
    assert json.loads(body)["kind"] == "APIVersions"


async def test_an_answer_to_head_is_a_head_alone(peer: Peer) -> None:
    request = MACHINES.encode() + b" " + HEAD
    await peer.says(b"HEAD " + request + b"\r\nGET " + request + b"connection: close\r\n\r\n")

    first, second, body = (await peer.answer()).split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert b"content-length: %d" % len(body) in first
    assert b"content-length: %d" % len(body) in second


async def test_an_answer_that_is_not_read_is_given_up(address: tuple[str, int], remote: httpx.AsyncClient) -> None:
    # More than the kernel takes off the server's hands.
    for number in range(40):
        await remote.post(MACHINES, json=annotated(machine(f"vm{number}"), large="x" * 250_000))
    with deaf(address, f"GET {MACHINES} HTTP/1.1\r\nhost: drover\r\n\r\n") as connection:
        await cut_off(connection)


async def test_a_client_that_never_reads_its_watch_is_cut_off_and_nobody_else_is_slowed(postgres_url: str) -> None:
    """Fifty megabytes of changes, through a process of its own so that its memory can be looked at."""
    async with running("serve", postgres_url, "6") as server:
        url = httpx.URL(await line(server))
        address = (str(url.host), int(url.port or 0))
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            await make_namespace_over(client)
            made = (await client.post(NODES, json=node("node0"))).json()
            start = made["metadata"]["resourceVersion"]
            await asyncio.gather(*(large_change(client, number) for number in range(5)))
            before = memory(server.pid, "RssAnon")
            forget_peak(server.pid)
            request = f"GET {NODES}?watch=1&resourceVersion={start} HTTP/1.1\r\nhost: drover\r\n\r\n"
            with deaf(address, request) as connection:
                delays = await asyncio.create_task(told_while_written(client, start, 200))
                await cut_off(connection)
            grown = memory(server.pid, "VmHWM") - before

    assert len(delays) == 200
    assert sorted(delays)[-10] < 0.5
    assert grown < 100 << 20


async def test_who_reads_late_and_who_reads_at_once_are_told_the_same(postgres_url: str) -> None:
    """Ten megabytes, more than a connection takes of them: some are written at once, some wait until they are read."""
    async with running("serve", postgres_url, "6") as server:
        url = httpx.URL(await line(server))
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            await make_namespace_over(client)
            start = (await client.post(NODES, json=node("node0"))).json()["metadata"]["resourceVersion"]
            async with (
                watching(client, NODES, resourceVersion=start) as late,
                watching(client, NODES, resourceVersion=start, labelSelector="!none") as selecting,
            ):
                for number in range(5):
                    await large_change(client, number)
                await told_while_written(client, start, 40)
                seen = [[(await one.next())["object"]["metadata"] for _ in range(45)] for one in (late, selecting)]
                await large_change(client, 2000)
                last = [(await one.next())["object"]["metadata"] for one in (late, selecting)]

    for metadata in seen:
        names = [one["annotations"]["large"][:6] for one in metadata]
        assert names == [f"{number:06}" for number in (*range(5), *range(1000, 1040))]
        versions = [int(one["resourceVersion"]) for one in metadata]
        assert versions == sorted(set(versions))
    assert [one["annotations"]["large"][:6] for one in last] == ["002000", "002000"]


async def make_namespace_over(client: httpx.AsyncClient) -> None:
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    assert (await client.post("/api/v1/namespaces", json=document)).status_code == 201


async def large_change(client: httpx.AsyncClient, number: int) -> None:
    patch = {"metadata": {"annotations": {"large": f"{number:06}" + "x" * 250_000}}}
    headers = {"content-type": "application/merge-patch+json"}
    answer = await client.patch(f"{NODES}/node0", content=json.dumps(patch), headers=headers)
    assert answer.status_code == 200, answer.text


async def told_while_written(client: httpx.AsyncClient, since: str, changes: int) -> list[float]:
    """How long after its write was begun each change was told to somebody who reads."""
    begun: list[float] = []
    told: list[float] = []

    async def write() -> None:
        for number in range(changes):
            begun.append(monotonic())
            await large_change(client, 1000 + number)

    async with watching(client, NODES, resourceVersion=since) as watched:
        for _ in range(5):
            await watched.next()
        writing = asyncio.create_task(write())
        for number in range(changes):
            event: dict[str, Any] = await watched.next()
            assert event["object"]["metadata"]["annotations"]["large"].startswith(f"{1000 + number:06}")
            told.append(monotonic())
        await writing
    return [then - start for start, then in zip(begun, told, strict=True)]


@contextlib.contextmanager
def deaf(address: tuple[str, int], request: str) -> Iterator[socket.socket]:
    """A connection whose client asks and then never reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(address)
    connection.sendall(request.encode())
    try:
        yield connection
    finally:
        connection.close()


async def cut_off(connection: socket.socket) -> None:
    """Returns when the other side has broken the connection; nothing is read from it."""
    poll = select.poll()
    poll.register(connection, 0)
    assert await asyncio.to_thread(poll.poll, 15_000), "still connected"


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory(pid: int, row: str) -> int:
    """Bytes that the process holds, or held at most since its references were cleared."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(found.split()[1]) * 1024 for found in status if found.startswith(f"{row}:"))

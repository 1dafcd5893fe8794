"""The API while its database is away: 503 with Retry-After in time, watches that end so that a client goes on where it was."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.store.address import Limits
from app.store.postgres import PostgresStore
from tests.api.builders import MIGRATIONS, NODES, make_namespace, migration, node
from tests.api.processes import line, running
from tests.store.cutting_proxy import cutting_proxy
from tests.store.servers import Server, server

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("outages")]

REFUSED_S = 2 * Limits().connect_s + Limits().answer_s + 1
"""A write that waits behind one which waits for the counter, and then for a connection."""


@pytest.fixture
def database() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="drover-out-"))
    folder.chmod(0o711)
    try:
        with server(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def client(database: Server) -> AsyncIterator[httpx.AsyncClient]:
    """Of an API process on that database, with the namespace `default` and a node."""
    store = PostgresStore(database.url)
    await store.open()
    await make_namespace(store, "default")
    await store.close()
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(running("serve", database.url))
        address = await line(process)
        opened = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=60))
        assert (await opened.post(NODES, json=node("node0"))).status_code == 201
        yield opened


class Following:
    """A client that watches, and comes back with the last revision that it was told whenever its watch ends."""

    def __init__(self, client: httpx.AsyncClient, since: str) -> None:
        self._client = client
        self.revision = since
        self.names: list[str] = []
        self.ends = 0
        self.refusals: list[httpx.Response] = []

    async def run(self) -> None:
        while True:
            with suppress(httpx.TransportError):
                await self._once()
            await asyncio.sleep(0.2)

    async def _once(self) -> None:
        options = {"watch": "1", "resourceVersion": self.revision}
        async with self._client.stream("GET", NODES, params=options) as answer:
            if answer.status_code != 200:
                await answer.aread()
                self.refusals.append(answer)
                return
            async for text in answer.aiter_lines():
                event = json.loads(text)
                assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
                self.names.append(event["object"]["metadata"]["name"])
                self.revision = event["object"]["metadata"]["resourceVersion"]
            self.ends += 1


def ensure_refused(answer: httpx.Response) -> None:
    """As kube-apiserver says that it cannot, and clients try again."""
    status: dict[str, Any] = answer.json()
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True), answer.text
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "ServiceUnavailable", 503)
    assert status["details"]["retryAfterSeconds"] > 0


async def ask_everything(client: httpx.AsyncClient) -> list[httpx.Response]:
    """Reads and writes of every sort, at once."""
    merge = {"content-type": "application/merge-patch+json"}
    return await asyncio.gather(
        client.get(f"{NODES}/node0"),
        client.get(NODES),
        client.get(NODES, params={"limit": "1"}),
        client.get(NODES, params={"watch": "1"}),
        client.post(NODES, json=node("during")),
        client.post(MIGRATIONS, json=migration("during")),
        client.patch(f"{NODES}/node0", content='{"spec": {"unschedulable": true}}', headers=merge),
        client.delete(f"{NODES}/node0"),
    )


async def test_a_killed_database_is_503_and_all_goes_on_when_it_is_back(
    database: Server, client: httpx.AsyncClient
) -> None:
    listed = (await client.get(NODES)).json()
    following = Following(client, listed["metadata"]["resourceVersion"])
    watching = asyncio.create_task(following.run())
    try:
        database.kill()
        refused = await ask_everything(client)
        alive = await client.get("/livez")
        database.start()
        await created(client, "after", 20)
        await told_of("after", following, watching, 20)
    finally:
        watching.cancel()
        await asyncio.wait([watching])

    for answer in refused:
        ensure_refused(answer)
    assert alive.status_code == 200
    assert following.names == ["after"]


async def created(client: httpx.AsyncClient, name: str, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while (await client.post(NODES, json=node(name))).status_code not in (201, 409):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def told_of(name: str, following: Following, watching: asyncio.Task[None], within_s: float) -> None:
    """Raises what ended the client that watches."""
    async with asyncio.timeout(within_s):
        while name not in following.names:
            if watching.done():
                watching.result()
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_database_that_is_silent_for_a_minute_makes_nobody_wait_for_it(
    database: Server, client: httpx.AsyncClient
) -> None:
    listed = (await client.get(NODES)).json()
    following = Following(client, listed["metadata"]["resourceVersion"])
    watching = asyncio.create_task(following.run())
    try:
        await asyncio.sleep(0.5)
        database.freeze()
        frozen, rounds = time.monotonic(), []
        while time.monotonic() < frozen + 60:
            asked = time.monotonic()
            for answer in await ask_everything(client):
                ensure_refused(answer)
            rounds.append(round(time.monotonic() - asked, 1))
        ends = following.ends
        database.thaw()
        await created(client, "after", 30)
        await told_of("after", following, watching, 30)
    finally:
        database.thaw()
        watching.cancel()
        await asyncio.wait([watching])

    print(f"answered 503 after {rounds} s; {ends} watch ended, {len(following.refusals)} refused")
    assert max(rounds) < REFUSED_S
    assert ends == 1
    for answer in following.refusals:
        ensure_refused(answer)
    items = (await client.get(NODES)).json()["items"]
    names = [item["metadata"]["name"] for item in items]
    # What was sent to the silent server before it was given up may have been done when it woke; the delete too.
    assert "after" in names and set(names) <= {"node0", "during", "after"}
    assert len(following.names) == len(set(following.names))


async def test_a_create_whose_answer_was_lost_can_be_sent_again(database: Server) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(cutting_proxy(database.port))
        url = f"postgresql://drover@127.0.0.1:{proxy.port}/postgres"
        store = PostgresStore(url)
        await store.open()
        await make_namespace(store, "default")
        await store.close()
        address = await line(await stack.enter_async_context(running("serve", url)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=60))
        await client.post(NODES, json=node("first"))

        proxy.cut_after(b"lost-once")
        answer = await client.post(MIGRATIONS, json=migration("lost-once"))
        again = await client.post(MIGRATIONS, json=migration("lost-once"))

        assert proxy.cuts == 1
        assert (answer.status_code, again.status_code) == (201, 409), answer.text
        items = (await client.get(MIGRATIONS)).json()["items"]
        assert [answer.json()["metadata"]["uid"]] == [item["metadata"]["uid"] for item in items]

"""A history checker: writers, readers and cut watchers on API processes that are killed; what they saw must be one log."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random

import httpx
import pytest

from app.store.base import Store
from app.store.postgres import PostgresStore
from tests.api.builders import NODES, make_namespace
from tests.api.history import (
    ALL,
    PARTS,
    History,
    Transport,
    Watcher,
    away,
    joiner,
    name_of,
    reader,
    revision_of,
    typed,
    writer,
)
from tests.api.informer import Informer
from tests.api.judgement import judge
from tests.api.processes import free_port, line, running
from tests.store.servers import Server, server

LONG_SEEDS = 2


@dataclass(frozen=True)
class Plan:
    """How much happens."""

    seed: int
    processes: int
    writers: int
    steps: int
    watchers: int
    kills: int
    database_kills: int = 0


@dataclass
class Fleet:
    """API processes, each on a port of its own that its successor listens on again."""

    url: str
    stack: AsyncExitStack
    ports: list[int] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    alive: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self) -> str:
        """One more; its address."""
        self.ports.append(free_port())
        await self.restart(len(self.ports) - 1)
        return self.addresses[-1]

    async def restart(self, number: int) -> None:
        port = self.ports[number]
        process = await self.stack.enter_async_context(running("serve", self.url, "30", str(port)))
        self.alive[number] = process
        address = await line(process)
        if number == len(self.addresses):
            self.addresses.append(address)

    async def kill(self, number: int) -> None:
        self.alive[number].kill()
        await self.alive[number].wait()


async def killer(history: History, fleet: Fleet, kills: int) -> None:
    """One process after the other is killed in the midst of what it does, and comes back."""
    for _ in range(kills):
        number = history.random.randrange(len(fleet.ports))
        before = len(history.writes)
        while len(history.writes) < before + 15:  # noqa: ASYNC110  (writes send no event)
            await asyncio.sleep(0.02)
        await fleet.kill(number)
        await fleet.restart(number)


async def database_killer(history: History, database: Server, kills: int) -> None:
    """kill -9 to PostgreSQL in the midst of what it does, and it comes back."""
    for _ in range(kills):
        before = len(history.writes)
        while len(history.writes) < before + 25:  # noqa: ASYNC110  (writes send no event)
            await asyncio.sleep(0.02)
        await asyncio.to_thread(database.kill)
        await asyncio.sleep(history.random.uniform(0, 0.5))
        await asyncio.to_thread(database.start)


def any_alive(tasks: Sequence[asyncio.Task[None]]) -> bool:
    return not all(task.done() for task in tasks)


async def happened(store: Store, url: str, plan: Plan, database: Server | None = None) -> None:
    """Lets it all happen, and judges it. The seed is printed: it is shown with a failure."""
    print(plan)
    hooks = {"response": [away]} if database is not None else {}
    await make_namespace(store, "default")
    async with AsyncExitStack() as stack:
        fleet = Fleet(url, stack)
        addresses = [await fleet.start() for _ in range(plan.processes)]
        limits = httpx.Limits(max_connections=None)
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=address, timeout=30, transport=Transport(limits=limits), event_hooks=hooks)
            )
            for address in addresses
        ]
        history = History(clients, Random(plan.seed))
        history.start = revision_of((await history.client.get(NODES)).json())
        history.knows(history.start)
        watchers = [Watcher(history, PARTS[number % len(PARTS)], history.start) for number in range(plan.watchers)]

        last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(600), asyncio.TaskGroup() as group:
            watching = [group.create_task(watcher.run(last)) for watcher in watchers]
            looking = [group.create_task(look(history)) for look in (reader, reader, joiner)]
            async with asyncio.TaskGroup() as busy:
                killing = [busy.create_task(killer(history, fleet, plan.kills))]
                if database is not None:
                    killing.append(busy.create_task(database_killer(history, database, plan.database_kills)))
                # A killer waits for writes: they go on until it is through.
                goes_on = partial(any_alive, killing)
                for who in range(plan.writers):
                    busy.create_task(writer(history, who, plan.steps, goes_on))
            history.over = True
            await asyncio.gather(*looking)
            last.set_result(revision_of((await history.client.get(NODES)).json()))
            await asyncio.gather(*watching)
        uncut = Watcher(history, ALL, history.start)
        async with asyncio.timeout(60):
            async for event in uncut.once(1 << 30):
                uncut.told(event)
                if uncut.revision >= last.result():
                    break

    judge(history, uncut.events, [(watcher.part, watcher.events) for watcher in watchers])
    print(
        f"{len(uncut.events)} changes, {len(history.reads)} reads, {len(history.joins)} joins, "
        f"{sum(w.cuts for w in watchers)} cuts, {sum(w.bookmarks for w in watchers)} bookmarks, "
        f"{sum(w.outcome.value == 'unknown' for w in history.writes)} writes of unknown outcome"
    )
    assert len(uncut.events) > plan.writers * plan.steps // 6
    # The faster the writes, the sooner it is over.
    assert min(watcher.cuts for watcher in watchers) > 0
    assert sum(watcher.cuts for watcher in watchers) > 2 * plan.watchers


async def test_what_everybody_sees_is_one_log(postgres_url: str, store: PostgresStore) -> None:
    await happened(store, postgres_url, Plan(seed=1, processes=2, writers=4, steps=40, watchers=5, kills=1))


@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.parametrize("_round", range(LONG_SEEDS))
async def test_what_everybody_sees_is_one_log_however_often_processes_die(
    postgres_url: str, store: PostgresStore, _round: int
) -> None:
    seed = secrets.randbelow(1 << 32)
    await happened(store, postgres_url, Plan(seed, processes=3, writers=6, steps=80, watchers=8, kills=5))


@pytest.fixture
def database() -> Iterator[Server]:
    """A server of the test's own."""
    folder = Path(tempfile.mkdtemp(prefix="drover-hist-"))
    folder.chmod(0o711)
    try:
        with server(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder)


async def test_what_everybody_sees_is_one_log_also_when_the_database_dies(database: Server) -> None:
    store = PostgresStore(database.url)
    await store.open()
    plan = Plan(seed=2, processes=2, writers=4, steps=40, watchers=4, kills=1, database_kills=1)
    await happened(store, database.url, plan, database)
    await store.close()


@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.parametrize("_round", range(LONG_SEEDS))
async def test_what_everybody_sees_is_one_log_however_often_processes_and_the_database_die(
    database: Server, _round: int
) -> None:
    store, seed = PostgresStore(database.url), secrets.randbelow(1 << 32)
    await store.open()
    plan = Plan(seed, processes=3, writers=6, steps=80, watchers=8, kills=3, database_kills=6)
    await happened(store, database.url, plan, database)
    await store.close()


async def test_an_informer_survives_a_restart_and_a_compaction(postgres_url: str, store: PostgresStore) -> None:
    """It lists, watches, comes back where it was, lists again when it is too late for that: and ends up with the truth."""
    async with AsyncExitStack() as stack:
        address = await line(await stack.enter_async_context(running("serve", postgres_url)))
        other = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=30))
        history = History([other], Random(3))
        informer = Informer(NODES)

        async with running("serve", postgres_url) as first:
            informing = asyncio.create_task(informer.run(await line(first)))
            await writer(history, 1, 40)
            await informer.reached(await newest(other))
        async with asyncio.timeout(20):
            await informing
        await writer(history, 2, 40)
        await store.compact(older_than=timedelta(0), keep=1)

        later = await line(await stack.enter_async_context(running("serve", postgres_url)))
        informing = asyncio.create_task(informer.run(later))
        await writer(history, 3, 40)
        await informer.reached(await newest(other))
        informing.cancel()
        await asyncio.wait([informing])
        listed = (await other.get(NODES)).json()["items"]

    assert informer.objects == {name_of(item): typed(item) for item in listed}
    assert informer.expired == 1
    assert informer.lists == 2


async def newest(client: httpx.AsyncClient) -> int:
    """Of a list: everything up to it is there to be told."""
    items = (await client.get(NODES)).json()["items"]
    return max(revision_of(item) for item in items)

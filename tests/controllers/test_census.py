"""The census: kept between decisions, and exact in each, whoever else decides; so nothing is overbooked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from app.controllers.census import MANY, Census
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Need
from app.controllers.placement.nodes import node_view
from app.controllers.placement.pipeline import place
from app.controllers.placement.reservations import loads, reservation
from app.controllers.pods import launcher_pod
from app.kinds import NODE, POD
from app.machinery.objects import Document
from app.store.base import Key, Run, Scope, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.world import (
    BIRTH,
    MIB,
    create,
    migration_document,
    migration_key,
    node_document,
    pod_document,
    vm_document,
)

GUEST = Need(1024 * MIB, 1000)
ROOM = 8  # guests on a node of world.node_document


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """Another process's store."""
    opened = PostgresStore(postgres_url)
    await opened.open()
    yield opened
    await opened.close()


async def fleet(store: PostgresStore, census: Census, serial: bool = True) -> Fleet:
    async with store.transaction(serial=serial) as tx:
        await census.taken(tx)
        return census.fleet(await tx.unfinished_runs())


async def counted(store: PostgresStore) -> Fleet:
    """Everything read and added up anew."""
    nodes = [node_view(stored.document) for stored in (await store.objects.list(Scope(NODE.resource))).items]
    pods = [reservation(stored.document) for stored in (await store.objects.list(Scope(POD.resource))).items]
    arriving = Counter(run.target for run in await store.runs.unfinished())
    return Fleet.of(nodes, loads((pod for pod in pods if pod is not None), arriving))


def shown(fleet: Fleet) -> object:
    return fleet.index.nodes, fleet.memory.amounts, fleet.cpu_milli.amounts, fleet.arriving.amounts


async def take_a_place(store: PostgresStore, census: Census) -> str | None:
    """As deciders do: choose and reserve in one serial transaction."""
    vm = vm_document(f"vm-{uuid4()}", "")
    async with store.transaction(serial=True) as tx:
        await census.taken(tx)
        fitting = place(GUEST, census.fleet(await tx.unfinished_runs())).fitting
        if not fitting:
            return None
        pod = launcher_pod(BIRTH, vm, fitting[0], GUEST)
        tx.create(Key(POD.resource, "default", pod["metadata"]["name"]), pod)
        return fitting[0]


async def until_full(store: PostgresStore, census: Census) -> list[str]:
    places = []
    while (node := await take_a_place(store, census)) is not None:
        places.append(node)
    return places


async def test_deciders_with_censuses_of_their_own_overbook_nothing(store: PostgresStore, other: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(3)))
    deciders = [(store, Census()), (other, Census()), (store, Census())]
    for one, census in deciders:
        assert shown(await fleet(one, census)) == shown(await counted(store))

    taken = await asyncio.gather(*(until_full(*decider) for decider in deciders * 2))

    places = Counter(node for some in taken for node in some)
    assert places == {"node0": ROOM, "node1": ROOM, "node2": ROOM}


async def test_one_census_may_serve_decisions_that_overlap(store: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(2)))
    census = Census()

    async def look() -> list[str]:
        for _ in range(20):
            await fleet(store, census, serial=False)
        return []

    taken = await asyncio.gather(until_full(store, census), until_full(store, census), look(), look())

    assert Counter(node for some in taken for node in some) == {"node0": ROOM, "node1": ROOM}


async def test_it_is_the_same_as_counting_anew_whatever_changes(store: PostgresStore) -> None:
    rng, census = random.Random(7), Census()
    nodes, pods = [f"node{n}" for n in range(4)], dict[str, Document]()
    await create(store, *(node_document(name) for name in nodes))

    for number in range(60):
        match rng.randrange(5):
            case 0 | 1:
                vm = vm_document(f"vm{number}", rng.choice(nodes))
                pod = pod_document(vm, vm["status"]["nodeName"], rng.randrange(1, 9) * 64 * MIB)
                pods[pod["metadata"]["name"]] = pod
                await create(store, pod)
            case 2 if pods:
                await store.objects.delete(
                    Key(POD.resource, "default", pods.pop(rng.choice(sorted(pods)))["metadata"]["name"])
                )
            case 3 if pods:
                await edit(store.objects, Key(POD.resource, "default", rng.choice(sorted(pods))), _ended)
            case _:
                await edit(store.objects, Key(NODE.resource, "", rng.choice(nodes)), lambda node: _resized(node, rng))
        if rng.random() < 0.5:
            assert shown(await fleet(store, census)) == shown(await counted(store))

    assert shown(await fleet(store, census)) == shown(await counted(store))


def _ended(pod: Document) -> Document:
    return {**pod, "status": {"phase": "Failed"}}


def _resized(node: Document, rng: random.Random) -> Document:
    return {**node, "status": {**node["status"], "allocatable": {"cpu": "20", "memory": f"{rng.randrange(1, 9)}Gi"}}}


async def test_guests_on_their_way_are_counted_and_leave(store: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(2)))
    census, run = Census(), Run(uuid4(), migration_key("m"), uuid4(), uuid4(), "node0", "node1", 1, {})
    async with store.transaction() as tx:
        tx.start_run(run)

    assert (await fleet(store, census)).arriving.amounts == (0, 1)

    (held,) = await store.runs.claim("worker", timedelta(minutes=1), 1)
    async with store.transaction() as tx:
        tx.finish_run(run.id, held.token, 0, {})
    assert (await fleet(store, census)).arriving.amounts == (0, 0)


async def test_where_the_log_was_compacted_everything_is_read_anew(store: PostgresStore) -> None:
    await create(store, node_document("node0"), node_document("node1"))
    census = Census()
    await fleet(store, census)
    vm = vm_document("vm", "node0")
    await create(store, pod_document(vm, "node0"))
    await store.objects.delete(Key(NODE.resource, "", "node1"))
    assert await store.compact(older_than=timedelta(), keep=0) > 0

    assert shown(await fleet(store, census)) == shown(await counted(store))


async def test_many_changes_at_once_are_added_up_anew(store: PostgresStore) -> None:
    names = [f"node{n}" for n in range(MANY + 1)]
    census = Census()
    async with store.transaction() as tx:
        for name in names:
            tx.create(Key(NODE.resource, "", name), node_document(name))
    await fleet(store, census)

    async with store.transaction() as tx:
        for name in names:
            pod = pod_document(vm_document(f"vm-{name}", name), name)
            tx.create(Key(POD.resource, "default", pod["metadata"]["name"]), pod)

    assert shown(await fleet(store, census)) == shown(await counted(store))


async def test_migrations_that_are_not_over_stay_in_the_order_of_their_coming(store: PostgresStore) -> None:
    census = Census()
    await create(store, *(migration_document(name) for name in ("c", "a", "b")))
    await edit(store.objects, migration_key("c"), lambda m: {**m, "status": {"phase": "Pending"}})
    async with store.transaction() as tx:
        await census.taken(tx)
        before = census.migrations()
    await edit(store.objects, migration_key("a"), lambda m: {**m, "status": {"phase": "Failed"}})
    await edit(store.objects, migration_key("b"), lambda m: {**m, "status": {"phase": "Pending"}})
    await create(store, migration_document("0"))

    async with store.transaction() as tx:
        await census.taken(tx)

    assert {m["metadata"]["name"] for m in before} == {"a", "b", "c"}
    assert [m["metadata"]["name"] for m in census.migrations()] == ["b", "c", "0"]

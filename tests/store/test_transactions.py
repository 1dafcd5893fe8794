"""Transactions: all or nothing, fenced, and serial where a limit depends on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from app.store.address import Limits
from app.store.base import AlreadyExists, Conflict, LeaseLost, NotFound, RunState, Scope, StoreError
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, run, widget

ALL = Scope(WIDGETS)
BOTH = pytest.mark.parametrize("serial", [False, True])


@BOTH
async def test_all_of_it_happens(store: PostgresStore, serial: bool) -> None:
    created = await store.objects.create(key("a"), widget("a"))
    started = run()

    async with store.transaction(serial=serial) as tx:
        assert created == await tx.get(key("a"))
        tx.replace(key("a"), created.document | {"spec": {"size": 2}})
        tx.create(key("b"), widget("b"))
        tx.start_run(started)

    listing = await store.objects.list(ALL)
    assert {item.key.name: item.revision for item in listing.items} == {"a": 2, "b": 3}
    assert [started] == list(await store.runs.of(started.migration_uid))


@BOTH
async def test_nothing_of_it_happens_when_one_write_loses(store: PostgresStore, serial: bool) -> None:
    created = await store.objects.create(key("a"), widget("a"))
    await store.objects.replace(key("a"), created.document | {"spec": {"size": 1}})
    started = run()

    with pytest.raises(Conflict):
        async with store.transaction(serial=serial) as tx:
            tx.create(key("b"), widget("b"))
            tx.start_run(started)
            tx.replace(key("a"), created.document | {"spec": {"size": 2}})

    assert [item.key.name for item in (await store.objects.list(ALL)).items] == ["a"]
    assert await store.objects.revision() == 2
    assert not await store.runs.of(started.migration_uid)


@BOTH
async def test_nothing_of_it_happens_when_the_block_raises(store: PostgresStore, serial: bool) -> None:
    with pytest.raises(OSError, match="mine"):
        async with store.transaction(serial=serial) as tx:
            tx.create(key("b"), widget("b"))
            raise OSError("mine")

    assert await store.objects.revision() == 0


@BOTH
async def test_a_cancelled_transaction_holds_nobody_up(store: PostgresStore, serial: bool) -> None:
    inside = asyncio.Event()

    async def stuck() -> None:
        async with store.transaction(serial=serial) as tx:
            tx.create(key("b"), widget("b"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await inside.wait()
    task.cancel()

    async with asyncio.timeout(5):
        created = await store.objects.create(key("a"), widget("a"))
    assert created.revision == 1


async def test_each_write_stands_on_those_before_it(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        tx.create(key("a"), widget("a"))
        tx.delete(key("a"))
        tx.create(key("a"), widget("a", again=True))

    assert (await store.objects.get(key("a"))).document["spec"] == {"again": True}
    async with store.objects.watch(ALL, 0) as watch:
        events = [await watch.next(5) for _ in range(3)]
    assert [event.type for event in events if event] == ["ADDED", "DELETED", "ADDED"]


async def test_what_a_serial_transaction_read_cannot_change_before_its_end(store: PostgresStore) -> None:
    async def other() -> None:
        await store.objects.create(key("other"), widget())

    async with store.transaction(serial=True) as tx:
        task = asyncio.create_task(other())
        assert await tx.runs_of(uuid4()) == []
        assert (await tx.list(ALL)).items == []
        assert not task.done()
        tx.create(key("mine"), widget())
    await task

    order = {item.key.name: item.revision for item in (await store.objects.list(ALL)).items}
    assert order == {"mine": 1, "other": 2}


async def test_reads_of_a_transaction_may_be_gathered(store: PostgresStore) -> None:
    await store.objects.create(key("a"), widget("a"))

    async with store.transaction(serial=True) as tx:
        found = await asyncio.gather(*(tx.get(key("a")) for _ in range(5)), tx.list(ALL), tx.unfinished_runs())

    assert len(found) == 7


async def test_a_transaction_without_writes_is_no_change(store: PostgresStore) -> None:
    async with store.transaction(serial=True) as tx:
        with pytest.raises(NotFound):
            await tx.get(key())

    assert await store.objects.revision() == 0


@BOTH
async def test_a_lost_run_fences_everything(store: PostgresStore, serial: bool) -> None:
    async with store.transaction() as tx:
        tx.start_run(run())
    (held,) = await store.runs.claim("one", timedelta(), 1)
    (taken,) = await store.runs.claim("two", timedelta(minutes=1), 1)

    with pytest.raises(LeaseLost):
        async with store.transaction(serial=serial) as tx:
            tx.fence_run(held.id, held.token)
            tx.create(key(), widget())
    async with store.transaction(serial=serial) as tx:
        tx.fence_run(taken.id, taken.token)
        tx.create(key("b"), widget())

    assert [item.key.name for item in (await store.objects.list(ALL)).items] == ["b"]


@BOTH
async def test_a_lost_lease_fences_everything(store: PostgresStore, serial: bool) -> None:
    (first,) = await store.leases.acquire(["node/a"], "one", timedelta())
    (second,) = await store.leases.acquire(["node/a"], "two", timedelta(minutes=1))

    with pytest.raises(LeaseLost):
        async with store.transaction(serial=serial) as tx:
            tx.fence_lease("node/a", first.token)
            tx.create(key(), widget())
    with pytest.raises(LeaseLost):
        async with store.transaction(serial=serial) as tx:
            tx.fence_lease("nobody's", 1)
            tx.create(key(), widget())
    async with store.transaction(serial=serial) as tx:
        tx.fence_lease("node/a", second.token)
        tx.create(key(), widget())

    assert await store.objects.revision() == 1


async def test_a_run_is_finished_with_what_it_means_or_not_at_all(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        tx.start_run(run())
    (held,) = await store.runs.claim("one", timedelta(minutes=1), 1)

    with pytest.raises(LeaseLost):
        async with store.transaction() as tx:
            tx.create(key(), widget())
            tx.finish_run(held.id, held.token + 1, 0, {})
    async with store.transaction() as tx:
        tx.create(key(), widget())
        tx.finish_run(held.id, held.token, 64, {"why": "no"})

    (finished,) = await store.runs.of(held.migration_uid)
    assert (finished.state, finished.exit_code, finished.result) == (RunState.FINISHED, 64, {"why": "no"})
    assert await store.objects.revision() == 1
    with pytest.raises(LeaseLost):
        async with store.transaction() as tx:
            tx.finish_run(held.id, held.token, 0, {})


async def test_a_domain_and_an_attempt_have_one_run(store: PostgresStore) -> None:
    first = run()
    async with store.transaction() as tx:
        tx.start_run(first)

    for second in (run(domain=first.domain), run(migration_uid=first.migration_uid), first):
        with pytest.raises(AlreadyExists):
            async with store.transaction(serial=True) as tx:
                tx.start_run(second)
    async with store.transaction() as tx:
        tx.finish_run(first.id, 0, 66, {})
        tx.start_run(run(domain=first.domain, migration_uid=first.migration_uid, attempt=2))

    assert [found.attempt for found in await store.runs.of(first.migration_uid)] == [1, 2]


async def test_a_frozen_holder_of_the_counter_does_not_stop_the_others_for_ever(postgres_url: str) -> None:
    store = PostgresStore(postgres_url, Limits(idle_in_transaction_s=0.3))
    await store.open()

    with pytest.raises(StoreError):
        async with store.transaction(serial=True) as tx:
            async with asyncio.timeout(5):
                created = await store.objects.create(key("a"), widget("a"))
            tx.create(key("b"), widget("b"))

    assert created.revision == await store.objects.revision() == 1
    await store.close()

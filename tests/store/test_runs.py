"""Runs: a queue that gives nothing twice, and forgets nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from app.store.base import LeaseLost, NotFound, Run, RunState
from app.store.postgres import PostgresStore
from tests.store.builders import key, run, widget

MINUTE = timedelta(minutes=1)


async def start(store: PostgresStore, *runs: Run) -> None:
    async with store.transaction() as tx:
        for started in runs:
            tx.start_run(started)


async def test_no_run_is_claimed_twice(store: PostgresStore, postgres_url: str) -> None:
    started = [run() for _ in range(40)]
    await start(store, *started)
    other = PostgresStore(postgres_url)
    await other.open()

    claims = await asyncio.gather(
        *(one.runs.claim(f"worker-{i}", MINUTE, 3) for i in range(10) for one in (store, other))
    )

    claimed = [taken.id for claim in claims for taken in claim]
    assert sorted(taken.id for taken in started) == sorted(claimed)
    await other.close()


async def test_the_oldest_are_claimed_first(store: PostgresStore) -> None:
    started = [run() for _ in range(5)]
    for one in started:
        await start(store, one)

    first = await store.runs.claim("w", MINUTE, 2)
    second = await store.runs.claim("w", MINUTE, 9)

    assert [one.id for one in started] == [one.id for one in (*first, *second)]
    assert {(1, RunState.HELD, "w")} == {(one.token, one.state, one.holder) for one in (*first, *second)}


async def test_a_lapsed_lease_is_taken_over_with_a_larger_token(store: PostgresStore) -> None:
    await start(store, run())
    (held,) = await store.runs.claim("one", timedelta(), 1)

    (taken,) = await store.runs.claim("two", MINUTE, 1)

    assert (taken.token, taken.holder) == (2, "two")
    assert held.lease_until == taken.former_lease_until
    with pytest.raises(LeaseLost):
        await store.runs.extend(held.id, held.token, MINUTE)
    assert await store.runs.claim("three", MINUTE, 1) == []


async def test_an_extended_lease_is_longer_and_tells_of_a_cancel(store: PostgresStore) -> None:
    await start(store, run())
    (held,) = await store.runs.claim("one", timedelta(), 1)
    assert held.lease_until is not None

    extended = await store.runs.extend(held.id, held.token, MINUTE)
    async with store.transaction() as tx:
        tx.cancel_run(held.id)
    cancelled = await store.runs.extend(held.id, held.token, MINUTE)

    assert extended.lease_until is not None
    assert extended.lease_until - held.lease_until > timedelta(seconds=50)
    assert (extended.cancelled, cancelled.cancelled) == (False, True)


async def test_a_finished_run_frees_its_slot_and_is_not_claimed(store: PostgresStore) -> None:
    await start(store, run(), run())
    held, _ = await store.runs.claim("one", timedelta(), 2)

    async with store.transaction() as tx:
        tx.finish_run(held.id, held.token, 0, {})
        tx.cancel_run(held.id)

    assert held.id not in [one.id for one in await store.runs.unfinished()]
    assert held.id not in [one.id for one in await store.runs.claim("two", MINUTE, 2)]
    (finished,) = await store.runs.of(held.migration_uid)
    assert (finished.exit_code, finished.cancelled) == (0, False)
    with pytest.raises(LeaseLost):
        await store.runs.extend(held.id, held.token, MINUTE)


async def test_a_run_that_does_not_exist_cannot_be_cancelled(store: PostgresStore) -> None:
    with pytest.raises(NotFound):
        async with store.transaction() as tx:
            tx.cancel_run(uuid4())


async def test_what_was_started_is_read_back(store: PostgresStore) -> None:
    started = run(attempt=3, plan={"a": [1, 2.5, None]}, memory=1 << 40)
    await start(store, started)

    assert [started] == await store.runs.of(started.migration_uid)
    assert [replace(started, plan={})] == await store.runs.unfinished()


async def test_compaction_forgets_finished_runs_of_migrations_that_are_gone(store: PostgresStore) -> None:
    orphan, owned, unfinished = run(), run(), run()
    document = widget()
    document["metadata"]["uid"] = str(owned.migration_uid)
    await store.objects.create(key(), document)
    await start(store, orphan, owned, unfinished)
    async with store.transaction() as tx:
        tx.finish_run(orphan.id, 0, 0, {})
        tx.finish_run(owned.id, 0, 0, {})

    await store.compact(older_than=timedelta(), keep=0)

    assert [len(await store.runs.of(one.migration_uid)) for one in (orphan, owned, unfinished)] == [0, 1, 1]


async def test_a_lease_has_one_holder(store: PostgresStore, postgres_url: str) -> None:
    other = PostgresStore(postgres_url)
    await other.open()
    names = [f"node/{i}" for i in range(10)]

    won = await asyncio.gather(
        *(one.leases.acquire(order, holder, MINUTE)
          for one, holder, order in ((store, "a", names), (other, "b", names[::-1]), (store, "c", names)))
    )  # fmt: skip

    assert sorted(names) == sorted(lease.name for leases in won for lease in leases)
    assert {lease.name: lease for leases in won for lease in leases} == {
        held.name: held for held in await store.leases.held()
    }
    await other.close()


async def test_a_holder_renews_under_the_same_token(store: PostgresStore) -> None:
    (first,) = await store.leases.acquire(["n"], "one", timedelta(seconds=10))
    (again,) = await store.leases.acquire(["n", "n"], "one", MINUTE)

    assert await store.leases.acquire(["n"], "two", MINUTE) == []
    assert first.token == again.token
    assert first.until < again.until


async def test_the_next_holder_has_a_larger_token(store: PostgresStore) -> None:
    (first,) = await store.leases.acquire(["n"], "one", timedelta())
    assert await store.leases.held() == []
    (second,) = await store.leases.acquire(["n"], "two", MINUTE)
    await store.leases.release(["n"], "one")
    assert [second] == await store.leases.held()
    await store.leases.release(["n"], "two")
    (third,) = await store.leases.acquire(["n"], "one", MINUTE)

    assert [first.token, second.token, third.token] == [1, 2, 3]


async def test_a_lease_tells_when_the_last_tenure_that_lapsed_ended(store: PostgresStore) -> None:
    """A tenure in between that was given back hides nothing; a process that lets its own lapse is told of it too."""
    (dead,) = await store.leases.acquire(["x"], "dead", timedelta())
    (second,) = await store.leases.acquire(["x"], "two", MINUTE)
    (renewed,) = await store.leases.acquire(["x"], "two", MINUTE)
    await store.leases.release(["x"], "two")
    (third,) = await store.leases.acquire(["x"], "three", timedelta())
    (again,) = await store.leases.acquire(["x"], "three", MINUTE)

    assert dead.former_until is None
    assert {dead.until} == {second.former_until, renewed.former_until, third.former_until}
    assert again.former_until == third.until
    assert [again] == await store.leases.held()

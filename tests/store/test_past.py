"""What is over is remembered longer than its object, and who asked for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.store.base import Asked, LeaseLost, Past
from app.store.postgres import PostgresStore

pytestmark = pytest.mark.postgres


def past(name: str = "m", subject: str = "vm", uid: UUID | None = None, outcome: str = "Succeeded") -> Past:
    return Past(uid or uuid4(), "default", name, subject, outcome, {"name": name})


def asked(uid: UUID, verb: str = "create", at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> Asked:
    return Asked("id-1", str(uid), at, verb, "alice", ("devs", "system:authenticated"), "192.0.2.1", "kubectl", 201)


async def remember(store: PostgresStore, *records: Past) -> None:
    async with store.transaction() as tx:
        for record in records:
            tx.remember(record)


async def test_records_are_told_newest_first_and_by_their_subject(store: PostgresStore) -> None:
    first, second, other = past("m1"), past("m2", outcome="Failed"), past("m3", subject="other")
    for record in (first, second, other):
        await remember(store, record)

    everything = await store.history.read()
    assert [one.name for one in everything] == ["m3", "m2", "m1"]
    assert [one.name for one in await store.history.read(namespace="default", subject="vm")] == ["m2", "m1"]
    assert [one.name for one in await store.history.read(limit=1)] == ["m3"]
    assert [one.name for one in await store.history.read(outcome="Succeeded")] == ["m3", "m1"]
    assert [one.record for one in await store.history.read(name="m1")] == [{"name": "m1"}]
    assert all(one.ended_at is not None for one in everything)


async def test_the_first_word_about_one_counts(store: PostgresStore) -> None:
    one = past()
    await remember(store, one)
    await remember(store, past(uid=one.uid, outcome="Failed"))

    assert [found.outcome for found in await store.history.read()] == ["Succeeded"]


async def test_what_is_fenced_off_is_not_remembered(store: PostgresStore) -> None:
    with pytest.raises(LeaseLost):
        async with store.transaction() as tx:
            tx.fence_lease("controllers", 1)
            tx.remember(past())

    assert await store.history.read() == []


async def test_who_asked_is_found_by_the_object(store: PostgresStore) -> None:
    one, other = past("one"), past("other")
    created, cancelled = asked(one.uid), asked(one.uid, "delete", datetime(2026, 1, 2, tzinfo=UTC))

    await store.history.asked([cancelled, created, asked(other.uid)])

    assert await store.history.requests([one.uid]) == [created, cancelled]


async def test_what_is_old_is_forgotten(store: PostgresStore) -> None:
    await remember(store, past())
    await store.history.asked([asked(uuid4(), at=datetime(2020, 1, 1, tzinfo=UTC))])

    await store.history.forget(timedelta(days=1))
    assert len(await store.history.read()) == 1
    await store.history.forget(timedelta(0))
    assert await store.history.read() == []

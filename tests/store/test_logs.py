"""Lines of pods."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from app.store.postgres import PostgresStore
from tests.store.builders import key, widget

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_lines_come_back_in_order_and_go_on_where_a_reader_was(store: PostgresStore) -> None:
    pod = uuid4()
    await store.logs.append(pod, [(NOW + timedelta(seconds=i), f"line {i}") for i in range(10)])
    await store.logs.append(uuid4(), [(NOW, "another pod's")])

    first = await store.logs.read(pod, limit=4)
    await store.logs.append(pod, [(NOW, "line 10")])
    others = await store.logs.read(pod, after=first[-1].seq)

    assert [f"line {i}" for i in range(11)] == [line.text for line in (*first, *others)]
    assert first[0].at == NOW


async def test_the_tail_is_the_last_lines(store: PostgresStore) -> None:
    pod = uuid4()
    await store.logs.append(pod, [(NOW, str(i)) for i in range(10)])

    assert [line.text for line in await store.logs.read(pod, tail=3)] == ["7", "8", "9"]
    assert [line.text for line in await store.logs.read(pod, tail=3, limit=2)] == ["7", "8"]
    assert await store.logs.read(pod, tail=0) == []


async def test_a_follower_misses_no_line_of_two_writers(store: PostgresStore) -> None:
    pod = uuid4()

    async def write(writer: int) -> None:
        for i in range(20):
            await store.logs.append(pod, [(NOW, f"{writer}.{i}"), (NOW, f"{writer}.{i}+")])

    seen: list[str] = []

    async def follow() -> None:
        after = 0
        while len(seen) < 80:
            for line in await store.logs.read(pod, after=after):
                seen.append(line.text)
                after = line.seq

    async with asyncio.timeout(20):
        await asyncio.gather(write(0), write(1), follow())

    assert {f"{w}.{i}{end}" for w in range(2) for i in range(20) for end in ("", "+")} == set(seen)


async def test_whatever_a_process_wrote_can_be_kept(store: PostgresStore) -> None:
    pod = uuid4()
    await store.logs.append(pod, [(NOW, "a\0b\udcffc")])
    await store.logs.append(pod, [])

    assert [line.text for line in await store.logs.read(pod)] == ["a\N{REPLACEMENT CHARACTER}b?c"]


async def test_lines_go_with_their_pod(store: PostgresStore) -> None:
    pod, orphan = uuid4(), uuid4()
    document = widget()
    document["metadata"]["uid"] = str(pod)
    await store.objects.create(key(), document)
    for uid in (pod, orphan):
        await store.logs.append(uid, [(NOW, "said")])

    await store.compact(older_than=timedelta(minutes=1), keep=0)

    assert [len(await store.logs.read(uid)) for uid in (pod, orphan)] == [1, 0]

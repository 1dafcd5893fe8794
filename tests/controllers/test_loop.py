"""The loop over the real store's watch: nothing is missed, nothing runs twice at once, errors hurt nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Any, cast

from app.controllers.loop import Loop, Reconcile, Source
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.queue import Backoff
from app.kinds import NAMESPACE, NODE
from app.store.base import Gone, Key, Objects, Revision, Scope, Store, Stored, Watch
from app.store.postgres import PostgresStore

SCOPE = Scope(NODE.resource)


def key(name: str) -> Key:
    return Key(NODE.resource, "", name)


async def put(store: Store, name: str) -> None:
    await store.objects.create(key(name), {"metadata": {"name": name}})


@asynccontextmanager
async def looping(
    store: Store, reconcile: Reconcile, sources: Sequence[Source] = (Source(SCOPE),)
) -> AsyncIterator[Loop]:
    loop = Loop("test", store, sources, reconcile, backoff=Backoff(first_s=0.01, longest_s=0.05))
    running = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(20):
            yield loop
    finally:
        running.cancel()
        await asyncio.wait([running])


class Counting:
    """Counts how often each key was reconciled, and lets a test wait for a number."""

    def __init__(self, outcome: Outcome = SETTLED) -> None:
        self.counts: Counter[str] = Counter()
        self._outcome = outcome
        self._counted = asyncio.Condition()

    async def __call__(self, key: Key) -> Outcome:
        async with self._counted:
            self.counts[key.name] += 1
            self._counted.notify_all()
        return self._outcome

    async def until(self, **counts: int) -> None:
        async with self._counted:
            await self._counted.wait_for(lambda: all(self.counts[name] >= count for name, count in counts.items()))


async def test_what_is_there_and_what_comes_is_reconciled(store: Store) -> None:
    await put(store, "before")
    counting = Counting()

    async with looping(store, counting):
        await counting.until(before=1)
        await put(store, "after")
        await counting.until(after=1)
        await store.objects.delete(key("before"))
        await counting.until(before=2)


async def test_a_collection_is_read_page_by_page_and_nothing_of_it_is_missed(store: Store) -> None:
    names = [f"n{number}" for number in range(5)]
    for name in names:
        await put(store, name)
    counting = Counting()

    running = asyncio.create_task(Loop("test", store, [Source(SCOPE)], counting, page=2).run())
    try:
        async with asyncio.timeout(20):
            await counting.until(**dict.fromkeys(names, 1))
            await put(store, "later")
            await counting.until(later=1)
    finally:
        running.cancel()
        await asyncio.wait([running])

    assert counting.counts == Counter([*names, "later"])


async def test_what_is_there_at_the_start_may_be_left_alone(store: Store) -> None:
    await put(store, "old")
    counting = Counting()

    async with looping(store, counting, [Source(SCOPE, at_start=lambda _: ())]):
        # What comes before the loop has begun is there at its start.
        for number in range(1000):
            await put(store, f"new{number}")
            if counting.counts:
                break

    assert "old" not in counting.counts


async def test_a_key_is_looked_at_again_when_the_step_asks_for_it(store: Store) -> None:
    await put(store, "a")
    counting = Counting(Again(0.01))

    async with looping(store, counting):
        await counting.until(a=3)


async def test_an_error_costs_its_own_key_a_wait_and_no_other_anything(store: Store) -> None:
    for name in ("bad", "good"):
        await put(store, name)
    counting = Counting()

    async def reconcile(key: Key) -> Outcome:
        await counting(key)
        if key.name == "bad" and counting.counts["bad"] < 3:
            raise ZeroDivisionError("on purpose")
        return SETTLED

    async with looping(store, reconcile):
        await counting.until(good=1, bad=3)


async def test_the_same_key_is_never_in_two_hands(store: Store) -> None:
    await put(store, "a")
    counting, hands, most = Counting(), 0, 0

    async def reconcile(key: Key) -> Outcome:
        nonlocal hands, most
        hands += 1
        most = max(most, hands)
        await counting(key)
        await asyncio.sleep(0.02)
        hands -= 1
        return SETTLED

    async with looping(store, reconcile) as loop:
        for seen in range(1, 6):
            loop.enqueue(key("a"))
            loop.enqueue(key("a"))
            await counting.until(a=seen)

    assert most == 1


class Behind:
    """The store's objects, whose watches begin too late for so many times: what each reader of a compacted log meets."""

    def __init__(self, objects: Objects, times: int) -> None:
        self._objects = objects
        self._left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    def watch(self, scope: Scope, since: Revision) -> AbstractAsyncContextManager[Watch]:
        if self._left:
            self._left -= 1
            raise Gone("the log no longer reaches back that far")
        return self._objects.watch(scope, since)


class BehindStore(PostgresStore):
    def __init__(self, url: str, times: int) -> None:
        super().__init__(url)
        self._times = times

    @cached_property
    def objects(self) -> Objects:  # type: ignore[override]  # a property there, kept here
        # Everything but `watch` is the real thing, by __getattr__.
        return cast(Objects, Behind(super().objects, self._times))


async def test_it_lists_again_when_the_log_no_longer_reaches_back(postgres_url: str) -> None:
    store, counting = BehindStore(postgres_url, times=2), Counting()
    await store.open()
    await put(store, "a")

    async with looping(store, counting):
        await counting.until(a=3)
        await put(store, "b")
        await counting.until(b=1)

    await store.close()


async def test_another_kinds_change_wakes_the_keys_that_it_maps_to(store: Store) -> None:
    counting = Counting()
    sources = (Source(Scope(NAMESPACE.resource), lambda _: (key("a"), key("b"))),)

    async with looping(store, counting, sources):
        await store.objects.create(Key(NAMESPACE.resource, "", "n"), {"metadata": {"name": "n"}})
        await counting.until(a=1, b=1)


async def test_a_source_of_deletions_is_deaf_to_other_changes(store: Store) -> None:
    counting = Counting()

    async with looping(store, counting, (Source(SCOPE, deletions_only=True),)) as loop:
        loop.enqueue(key("started"))
        await counting.until(started=1)
        await put(store, "a")
        stored = await store.objects.get(key("a"))
        await store.objects.replace(key("a"), {**stored.document, "spec": {}})
        await store.objects.delete(key("a"))
        await counting.until(a=1)

    assert counting.counts["a"] == 1


async def test_an_object_that_cannot_be_understood_ends_nothing(store: Store) -> None:
    """Nor does it hold up the others: what a person writes into a status may be anything."""
    counting = Counting()

    def keys(changed: Stored) -> Sequence[Key]:
        if changed.key.name.startswith("bad"):
            raise ValueError("badly formed hexadecimal UUID string")
        return (changed.key,)

    await put(store, "bad1")
    await put(store, "before")

    async with looping(store, counting, (Source(SCOPE, keys),)):
        await counting.until(before=1)
        await put(store, "bad2")
        await put(store, "after")
        await counting.until(after=1)

    assert set(counting.counts) == {"before", "after"}

"""What a watch is told while somebody waits for it goes to whoever takes it at once; nothing is lost where nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.store.base import Event, Scope, Watch
from app.store.feed import AT_ONCE
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget


@dataclass
class Hand:
    """Takes what it is given, or not."""

    is_open: bool = True
    taken: list[str] = field(default_factory=list)
    refused: int = 0

    def __call__(self, events: list[Event]) -> bool:
        if self.is_open:
            self.taken += [event.object.key.name for event in events]
        else:
            self.refused += 1
        return self.is_open


async def waiting(watch: Watch, told: list[str]) -> None:
    while True:
        event = await watch.next()
        told += [one.object.key.name for one in (event, *watch.ready()) if one is not None]


@asynccontextmanager
async def watched(store: PostgresStore, hand: Hand) -> AsyncIterator[tuple[Watch, list[str]]]:
    """A watch that somebody waits for, and what came that way."""
    async with store.objects.watch(Scope(WIDGETS), await store.objects.revision()) as watch:
        watch.hand_to(hand)
        told: list[str] = []
        task = asyncio.create_task(waiting(watch, told))
        await asyncio.sleep(0.05)
        try:
            yield watch, told
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def made(store: PostgresStore, *names: str) -> None:
    for name in names:
        await store.objects.create(key(name), widget(name))
    await asyncio.sleep(0.05)


async def test_who_takes_all_is_told_all_and_nobody_is_woken(store: PostgresStore) -> None:
    hand = Hand()
    async with watched(store, hand) as (watch, told):
        await made(store, "a", "b", "c")

        assert (hand.taken, told) == (["a", "b", "c"], [])
        assert watch.revision == await store.objects.revision()


async def test_what_is_not_taken_waits_and_the_order_stays(store: PostgresStore) -> None:
    hand = Hand()
    async with watched(store, hand) as (_, told):
        await made(store, "a")
        hand.is_open = False
        await made(store, "b", "c")
        hand.is_open = True
        await made(store, "d")

        assert (hand.taken, told) == (["a", "d"], ["b", "c"])
        assert hand.refused > 0


async def test_while_nobody_waits_nothing_is_handed_on(store: PostgresStore) -> None:
    hand = Hand()
    async with store.objects.watch(Scope(WIDGETS), await store.objects.revision()) as watch:
        watch.hand_to(hand)
        await made(store, "a", "b")

        assert hand.taken == []
        event = await watch.next(1)
        assert event is not None
        assert [one.object.key.name for one in (event, *watch.ready())] == ["a", "b"]


async def test_what_one_transaction_writes_is_handed_on_together(store: PostgresStore) -> None:
    calls: list[int] = []

    class Counting(Hand):
        def __call__(self, events: list[Event]) -> bool:
            calls.append(len(events))
            return super().__call__(events)

    async with watched(store, Counting()), store.transaction() as tx:
        for name in ("a", "b", "c"):
            tx.create(key(name), widget(name))
    await asyncio.sleep(0.05)

    assert calls == [3]


async def test_many_watches_are_handed_theirs_in_turns_and_one_that_fails_stops_no_other(store: PostgresStore) -> None:
    class Broken(Hand):
        def __call__(self, events: list[Event]) -> bool:
            super().__call__(events)
            raise ValueError("a hand that fails")

    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context["exception"])))
    hands = [Broken() if number == 3 else Hand() for number in range(2 * AT_ONCE + 5)]
    async with asyncio.TaskGroup() as group:
        stop = asyncio.Event()

        async def follow(hand: Hand) -> None:
            async with watched(store, hand):
                await stop.wait()

        for hand in hands:
            group.create_task(follow(hand))
        await asyncio.sleep(0.5)
        await made(store, "a")
        await asyncio.sleep(0.2)
        stop.set()

    assert [hand.taken for hand in hands] == [["a"]] * len(hands)
    assert complaints == ["a hand that fails"]

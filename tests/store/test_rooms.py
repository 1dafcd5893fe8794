"""What is made within another object: only while that is there and stays, judged by the write itself."""

from __future__ import annotations

import asyncio

import pytest

from app.machinery.objects import Document
from app.store.base import Closing, EventType, Key, Scope, StoreError
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget

ROOM = Key("rooms", "", "default")


def going(room: Document) -> Document:
    return {**room, "metadata": {**room["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


async def test_nothing_is_made_within_what_is_not_there(store: PostgresStore) -> None:
    with pytest.raises(Closing):
        await store.objects.create(key(), widget(), within=ROOM)

    assert await store.objects.revision() == 0


async def test_nothing_is_made_within_what_is_being_deleted(store: PostgresStore) -> None:
    room = await store.objects.create(ROOM, widget("default"))
    await store.objects.create(key("before"), widget("before"), within=ROOM)
    await store.objects.replace(ROOM, going(room.document))

    with pytest.raises(Closing):
        await store.objects.create(key("after"), widget("after"), within=ROOM)


async def test_a_word_in_it_is_not_a_deletion(store: PostgresStore) -> None:
    room = widget("default", note='"deletionTimestamp"', deletionTimestamp="never")
    await store.objects.create(ROOM, room)

    await store.objects.create(key(), widget(), within=ROOM)


async def test_of_creates_that_race_with_the_end_none_comes_after_it(store: PostgresStore) -> None:
    room = await store.objects.create(ROOM, widget("default"))

    async def make(number: int) -> None:
        await store.objects.create(key(f"w{number}"), widget(f"w{number}"), within=ROOM)

    async def end() -> None:
        while not (await store.objects.list(Scope(WIDGETS), limit=1)).items:  # noqa: ASYNC110  (each list is a wait)
            await asyncio.sleep(0)
        async with store.transaction(serial=True) as tx:
            tx.replace(ROOM, going(room.document))

    outcomes = await asyncio.gather(end(), *(make(number) for number in range(600)), return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
    assert all(isinstance(outcome, Closing) for outcome in refused)
    end_at = (await store.objects.get(ROOM)).revision
    made = (await store.objects.list(Scope(WIDGETS))).items
    assert len(made) + len(refused) == 600
    assert all(stored.revision < end_at for stored in made)
    assert await last_change(store) == end_at


async def last_change(store: PostgresStore) -> int:
    """The revision of the newest entry of the log."""
    newest = 0
    until = await store.objects.revision()
    async with store.objects.watch(Scope(None), 0) as watch:
        while newest < until:
            event = await watch.next(10)
            assert event is not None
            assert event.type in (EventType.ADDED, EventType.MODIFIED)
            newest = event.revision
    return newest

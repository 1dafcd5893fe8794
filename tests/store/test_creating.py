"""Creates that go in one statement, and those that cannot because somebody else has written meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from app.store.base import AlreadyExists, EventType, Key, Scope
from app.store.changes import creation, replacement
from app.store.creating import creates
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget

ROOM = Key("rooms", "", "default")


async def test_stores_that_write_in_turns_share_one_order(store: PostgresStore, postgres_url: str) -> None:
    other = PostgresStore(postgres_url)
    await other.open()
    try:
        made = []
        for number in range(6):
            writer = (store, other)[number % 2]
            made.append(await writer.objects.create(key(f"w{number}"), widget(f"w{number}")))
        with pytest.raises(AlreadyExists):
            await store.objects.create(key("w5"), widget("w5"))
    finally:
        await other.close()

    assert [stored.revision for stored in made] == list(range(1, 7))
    assert all(stored.document["metadata"]["resourceVersion"] == str(stored.revision) for stored in made)


async def test_of_stores_that_race_none_loses_a_create(store: PostgresStore, postgres_url: str) -> None:
    other = PostgresStore(postgres_url)
    await other.open()
    try:
        made = await asyncio.gather(
            *(writer.objects.create(key(f"{word}{number}"), widget(f"{word}{number}"))
              for number in range(60) for word, writer in (("a", store), ("b", other)))
        )  # fmt: skip
    finally:
        await other.close()

    listed = (await store.objects.list(Scope(WIDGETS))).items
    assert sorted(stored.revision for stored in made) == list(range(1, 121))
    assert {(stored.key, stored.revision, stored.body) for stored in made} == {
        (stored.key, stored.revision, stored.body) for stored in listed
    }


async def test_one_that_is_taken_harms_none_of_its_group(store: PostgresStore) -> None:
    await store.objects.create(key("w1"), widget("w1"))

    outcomes = await asyncio.gather(
        *(store.objects.create(key(f"w{number}"), widget(f"w{number}")) for number in range(4)), return_exceptions=True
    )

    assert [type(outcome) is AlreadyExists for outcome in outcomes] == [False, True, False, False]
    assert await store.objects.revision() == 4


async def test_what_is_made_at_once_is_told_to_watchers_of_every_process(
    store: PostgresStore, postgres_url: str
) -> None:
    other = PostgresStore(postgres_url)
    await other.open()
    try:
        async with other.objects.watch(Scope(WIDGETS), 0) as watch:
            made = await store.objects.create(key("w1"), widget("w1"))
            event = await watch.next(10)
    finally:
        await other.close()

    assert event is not None
    assert (event.type, event.revision, event.object.body) == (EventType.ADDED, made.revision, made.body)


def test_only_creates_of_different_objects_go_at_once() -> None:
    one, same, two = (creation(key(name), widget(name), ROOM) for name in ("w1", "w1", "w2"))

    assert list(creates([one, two])) == [one, two]
    assert not creates([one, same])
    assert not creates([one, replacement(key("w3"), widget("w3"))])

"""The log: random sequences of writes against a model, lists of every revision, watches from every revision, compaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest

from app.store.base import Conflict, Event, EventType, Gone, Key, NotFound, Scope, Stored, StoreError, TooNew
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget

ALL = Scope(WIDGETS)


@dataclass
class Model:
    """What the store should hold at each revision."""

    now: dict[Key, Stored] = field(default_factory=dict)
    states: list[dict[Key, Stored]] = field(default_factory=lambda: [{}])
    events: list[tuple[EventType, int, Stored, Stored | None]] = field(default_factory=list)

    def changed(self, type_: EventType, stored: Stored) -> None:
        self.events.append((type_, stored.revision, stored, self.now.get(stored.key)))
        if type_ is EventType.DELETED:
            del self.now[stored.key]
        else:
            self.now[stored.key] = stored
        assert len(self.states) == stored.revision
        self.states.append(dict(self.now))


async def step(store: PostgresStore, model: Model, random: Random) -> None:
    """One write; what the store answers must be what the model expects."""
    target = key(random.choice("abcde"), random.choice("xy"))
    present = model.now.get(target)
    match random.choice(["create", "replace", "same", "stale", "delete", "transaction"]):
        case "create" if present is None:
            model.changed(EventType.ADDED, await store.objects.create(target, widget(n=random.random())))
        case "replace" if present:
            document = present.document | {"spec": {"n": random.random()}}
            model.changed(EventType.MODIFIED, await store.objects.replace(target, document))
        case "same" if present:
            assert present == await store.objects.replace(target, present.document)
        case "stale" if present:
            with pytest.raises(Conflict):
                await store.objects.delete(target, revision=present.revision - 1)
        case "delete" if present:
            model.changed(EventType.DELETED, await store.objects.delete(target))
        case "transaction":
            await both(store, model, random)
        case _ if present is None:
            with pytest.raises(NotFound):
                await store.objects.delete(target)


async def both(store: PostgresStore, model: Model, random: Random) -> None:
    """A transaction that deletes and makes again: two changes of one key."""
    target = key(random.choice("abcde"), random.choice("xy"))
    async with store.transaction(serial=random.random() < 0.5) as tx:
        if target in model.now:
            tx.delete(target)
        tx.create(target, widget(n=random.random()))
    listing = await store.objects.list(ALL)
    if target in model.now:
        old = model.now[target]
        gone = Stored(target, listing.revision - 1, old.body.replace(
            b'"resourceVersion":"%d"' % old.revision, b'"resourceVersion":"%d"' % (listing.revision - 1)))  # fmt: skip
        model.changed(EventType.DELETED, gone)
    model.changed(EventType.ADDED, await store.objects.get(target))


async def grown(store: PostgresStore, seed: int, steps: int = 60) -> Model:
    model, random = Model(), Random(seed)
    for _ in range(steps):
        await step(store, model, random)
    return model


def seen(event: Event) -> tuple[EventType, int, Stored, Stored | None]:
    return event.type, event.revision, event.object, event.previous


@pytest.mark.parametrize("seed", range(4))
async def test_every_revision_is_listed_as_it_was(store: PostgresStore, seed: int) -> None:
    model = await grown(store, seed)

    for revision, state in enumerate(model.states):
        listing = await store.objects.list(ALL, at=revision)
        assert [state[k] for k in sorted(state)] == list(listing.items)
        assert revision == listing.revision


@pytest.mark.parametrize("seed", range(4, 6))
async def test_pages_of_one_revision_fit_together_whatever_is_written_meanwhile(
    store: PostgresStore, seed: int
) -> None:
    model, random = await grown(store, seed), Random(seed)
    revision = len(model.states) - 1
    state = model.states[-1]

    items: list[Stored] = []
    remaining = len(state)
    while remaining:
        page = await store.objects.list(ALL, at=revision, limit=2, after=items[-1].key if items else None)
        items += page.items
        assert len(state) - len(items) == page.remaining
        remaining = page.remaining
        await step(store, model, random)

    assert [state[k] for k in sorted(state)] == items


@pytest.mark.parametrize("seed", range(6, 9))
async def test_a_watch_from_any_revision_sees_every_later_change_once_in_order(
    store: PostgresStore, postgres_url: str, seed: int
) -> None:
    model = await grown(store, seed)
    # A second process has nothing in memory: it replays from the log.
    other = PostgresStore(postgres_url)
    await other.open()

    for since in range(0, len(model.states), 7):
        for reader in (store, other):
            async with reader.objects.watch(ALL, since) as watch:
                got = [await watch.next(10) for _ in model.events[since:]]
                assert model.events[since:] == [seen(event) for event in got if event]
                assert len(model.events) == watch.revision
    await other.close()


async def test_a_watch_sees_its_scope_only(store: PostgresStore) -> None:
    async with (
        store.objects.watch(Scope(WIDGETS, "x"), 0) as in_x,
        store.objects.watch(Scope(None, None, "b"), 0) as named_b,
        store.objects.watch(Scope("others"), 0) as others,
    ):
        await store.objects.create(key("a", "x"), widget())
        await store.objects.create(key("a", "y"), widget())
        await store.objects.create(key("b", "x"), widget())

        assert [event.revision for event in [await in_x.next(5), await in_x.next(5)] if event] == [1, 3]
        assert [event.revision for event in [await named_b.next(5)] if event] == [3]
        assert await others.next(0) is None
        assert others.revision == 3


async def test_a_revision_that_is_not_reached_is_too_new(store: PostgresStore) -> None:
    await store.objects.create(key(), widget())

    with pytest.raises(TooNew):
        await store.objects.list(ALL, at=2)
    with pytest.raises(TooNew):
        async with store.objects.watch(ALL, 2):
            pass


async def test_what_is_compacted_is_gone(store: PostgresStore, postgres_url: str) -> None:
    model = await grown(store, 9, steps=40)
    newest = len(model.states) - 1
    gone = await store.compact(older_than=timedelta(), keep=10)
    other = PostgresStore(postgres_url)
    await other.open()

    assert newest - 10 == gone
    with pytest.raises(Gone):
        await other.objects.list(ALL, at=newest - 11)
    with pytest.raises(Gone):
        async with other.objects.watch(ALL, newest - 11):
            pass
    listing = await other.objects.list(ALL, at=newest - 10)
    assert [model.states[newest - 10][k] for k in sorted(model.states[newest - 10])] == list(listing.items)
    async with other.objects.watch(ALL, newest - 10) as watch:
        got = [await watch.next(5) for _ in range(10)]
    assert model.events[-10:] == [seen(event) for event in got if event]
    await other.close()


async def test_young_entries_are_not_compacted(store: PostgresStore) -> None:
    await grown(store, 10, steps=20)

    assert await store.compact(older_than=timedelta(minutes=5), keep=0) == 0
    await store.objects.list(ALL, at=0)


async def test_two_that_compact_at_once_agree(store: PostgresStore) -> None:
    model = await grown(store, 11, steps=40)

    gone = await asyncio.gather(*(store.compact(older_than=timedelta(), keep=5) for _ in range(4)))

    assert len(model.states) - 1 - 5 == sum(gone)


async def test_a_slow_watcher_is_cut_off_and_the_others_are_not(store: PostgresStore, postgres_url: str) -> None:
    narrow = PostgresStore(postgres_url, watch_queue=10)
    await narrow.open()

    async with narrow.objects.watch(ALL, 0) as slow, narrow.objects.watch(ALL, 0) as quick:
        for i in range(15):
            await store.objects.create(key(f"w{i}"), widget())
            event = await quick.next(5)
            assert event is not None
            assert i + 1 == event.revision
        with pytest.raises(Gone):
            await slow.next(5)
    await narrow.close()


async def test_a_watch_of_a_closed_store_ends(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    await store.open()

    async with store.objects.watch(ALL, 0) as watch:
        waiting = asyncio.create_task(watch.next(20))
        await store.close()
        with pytest.raises(StoreError):
            await waiting

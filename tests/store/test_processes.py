"""Several processes that write at once, one of them killed in mid-flight."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from app.store.base import Event, EventType, Scope
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS
from tests.store.processes import line, rest, running

ALL = Scope(WIDGETS)


async def caught_up(store: PostgresStore, since: int) -> list[Event]:
    """Every change of the log after a revision."""
    newest = await store.objects.revision()
    async with store.objects.watch(ALL, since) as watch:
        events: list[Event] = []
        while watch.revision < newest or not events:
            event = await watch.next(10)
            assert event is not None
            events += [event, *watch.ready()]
        return events


async def test_every_watcher_sees_every_change_once_in_order(store: PostgresStore, postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(store.objects.watch(ALL, 0))
        writers = [await stack.enter_async_context(running("write", postgres_url, f"w{i}:40")) for i in range(2)]
        doomed = await stack.enter_async_context(running("write", postgres_url, "doomed"))
        for _ in range(50):
            await line(doomed)
        middle = await store.objects.revision()
        doomed.kill()
        acknowledged = [name for writer in writers for name in await rest(writer)] + await rest(doomed)

        newest = await store.objects.revision()
        seen: list[Event] = []
        while len(seen) < newest:
            event = await live.next(10)
            assert event is not None
            seen += [event, *live.ready()]

    assert list(range(1, newest + 1)) == [event.revision for event in seen]
    assert seen == await caught_up(store, 0)
    assert seen[middle:] == await caught_up(store, middle)
    created = {event.object.key.name for event in seen if event.type is EventType.ADDED}
    deleted = {event.object.key.name for event in seen if event.type is EventType.DELETED}
    assert {name for name in acknowledged if not name.startswith("-")} <= created
    assert {name[1:] for name in acknowledged if name.startswith("-")} <= deleted
    stored = {item.key.name for item in (await store.objects.list(ALL)).items}
    assert created - deleted == stored


async def test_a_limit_holds_however_many_processes_try_to_exceed_it(store: PostgresStore, postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        fillers = [await stack.enter_async_context(running("fill", postgres_url, "60")) for _ in range(3)]
        made = [int(word) for filler in fillers for word in await rest(filler)]

    assert sum(made) == 60
    assert len((await store.objects.list(ALL)).items) == 60


@pytest.mark.parametrize("moment", [1, 30])
async def test_a_killed_writer_leaves_whole_changes_only(store: PostgresStore, postgres_url: str, moment: int) -> None:
    async with running("write", postgres_url, "w") as writer:
        names = {await line(writer) for _ in range(moment)}
        writer.kill()
        names |= set(await rest(writer))

    seen = await caught_up(store, 0)
    versions = {event.object.key: event.object for event in seen if event.type is not EventType.DELETED}
    for item in (await store.objects.list(ALL)).items:
        assert versions[item.key] == item
    assert {name for name in names if not name.startswith("-")} <= {event.object.key.name for event in seen}

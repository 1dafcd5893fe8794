"""How many there are is known without counting, whoever writes; and a list that was kept is never an old one."""

from __future__ import annotations

import asyncpg
import pytest

from app.store.base import Key, Scope
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget

ROOM = Scope(WIDGETS, "default")
EVERYWHERE = Scope(WIDGETS)

BY_SQL = """
INSERT INTO objects SELECT resource, namespace, 'copy-' || i, uid, revision, body
FROM objects, generate_series(1, 10) AS i WHERE name = 'a'
"""


async def by_sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


@pytest.fixture
async def three(store: PostgresStore) -> PostgresStore:
    for name in "abc":
        await store.objects.create(key(name), widget(name))
    return store


async def remaining(store: PostgresStore, scope: Scope = EVERYWHERE) -> int:
    return (await store.objects.list(scope, limit=1)).remaining


async def names(store: PostgresStore, scope: Scope = EVERYWHERE) -> list[str]:
    return [stored.key.name for stored in (await store.objects.list(scope)).items]


async def test_what_remains_is_exact_after_every_write(three: PostgresStore) -> None:
    assert await remaining(three) == 2

    await three.objects.create(Key(WIDGETS, "elsewhere", "d"), widget("d"))
    assert (await remaining(three), await remaining(three, ROOM)) == (3, 2)

    await three.objects.delete(key("b"))
    assert (await remaining(three), await remaining(three, ROOM)) == (2, 1)


async def test_what_remained_at_an_older_revision_is_exact_too(three: PostgresStore) -> None:
    then = await three.objects.revision()
    await three.objects.delete(key("a"))
    await three.objects.create(key("d"), widget("d"))
    await three.objects.create(key("e"), widget("e"))

    page = await three.objects.list(EVERYWHERE, limit=1, at=then)
    after = await three.objects.list(EVERYWHERE, limit=1, at=then, after=page.items[-1].key)
    told = await three.objects.list(EVERYWHERE, limit=1, at=then, after=page.items[-1].key, left=page.remaining)

    assert (page.items[0].key.name, page.remaining) == ("a", 2)
    assert (after.items[0].key.name, after.remaining) == ("b", 1)
    assert (told.items, told.remaining) == (after.items, after.remaining)


async def test_a_kept_list_has_the_newest_revision_and_the_same_content(three: PostgresStore) -> None:
    first = await three.objects.list(ROOM)
    await three.objects.create(Key("gadgets", "default", "x"), widget("x"))

    second = await three.objects.list(ROOM)

    assert second.revision == first.revision + 1
    assert second.content == first.content is not None
    assert second.items == first.items


async def test_a_kept_list_shows_what_another_process_wrote(three: PostgresStore, postgres_url: str) -> None:
    other = PostgresStore(postgres_url)
    await other.open()
    assert await names(three) == ["a", "b", "c"]

    await other.objects.delete(key("b"))
    assert await names(three) == ["a", "c"]
    stored = await other.objects.get(key("c"))
    changed = await other.objects.replace(key("c"), {**stored.document, "spec": {"size": 9}})
    assert (await three.objects.list(EVERYWHERE)).items[-1] == changed
    await other.close()


async def test_what_is_written_by_sql_is_counted_and_listed(three: PostgresStore, postgres_url: str) -> None:
    assert len(await names(three)) == 3

    await by_sql(postgres_url, BY_SQL)
    assert (len(await names(three)), await remaining(three)) == (13, 12)

    await by_sql(postgres_url, "DELETE FROM objects WHERE name = 'copy-1'")
    assert (len(await names(three)), await remaining(three)) == (12, 11)

    await by_sql(postgres_url, "UPDATE objects SET namespace = 'elsewhere' WHERE name = 'copy-2'")
    assert (await remaining(three), await remaining(three, ROOM)) == (11, 10)

    await by_sql(postgres_url, "TRUNCATE objects")
    assert (await names(three), await remaining(three)) == ([], 0)

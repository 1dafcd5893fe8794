"""What an operator reads of the store: its server, who is connected, and objects without a mark."""

from __future__ import annotations

import pytest

from app.store.postgres import PostgresStore
from app.store.schema import head
from app.store.standing import Durability
from tests.store.builders import WIDGETS, key, widget

pytestmark = pytest.mark.postgres


async def test_the_server_and_who_is_connected(postgres_url: str) -> None:
    store = PostgresStore(postgres_url, identity="one")
    await store.open()
    try:
        await store.objects.create(key("a"), widget("a"))
        found, (process,) = await store.database(), await store.processes()
    finally:
        await store.close()

    assert (found.schema, found.revision, found.floor, found.durability) == (head(), 1, 0, Durability.UNSAFE)
    assert len(found.servers) == 1
    assert (process.name, process.connections > 1) == ("one", True)


async def test_objects_without_a_mark(store: PostgresStore) -> None:
    for name in ("a", "b"):
        await store.objects.create(key(name), widget(name))

    found = await store.unmarked(WIDGETS, [b'"name":"a"', b"nowhere"])

    assert [stored.key for stored in found] == [key("b")]
    assert found[0].document["metadata"]["name"] == "b"

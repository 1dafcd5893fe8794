"""Objects under optimistic concurrency."""

from __future__ import annotations

from typing import Any

import pytest

from app.store.base import AlreadyExists, Conflict, EventType, Key, NotFound, Scope, edit
from app.store.postgres import PostgresStore

WIDGETS = "widgets.example.com"


def key(name: str = "a", namespace: str = "default") -> Key:
    return Key(WIDGETS, namespace, name)


def widget(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": spec,
    }


async def test_what_was_created_is_read_back_with_its_revision(store: PostgresStore) -> None:
    created = await store.objects.create(key(), widget(size=1))

    assert widget(size=1) | {"metadata": {"name": "a", "uid": "uid-a", "resourceVersion": "1"}} == created.document
    assert created == await store.objects.get(key())


async def test_a_taken_key_is_refused(store: PostgresStore) -> None:
    await store.objects.create(key(), widget())

    with pytest.raises(AlreadyExists):
        await store.objects.create(key(), widget())


async def test_a_watch_sees_what_happens_after_it(store: PostgresStore) -> None:
    async with store.objects.watch(Scope(WIDGETS), await store.objects.revision()) as watch:
        await store.objects.create(key(), widget())
        event = await watch.next(5)

    assert event is not None
    assert (event.type, event.revision) == (EventType.ADDED, 1)


async def test_an_edit_and_a_delete(store: PostgresStore) -> None:
    created = await store.objects.create(key(), widget())
    edited = await edit(store.objects, key(), lambda document: document | {"spec": {"size": 2}})
    with pytest.raises(Conflict):
        await store.objects.replace(key(), created.document | {"spec": {"size": 3}})
    deleted = await store.objects.delete(key())

    assert (created.revision, edited.revision, deleted.revision) == (1, 2, 3)
    assert deleted.document["spec"] == {"size": 2}
    with pytest.raises(NotFound):
        await store.objects.get(key())


async def test_a_transaction(store: PostgresStore) -> None:
    async with store.transaction(serial=True) as tx:
        assert list((await tx.list(Scope(WIDGETS))).items) == []
        tx.create(key("a"), widget("a"))
        tx.create(key("b"), widget("b"))

    listing = await store.objects.list(Scope(WIDGETS), limit=1)
    assert (listing.remaining, listing.revision) == (1, 2)
    assert [item.key.name for item in listing.items] == ["a"]
    before = await store.objects.list(Scope(WIDGETS), at=1)
    assert [item.key.name for item in before.items] == ["a"]

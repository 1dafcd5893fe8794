"""Objects under optimistic concurrency."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.store.base import AlreadyExists, Conflict, Key, NotFound, Scope, Stored, edit
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget


async def test_what_was_created_is_read_back_with_its_revision(store: PostgresStore) -> None:
    created = await store.objects.create(key(), widget(size=1))

    expected = widget(size=1)
    expected["metadata"]["resourceVersion"] = "1"
    assert expected == created.document
    assert created == await store.objects.get(key())


async def test_numbers_and_texts_keep_their_form(store: PostgresStore) -> None:
    spec: dict[str, Any] = {"whole": 1, "real": 1.0, "big": 2**63 - 1, "text": "ü\u0000\U0001f600", "none": None}

    created = await store.objects.create(key(), widget(**spec))

    assert b'"whole":1,"real":1.0,"big":9223372036854775807' in created.body
    assert spec == (await store.objects.get(key())).document["spec"]


async def test_a_taken_key_is_refused(store: PostgresStore) -> None:
    await store.objects.create(key(), widget())

    with pytest.raises(AlreadyExists):
        await store.objects.create(key(), widget())
    assert await store.objects.revision() == 1


async def test_of_many_who_create_the_same_object_one_wins(store: PostgresStore) -> None:
    outcomes = await asyncio.gather(
        *(store.objects.create(key(), widget(size=i)) for i in range(40)), return_exceptions=True
    )

    assert sorted(type(o).__name__ for o in outcomes) == ["AlreadyExists"] * 39 + ["Stored"]
    assert await store.objects.get(key()) in outcomes


async def test_a_replace_of_an_older_version_is_refused(store: PostgresStore) -> None:
    created = await store.objects.create(key(), widget())
    newer = await store.objects.replace(key(), created.document | {"spec": {"size": 2}})

    with pytest.raises(Conflict):
        await store.objects.replace(key(), created.document | {"spec": {"size": 3}})
    assert newer == await store.objects.get(key())


@pytest.mark.parametrize("version", [None, "", "0", "x", "-1", 1, "¹"])
async def test_a_replace_without_the_stored_version_is_refused(store: PostgresStore, version: object) -> None:
    created = await store.objects.create(key(), widget())

    with pytest.raises(Conflict):
        await store.objects.replace(
            key(), created.document | {"metadata": created.document["metadata"] | {"resourceVersion": version}}
        )


async def test_of_many_edits_none_is_lost(store: PostgresStore) -> None:
    await store.objects.create(key(), widget(count=0))

    async def increment() -> Stored:
        return await edit(store.objects, key(), lambda d: d | {"spec": {"count": d["spec"]["count"] + 1}}, attempts=100)

    await asyncio.gather(*(increment() for _ in range(20)))

    assert (await store.objects.get(key())).document["spec"] == {"count": 20}
    assert await store.objects.revision() == 21


async def test_a_replace_that_changes_nothing_writes_nothing(store: PostgresStore) -> None:
    created = await store.objects.create(key(), widget(a=1, b={"c": [1, 2]}))
    turned = dict(reversed(created.document.items())) | {"spec": {"b": {"c": [1, 2]}, "a": 1}}

    same = await store.objects.replace(key(), turned)

    assert created == same
    assert await store.objects.revision() == 1


async def test_one_and_one_point_zero_are_a_change(store: PostgresStore) -> None:
    created = await store.objects.create(key(), widget(a=1))

    changed = await store.objects.replace(key(), created.document | {"spec": {"a": 1.0}})

    assert changed.revision == 2


async def test_a_delete_answers_the_last_version_under_a_new_revision(store: PostgresStore) -> None:
    await store.objects.create(key(), widget(size=1))

    deleted = await store.objects.delete(key())

    assert deleted.revision == 2
    assert deleted.document["metadata"]["resourceVersion"] == "2"
    assert deleted.document["spec"] == {"size": 1}
    with pytest.raises(NotFound):
        await store.objects.get(key())


async def test_a_delete_may_say_which_version_and_what_it_looked_like(store: PostgresStore) -> None:
    created = await store.objects.create(key(), widget())

    with pytest.raises(Conflict):
        await store.objects.delete(key(), revision=7)
    deleted = await store.objects.delete(key(), revision=created.revision, document=widget(last=True))

    assert deleted.document["spec"] == {"last": True}


async def test_what_is_not_there_is_not_found(store: PostgresStore) -> None:
    with pytest.raises(NotFound):
        await store.objects.get(key())
    with pytest.raises(NotFound):
        await store.objects.replace(key(), widget())
    with pytest.raises(NotFound):
        await store.objects.delete(key())


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
async def test_a_name_that_no_database_can_hold_harms_nobody_else(store: PostgresStore, name: str) -> None:
    await store.objects.create(key(), widget())

    found, missing = await asyncio.gather(
        store.objects.get(key()), store.objects.get(key(name)), return_exceptions=True
    )

    assert isinstance(found, Stored)
    assert isinstance(missing, NotFound)
    assert (await store.objects.list(Scope(WIDGETS, namespace=name))).items == ()


async def test_a_list_is_in_byte_order_and_comes_in_pages(store: PostgresStore) -> None:
    names = ["a", "a-b", "a.b", "a0", "ab", "b", "ä"]
    for namespace in ("y", "x"):
        for name in reversed(names):
            await store.objects.create(key(name, namespace), widget(name))
    await store.objects.create(Key("others", "x", "a"), widget())

    keys: list[Key] = []
    remaining: list[int] = []
    while not keys or remaining[-1]:
        page = await store.objects.list(Scope(WIDGETS), limit=4, after=keys[-1] if keys else None)
        keys += [item.key for item in page.items]
        remaining.append(page.remaining)

    assert [key(name, namespace) for namespace in ("x", "y") for name in sorted(names, key=str.encode)] == keys
    assert remaining == [10, 6, 2, 0]


async def test_a_list_is_of_its_scope(store: PostgresStore) -> None:
    for namespace in ("x", "y"):
        await store.objects.create(key("a", namespace), widget())
    await store.objects.create(Key("others", "x", "a"), widget())

    async def count(scope: Scope) -> int:
        return len((await store.objects.list(scope)).items)

    assert await count(Scope(None)) == 3
    assert await count(Scope(WIDGETS)) == 2
    assert await count(Scope(WIDGETS, "x")) == 1
    assert await count(Scope(None, "x")) == 2
    assert await count(Scope(WIDGETS, "x", "b")) == 0


async def test_a_database_is_the_same_store_each_time(store: PostgresStore, postgres_url: str) -> None:
    again = PostgresStore(postgres_url)
    await again.open()
    same = again.id
    await again.close()

    assert store.id == same

"""Pages of a list: from any place on, and none costs more for what lies before it."""

from __future__ import annotations

import asyncpg
import pytest

from app.store.base import Key, Scope
from app.store.driver import _positional
from app.store.postgres import PostgresStore
from app.store.reading import Shape
from tests.store.builders import WIDGETS, key, widget

pytestmark = pytest.mark.postgres

SCOPES = {
    "a namespace": (Scope(WIDGETS, "default"), ("resource", "namespace"), "(name > "),
    "every namespace": (Scope(WIDGETS), ("resource",), "(ROW(namespace, name) > "),
    "everything": (Scope(None), (), "(ROW(resource, namespace, name) > "),
}


@pytest.mark.parametrize("historic", [True, False])
@pytest.mark.parametrize("case", SCOPES.values(), ids=SCOPES.keys())
async def test_the_index_is_entered_at_the_place(
    store: PostgresStore, postgres_url: str, case: tuple[Scope, tuple[str, ...], str], historic: bool
) -> None:
    _, scoped, condition = case
    sql, columns = _positional(Shape(scoped, limited=True, goes_on=True, historic=historic, known=True).statement())
    values = {
        "resource": WIDGETS, "namespace": "default", "limit": 5, "at": 1, "left": 3,
        "after_resource": WIDGETS, "after_namespace": "default", "after_name": "w",
    }  # fmt: skip

    connection = await asyncpg.connect(postgres_url)
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
    plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + sql, *(values[name] for name, _ in columns)))
    await connection.close()

    assert "Index Scan using objects_pkey" in plan
    (conditions,) = [
        line for line in plan.splitlines() if "Index Cond" in line and " > " in line and "revision" not in line
    ]
    assert condition in conditions


@pytest.mark.parametrize("scope", [case[0] for case in SCOPES.values()], ids=SCOPES.keys())
async def test_pages_together_are_the_list(store: PostgresStore, scope: Scope) -> None:
    for number in range(7):
        await store.objects.create(key(f"w{number}"), widget(f"w{number}"))
    seen: list[str] = []
    after: Key | None = None
    at = (await store.objects.list(scope)).revision

    while len(seen) < 7:
        page = await store.objects.list(scope, limit=3, after=after, at=at)
        seen += [stored.key.name for stored in page.items]
        after = page.items[-1].key

    assert seen == [f"w{number}" for number in range(7)]


@pytest.mark.parametrize("namespace, expected", [("aaa", ["w0"]), ("zzz", [])])
async def test_a_place_outside_the_scope_lies_before_or_behind_all_of_it(
    store: PostgresStore, namespace: str, expected: list[str]
) -> None:
    await store.objects.create(key("w0"), widget("w0"))

    page = await store.objects.list(Scope(WIDGETS, "default"), limit=3, after=Key(WIDGETS, namespace, "zzz"))

    assert [stored.key.name for stored in page.items] == expected

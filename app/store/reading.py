"""Reading objects: by key, as a list of now, and as a list of any revision that the log still reaches."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import (
    ColumnElement,
    FromClause,
    RowMapping,
    and_,
    func,
    literal,
    select,
    text,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import tables
from app.store.base import Gone, Key, Listing, Revision, Scope, Stored, TooNew
from app.store.changes import is_storable
from app.store.driver import Execute

# LIMIT 1 keeps the planner from joining with a scan of the whole table: each key is one look into the index.
_OF_KEYS = """
SELECT o.resource, o.namespace, o.name, o.revision, o.body
FROM unnest(CAST(:resources AS text[]), CAST(:namespaces AS text[]), CAST(:names AS text[])) AS k(resource, namespace, name)
CROSS JOIN LATERAL (
    SELECT * FROM objects o
    WHERE o.resource = k.resource AND o.namespace = k.namespace AND o.name = k.name LIMIT 1
) AS o
"""
VERSIONS = text(_OF_KEYS)
VERSIONS_AND_REVISION = text(f"SELECT counter.revision, o.* FROM counter LEFT JOIN ({_OF_KEYS}) AS o ON true")


def key_columns(keys: Collection[Key]) -> dict[str, list[str]]:
    """The keys as the arrays that `unnest` takes."""
    return {
        "resources": [key.resource for key in keys],
        "namespaces": [key.namespace for key in keys],
        "names": [key.name for key in keys],
    }


async def versions(execute: Execute, keys: Collection[Key]) -> dict[Key, Stored]:
    """The newest version of each of the keys that is there."""
    rows = await execute(VERSIONS, key_columns([key for key in keys if is_storable(key)]))
    found = (
        Stored(Key(resource, namespace, name), revision, body) for resource, namespace, name, revision, body in rows
    )
    return {stored.key: stored for stored in found}


async def versions_and_revision(execute: Execute, keys: Collection[Key]) -> tuple[Revision, dict[Key, Stored]]:
    """The same with the newest revision, of one snapshot."""
    rows = await execute(VERSIONS_AND_REVISION, key_columns([key for key in keys if is_storable(key)]))
    found = (
        Stored(Key(resource, namespace, name), revision, body)
        for _, resource, namespace, name, revision, body in rows
        if name is not None
    )
    return rows[0][0], {stored.key: stored for stored in found}


async def revision(connection: AsyncConnection) -> Revision:
    """The newest committed revision."""
    found: Revision = (await connection.execute(select(tables.counter.c.revision))).scalar_one()
    return found


def in_scope(source: FromClause, scope: Scope) -> ColumnElement[bool]:
    """The rows of a table with key columns that the scope names."""
    wanted = {"resource": scope.resource, "namespace": scope.namespace, "name": scope.name}
    return and_(true(), *(source.c[column] == value for column, value in wanted.items() if value is not None))


async def listing(
    connection: AsyncConnection, scope: Scope, *, limit: int, after: Key | None, at: Revision | None
) -> Listing:
    """In one statement, so that the rows and the revision are of one snapshot."""
    if not is_storable(Key(scope.resource or "", scope.namespace or "", scope.name or "")):
        return Listing((), at or await revision(connection), 0)
    source = _of_now(scope) if at is None else _as_of(scope, at)
    key = tuple_(source.c.resource, source.c.namespace, source.c.name)
    rest = key > tuple_(after.resource, after.namespace, after.name) if after else true()
    page = select(source).where(rest).order_by(source.c.resource, source.c.namespace, source.c.name)
    total = select(func.count()).select_from(source).where(rest).scalar_subquery() if limit else literal(0)
    items = (page.limit(limit) if limit else page).subquery("page")
    statement = (
        select(tables.counter.c.revision.label("newest"), tables.log_floor.c.revision.label("floor"),
               total.label("total"), items)
        .select_from(tables.counter.join(tables.log_floor, true()).outerjoin(items, true()))
        .order_by(items.c.resource, items.c.namespace, items.c.name)
    )  # fmt: skip
    rows = (await connection.execute(statement)).mappings().all()
    return _listing(rows, at)


def _listing(rows: Collection[RowMapping], at: Revision | None) -> Listing:
    first = next(iter(rows))
    if at is not None and at > first["newest"]:
        raise TooNew(f"revision {at} is not reached: the newest is {first['newest']}")
    if at is not None and at < first["floor"]:
        raise Gone(f"revision {at} is compacted: the log begins after {first['floor']}")
    items = [_stored(row) for row in rows if row["name"] is not None]
    return Listing(items, first["newest"] if at is None else at, max(0, first["total"] - len(items)))


def _stored(row: RowMapping) -> Stored:
    return Stored(Key(row["resource"], row["namespace"], row["name"]), row["revision"], row["body"])


def _of_now(scope: Scope) -> FromClause:
    o = tables.objects
    return select(o.c.resource, o.c.namespace, o.c.name, o.c.revision, o.c.body).where(in_scope(o, scope)).subquery("o")


def _as_of(scope: Scope, at: Revision) -> FromClause:
    """What has not changed since, and of the rest what each first later change replaced."""
    o, c = tables.objects, tables.changes
    unchanged = select(o.c.resource, o.c.namespace, o.c.name, o.c.revision, o.c.body).where(
        in_scope(o, scope), o.c.revision <= at
    )
    first_later = (
        select(c.c.resource, c.c.namespace, c.c.name, c.c.previous_revision, c.c.previous_body)
        .ext(distinct_on(c.c.resource, c.c.namespace, c.c.name))
        .where(in_scope(c, scope), c.c.revision > at)
        .order_by(c.c.resource, c.c.namespace, c.c.name, c.c.revision)
        .subquery("first_later")
    )
    replaced = select(
        first_later.c.resource, first_later.c.namespace, first_later.c.name,
        first_later.c.previous_revision.label("revision"), first_later.c.previous_body.label("body"),
    ).where(first_later.c.previous_revision.is_not(None))  # fmt: skip
    return union_all(unchanged, replaced).subquery("o")

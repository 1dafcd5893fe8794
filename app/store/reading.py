"""Reading objects: by key, as a list of now, and as a list of any revision that the log still reaches."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import asyncpg
from sqlalchemy import TextClause, text

from app.machinery.values import value
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


NEWEST = text("SELECT revision FROM counter")


async def newest(execute: Execute) -> Revision:
    """The newest committed revision."""
    ((found,),) = await execute(NEWEST, {})
    return int(found)


async def listing(
    execute: Execute,
    scope: Scope,
    *,
    limit: int = 0,
    after: Key | None = None,
    at: Revision | None = None,
    left: int | None = None,
) -> Listing:
    """In one statement, so that the rows, how many there are, and the revision are of one snapshot."""
    if not is_storable(Key(scope.resource or "", scope.namespace or "", scope.name or "")):
        return Listing((), at or await newest(execute), 0)
    shape = Shape(
        scoped=tuple(column for column in _SCOPE if getattr(scope, column) is not None),
        limited=bool(limit), goes_on=after is not None, historic=at is not None, known=left is not None,
        astray=after is not None and not _is_in(after, scope),
    )  # fmt: skip
    values: dict[str, object] = {column: getattr(scope, column) for column in shape.scoped}
    if limit:
        values["limit"] = limit
    if after is not None:
        values |= {f"after_{column}": getattr(after, column) for column in shape.compared}
    if at is not None:
        values["at"] = at
    if shape.limited and left is not None:
        values["left"] = left
    rows = await execute(shape.statement(), values)
    return _listing(rows, at, (scope, limit) if shape.is_whole else None)


_SCOPE = ("resource", "namespace", "name")


def _is_in(key: Key, scope: Scope) -> bool:
    return scope.resource in (None, key.resource) and scope.namespace in (None, key.namespace)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a list's statement depends on, values aside."""

    scoped: tuple[str, ...]
    limited: bool
    goes_on: bool
    historic: bool
    known: bool
    """How many there are from here on is known already."""
    astray: bool = False
    """The place after which it goes on is none of the scope's own."""

    @property
    def is_whole(self) -> bool:
        """From the first object of what `populations` counts, as it is now."""
        return not self.goes_on and not self.historic and "name" not in self.scoped

    @lru_cache(maxsize=256)  # noqa: B019  (a shape is a value, and there are few)
    def statement(self) -> TextClause:
        return text(f"""
            SELECT counter.revision AS newest, log_floor.revision AS floor,
                   CAST(({self._total()}) AS bigint) AS total, CAST(({self._stamp()}) AS bigint) AS stamp, page.*
            FROM counter CROSS JOIN log_floor LEFT JOIN (
                SELECT resource, namespace, name, revision, body FROM ({self._source()}) AS o
                ORDER BY resource, namespace, name {"LIMIT :limit" if self.limited else ""}
            ) AS page ON true
            ORDER BY page.resource, page.namespace, page.name""")

    def _source(self) -> str:
        """The rest of the objects: all that matter for the page, and none from before it."""
        columns = "SELECT resource, namespace, name, revision, body FROM objects"
        if not self.historic:
            return f"{columns} WHERE {self._where(self._rest)}"
        # What has not changed since, and of the rest what each first later change replaced.
        page = f"ORDER BY resource, namespace, name {'LIMIT :limit' if self.limited else ''}"
        return f"""
            ({columns} WHERE {self._where("revision <= :at", self._rest)} {page})
            UNION ALL
            SELECT resource, namespace, name, previous_revision, previous_body FROM ({self._first_later()}) AS later
            WHERE previous_revision IS NOT NULL"""

    def _first_later(self) -> str:
        return f"""
            SELECT DISTINCT ON (resource, namespace, name)
                   resource, namespace, name, previous_revision, previous_body
            FROM changes WHERE {self._where("revision > :at", self._rest)}
            ORDER BY resource, namespace, name, revision"""

    def _total(self) -> str:
        """How many there are from here on; nobody asks where all are read."""
        if not self.limited:
            return "0"
        if self.known:
            return ":left"
        if self.goes_on or "name" in self.scoped:
            return self._counted()
        now = f"SELECT coalesce(sum(count), 0) FROM populations WHERE {self._where()}"
        if not self.historic:
            return now
        came = "count(*) FILTER (WHERE type = 'DELETED') - count(*) FILTER (WHERE type = 'ADDED')"
        return f"({now}) + (SELECT {came} FROM changes WHERE {self._where('revision > :at')})"

    def _counted(self) -> str:
        if not self.historic:
            return f"SELECT count(*) FROM objects WHERE {self._where(self._rest)}"
        return f"""
            (SELECT count(*) FROM objects WHERE {self._where("revision <= :at", self._rest)})
            + (SELECT count(previous_revision) FROM ({self._first_later()}) AS later)"""

    def _stamp(self) -> str:
        return f"SELECT coalesce(sum(stamp), 0) FROM populations WHERE {self._where()}" if self.is_whole else "0"

    def _where(self, *further: str) -> str:
        scoped = (f"{column} = :{column}" for column in self.scoped)
        return " AND ".join(condition for condition in (*scoped, *further, "true") if condition)

    @property
    def compared(self) -> tuple[str, ...]:
        """What of a key is compared with the place. Columns that the scope fixes are not: PostgreSQL would begin at the
        scope's first object, and walk along the index up to the place."""
        fixed = 0 if self.astray else next((i for i, column in enumerate(_SCOPE) if column not in self.scoped), 0)
        return _SCOPE[fixed:]

    @property
    def _rest(self) -> str:
        """What lies behind the place."""
        if not self.goes_on:
            return ""
        return f"({', '.join(self.compared)}) > ({', '.join(f':after_{column}' for column in self.compared)})"


def _listing(rows: Sequence[asyncpg.Record], at: Revision | None, whole: Hashable) -> Listing:
    newest, floor, total, stamp = rows[0][:4]
    if at is not None and at > newest:
        raise TooNew(f"revision {at} is not reached: the newest is {newest}")
    if at is not None and at < floor:
        raise Gone(f"revision {at} is compacted: the log begins after {floor}")
    items = [
        Stored(Key(resource, namespace, name), revision, body)
        for _, _, _, _, resource, namespace, name, revision, body in rows
        if name is not None
    ]
    content = None if whole is None else (whole, stamp)
    return Listing(items, newest if at is None else at, max(0, total - len(items)), content)


# For several scopes at once: a NULL namespace is all of them.
HEADS = text("""
SELECT counter.revision, k.place, coalesce(sum(p.stamp), 0), coalesce(sum(p.count), 0)
FROM counter CROSS JOIN unnest(CAST(:resources AS text[]), CAST(:namespaces AS text[]))
     WITH ORDINALITY AS k(resource, namespace, place)
LEFT JOIN populations p ON p.resource = k.resource AND (k.namespace IS NULL OR p.namespace = k.namespace)
GROUP BY counter.revision, k.place ORDER BY k.place
""")


@value()
class Head:
    """What is known of a scope without reading its objects."""

    revision: Revision
    stamp: int
    """Another one after every change."""
    count: int


async def heads(execute: Execute, scopes: Sequence[Scope]) -> list[Head]:
    """Of scopes that name a resource and no object; all of one snapshot."""
    values = {"resources": [scope.resource for scope in scopes], "namespaces": [scope.namespace for scope in scopes]}
    return [Head(revision, int(stamp), int(count)) for revision, _, stamp, count in await execute(HEADS, values)]

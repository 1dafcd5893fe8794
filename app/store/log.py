"""Reading the change log: pages of events, each with how far the log was known when it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from sqlalchemy import text

from app.store.base import Event, EventType, Key, Revision, Scope, Stored
from app.store.lines import Lines


@dataclass(frozen=True, slots=True)
class Page:
    """The changes in a scope after a revision."""

    events: Sequence[Event]
    upto: Revision
    """Every change in the scope up to here is in the page."""
    floor: Revision
    """Changes up to here may be compacted: a page that should begin below misses some."""


# In one statement, so that the rows, the newest revision and the floor are of one snapshot. Always read by revision: what
# the scope leaves out is filtered.
PAGE = text("""
SELECT counter.revision AS newest, log_floor.revision AS floor, page.*
FROM counter CROSS JOIN log_floor LEFT JOIN LATERAL (
    SELECT resource, namespace, name, type, revision, body, previous_revision, previous_body
    FROM changes
    WHERE revision > :after
      AND (CAST(:resource AS text) IS NULL OR resource = :resource)
      AND (CAST(:namespace AS text) IS NULL OR namespace = :namespace)
      AND (CAST(:name AS text) IS NULL OR name = :name)
    ORDER BY revision LIMIT :limit
) AS page ON true
ORDER BY page.revision
""")


async def read_log(lines: Lines, scope: Scope, after: Revision, limit: int) -> Page:
    """The first changes after a revision. Raises Unavailable."""
    values = {
        "resource": scope.resource, "namespace": scope.namespace, "name": scope.name, "after": after, "limit": limit,
    }  # fmt: skip
    rows = await lines.read(lambda execute: execute(PAGE, values))
    events = [_event(row) for row in rows if row["type"] is not None]
    upto = events[-1].revision if len(events) == limit else rows[0]["newest"]
    return Page(events, upto, rows[0]["floor"])


def _event(row: asyncpg.Record) -> Event:
    key = Key(row["resource"], row["namespace"], row["name"])
    previous = None
    if row["previous_body"] is not None:
        previous = Stored(key, row["previous_revision"], row["previous_body"])
    return Event(EventType(row["type"]), row["revision"], Stored(key, row["revision"], row["body"]), previous)

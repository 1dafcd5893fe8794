"""Reading the change log: pages of events, each with how far the log was known when it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, select, true
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.store.attempts import read
from app.store.base import Event, EventType, Key, Revision, Scope, Stored
from app.store.reading import in_scope
from app.store.tables import changes, counter, log_floor


@dataclass(frozen=True, slots=True)
class Page:
    """The changes in a scope after a revision."""

    events: Sequence[Event]
    upto: Revision
    """Every change in the scope up to here is in the page."""
    floor: Revision
    """Changes up to here may be compacted: a page that should begin below misses some."""


async def read_log(engine: AsyncEngine, scope: Scope, after: Revision, limit: int) -> Page:
    """In one statement, so that the rows, the newest revision and the floor are of one snapshot. Raises Unavailable."""
    page = (
        select(changes).where(in_scope(changes, scope), changes.c.revision > after)
        .order_by(changes.c.revision).limit(limit).subquery("page")
    )  # fmt: skip
    statement = (
        select(counter.c.revision.label("newest"), log_floor.c.revision.label("floor"), page)
        .select_from(counter.join(log_floor, true()).outerjoin(page, true()))
        .order_by(page.c.revision)
    )

    async def work(connection: AsyncConnection) -> Sequence[RowMapping]:
        return (await connection.execute(statement)).mappings().all()

    rows = await read(engine, work)
    events = [_event(row) for row in rows if row["type"] is not None]
    upto = events[-1].revision if len(events) == limit else rows[0]["newest"]
    return Page(events, upto, rows[0]["floor"])


def _event(row: RowMapping) -> Event:
    key = Key(row["resource"], row["namespace"], row["name"])
    previous = None
    if row["previous_body"] is not None:
        previous = Stored(key, row["previous_revision"], row["previous_body"])
    return Event(EventType(row["type"]), row["revision"], Stored(key, row["revision"], row["body"]), previous)

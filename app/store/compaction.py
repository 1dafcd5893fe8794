"""Compaction: old entries leave the log, and what belonged to objects that are gone goes."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.store.attempts import in_transaction

BATCH = 5000
"""Entries that go in one transaction: small enough that no reader of the log waits."""

# The floor moves in the statement that deletes, so no reader can find entries missing above it. Its row is locked first:
# of two that compact at once, one waits and finds nothing left to do.
LOCK = text("SELECT revision FROM log_floor FOR UPDATE")
DROP = text("""
WITH oldest AS (
    SELECT revision, at FROM changes
    WHERE revision <= (SELECT revision FROM counter) - :keep
    ORDER BY revision LIMIT :batch
), gone AS (
    DELETE FROM changes
    WHERE revision <= (SELECT max(revision) FROM oldest WHERE at < clock_timestamp() - CAST(:older_than AS interval))
    RETURNING revision
), raised AS (
    UPDATE log_floor SET revision = greatest(log_floor.revision, (SELECT max(revision) FROM gone))
    WHERE EXISTS (SELECT 1 FROM gone)
)
SELECT count(*) FROM gone
""")

FORGET_RUNS = text("""
DELETE FROM runs r WHERE state = 'finished' AND NOT EXISTS (
    SELECT 1 FROM objects o WHERE o.uid = CAST(r.migration_uid AS text))
""")
FORGET_LINES = text("""
DELETE FROM log_lines l WHERE l.at < clock_timestamp() - CAST(:older_than AS interval) AND NOT EXISTS (
    SELECT 1 FROM objects o WHERE o.uid = CAST(l.pod AS text))
""")


async def compact(engine: AsyncEngine, older_than: timedelta, keep: int) -> int:
    """How many entries of the log went. Raises Unavailable; what went until then stays gone."""
    values = {"older_than": older_than, "keep": keep, "batch": BATCH}

    async def drop(connection: AsyncConnection) -> int:
        await connection.execute(LOCK)
        count: int = (await connection.execute(DROP, values)).scalar_one()
        return count

    async def forget(connection: AsyncConnection) -> None:
        await connection.execute(FORGET_RUNS)
        await connection.execute(FORGET_LINES, {"older_than": older_than})

    total = 0
    while count := await in_transaction(engine, drop):
        total += count
    await in_transaction(engine, forget)
    return total

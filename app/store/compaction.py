"""Compaction: old entries leave the log, and what belonged to objects that are gone goes."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from app.store.driver import Execute
from app.store.lines import Lines

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


async def compact(lines: Lines, older_than: timedelta, keep: int) -> int:
    """How many entries of the log went. Raises Unavailable; what went until then stays gone."""
    values = {"older_than": older_than, "keep": keep, "batch": BATCH}

    async def drop(execute: Execute) -> int:
        await execute(LOCK, {})
        ((count,),) = await execute(DROP, values)
        return int(count)

    async def forget(execute: Execute) -> None:
        await execute(FORGET_RUNS, {})
        await execute(FORGET_LINES, {"older_than": older_than})

    total = 0
    while count := await lines.transaction(drop):
        total += count
    await lines.transaction(forget)
    return total

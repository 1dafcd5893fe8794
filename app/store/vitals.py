"""How the store is, in one statement: a few small tables and sizes, however many objects there are."""

from __future__ import annotations

from sqlalchemy import text

from app.store.base import Vitals
from app.store.driver import Execute

# Finished runs are left to the partial index; objects are counted by the table that keeps their numbers.
VITALS = text("""
SELECT counter.revision, counter.revision - log_floor.revision AS log_entries,
       pg_total_relation_size('changes') AS log_bytes, pg_database_size(current_database()) AS database_bytes,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - at) FROM changes ORDER BY revision LIMIT 1), 0) AS log_oldest_s,
       r.waiting AS runs_waiting, r.held AS runs_held, r.lapsed AS runs_lapsed, l.held AS leases_held, l.lapsed AS leases_lapsed
FROM counter CROSS JOIN log_floor CROSS JOIN (
    SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'held' AND lease_until >= clock_timestamp()) AS held,
           count(*) FILTER (WHERE state = 'held' AND lease_until < clock_timestamp()) AS lapsed
    FROM runs WHERE state <> 'finished'
) AS r CROSS JOIN (
    SELECT count(*) FILTER (WHERE until >= clock_timestamp()) AS held,
           count(*) FILTER (WHERE until < clock_timestamp()) AS lapsed
    FROM leases WHERE holder <> ''
) AS l
""")

POPULATIONS = text("SELECT resource, sum(count) AS count FROM populations GROUP BY resource")


async def vitals(execute: Execute) -> Vitals:
    (row,) = await execute(VITALS, {})
    objects = await execute(POPULATIONS, {})
    return Vitals(
        revision=row["revision"],
        log_entries=row["log_entries"],
        log_bytes=row["log_bytes"],
        log_oldest_s=float(row["log_oldest_s"]),
        database_bytes=row["database_bytes"],
        runs_waiting=row["runs_waiting"],
        runs_held=row["runs_held"],
        runs_lapsed=row["runs_lapsed"],
        leases_held=row["leases_held"],
        leases_lapsed=row["leases_lapsed"],
        objects={resource: int(count) for resource, count in objects},
    )

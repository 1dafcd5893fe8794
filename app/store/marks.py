"""What has changed since somebody last looked: so that what was made of many objects can be kept, and is exact again."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
from sqlalchemy import text

from app.store.base import Changes, Gone, Key, Mark, Stored
from app.store.driver import Execute

# In one statement each, so that the rows, the newest revision and the floor are of one snapshot. A server that was started
# later may have another history: after a failover, or when a backup was put in its place.
_HEAD = "SELECT counter.revision AS newest, log_floor.revision AS floor, pg_postmaster_start_time() AS began, o.*"
WHOLE = text(f"""
{_HEAD} FROM counter CROSS JOIN log_floor LEFT JOIN (
    SELECT 'ADDED' AS type, resource, namespace, name, revision, body FROM objects
    WHERE resource = ANY(CAST(:resources AS text[]))
) AS o ON true ORDER BY o.revision
""")
SINCE = text(f"""
{_HEAD} FROM counter CROSS JOIN log_floor LEFT JOIN (
    SELECT type, resource, namespace, name, revision, body FROM changes
    WHERE revision > :since AND resource = ANY(CAST(:resources AS text[]))
) AS o ON true ORDER BY o.revision
""")


async def changed(execute: Execute, resources: Sequence[str], since: Mark | None) -> Changes:
    """Raises Gone where the log does not say what happened since."""
    if since is None:
        rows = await execute(WHOLE, {"resources": list(resources)})
    else:
        rows = await execute(SINCE, {"resources": list(resources), "since": since.revision})
    newest, floor, began = rows[0][:3]
    if since is not None and (since.server != began or not floor <= since.revision <= newest):
        raise Gone(f"what happened after revision {since.revision} is not known")
    return Changes(_items(rows), Mark(newest, began))


def _items(rows: Sequence[asyncpg.Record]) -> dict[Key, Stored | None]:
    """The last version of each, in the order of their first changes."""
    found: dict[Key, Stored | None] = {}
    for _, _, _, type_, resource, namespace, name, revision, body in rows:
        if name is not None:
            key = Key(resource, namespace, name)
            found[key] = None if type_ == "DELETED" else Stored(key, revision, body)
    return found

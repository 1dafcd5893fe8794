"""Moving the revision on by far, so that no revision that somebody may know is given a second time."""

from __future__ import annotations

from sqlalchemy import text

from app.store.base import Revision
from app.store.lines import Lines

FAR = 1_000_000_000
"""More changes than a backup can be behind, as etcd's own tool has it; 2^53, where clients' numbers end, is far still."""

# The floor comes along: whoever asks for a change since an older revision lists again. So do the stamps by which lists are
# kept, since another life of the database may have used the next ones for something else.
BUMP = text("""
WITH moved AS (
    UPDATE counter SET revision = greatest(revision, :at_least) + :by RETURNING revision
), floored AS (
    UPDATE log_floor SET revision = moved.revision FROM moved
), stamped AS (
    UPDATE populations SET stamp = stamp + :by
)
SELECT revision FROM moved
""")


async def bump(lines: Lines, *, by: int = FAR, at_least: Revision = 0) -> Revision:
    """The revision that is reached. Every watch of before must list anew (410). Raises Unavailable, and then it may have
    happened; to do it twice does no harm."""
    ((reached,),) = await lines.at_once(lambda execute: execute(BUMP, {"by": by, "at_least": at_least}))
    return int(reached)

"""Named leases: who may act for something that has one owner."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text

from app.store.base import Lease, LeaseLost
from app.store.driver import Execute
from app.store.lines import Lines

# In the order of the names, so that two who want the same ones cannot wait for each other.
ACQUIRE = text("""
INSERT INTO leases AS l (name, holder, token, until)
SELECT n, :holder, 1, clock_timestamp() + CAST(:ttl AS interval)
FROM unnest(CAST(:names AS text[])) AS n ORDER BY n
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, until = clock_timestamp() + CAST(:ttl AS interval),
    token = CASE WHEN l.holder = excluded.holder THEN l.token ELSE l.token + 1 END,
    former_until = CASE WHEN l.holder <> '' AND l.until < clock_timestamp() THEN l.until ELSE l.former_until END
WHERE l.holder = excluded.holder OR l.until < clock_timestamp()
RETURNING name, holder, token, until, former_until
""")

# The row stays: the next holder's token must be larger.
RELEASE = text("""
UPDATE leases SET holder = '', until = clock_timestamp()
WHERE name = ANY(CAST(:names AS text[])) AND holder = :holder
""")

HELD = text("""
SELECT name, holder, token, until, former_until FROM leases
WHERE holder <> '' AND until > clock_timestamp() ORDER BY name
""")

FENCE = text("SELECT 1 FROM leases WHERE name = :name AND token = :token AND holder <> '' FOR SHARE")


class PostgresLeases:
    """The port's Leases."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def acquire(self, names: Sequence[str], holder: str, ttl: timedelta) -> Sequence[Lease]:
        values = {"names": sorted(set(names)), "holder": holder, "ttl": ttl}
        return [Lease(**row) for row in await self._lines.at_once(lambda execute: execute(ACQUIRE, values))]

    async def release(self, names: Sequence[str], holder: str) -> None:
        values = {"names": list(names), "holder": holder}
        await self._lines.at_once(lambda execute: execute(RELEASE, values))

    async def held(self) -> Sequence[Lease]:
        return [Lease(**row) for row in await self._lines.read(lambda execute: execute(HELD, {}))]


async def fence(execute: Execute, name: str, token: int) -> None:
    """Until this transaction ends nobody can take it. Raises LeaseLost."""
    if not await execute(FENCE, {"name": name, "token": token}):
        raise LeaseLost(f"lease {name} is not held under token {token}")

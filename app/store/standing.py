"""How the store stands, for an operator to read: who holds what, who is connected, and what a failover would do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import text

from app.store.address import PROCESS, servers
from app.store.base import Key, Revision, Stored
from app.store.lines import Lines


class Durability(StrEnum):
    """What becomes of acknowledged writes when the server that took them is lost."""

    SINGLE = "single"
    """There is no standby to fail over to: they are as safe as its disk."""
    SYNCHRONOUS = "synchronous"
    """A standby has each before it is acknowledged: a failover loses none."""
    ASYNCHRONOUS = "asynchronous"
    """Standbys follow, and may be behind: a failover may lose the last ones."""
    UNSAFE = "unsafe"
    """The server acknowledges what it has not yet written (fsync or synchronous_commit is off): its own crash may lose them."""

    @property
    def is_safe(self) -> bool:
        return self in (Durability.SINGLE, Durability.SYNCHRONOUS)


ADVICE = {
    Durability.ASYNCHRONOUS: "a failover may lose acknowledged writes: set synchronous_standby_names on the server",
    Durability.UNSAFE: "a crash of PostgreSQL may lose acknowledged writes: turn fsync and synchronous_commit on",
}


@dataclass(frozen=True, slots=True)
class Database:
    """The server that takes the writes."""

    servers: Sequence[str]
    """As the URL names them."""
    version: str
    durability: Durability
    standbys: Sequence[str]
    """Those that follow now, by their application_name, as far as the role may see them."""
    schema: str
    revision: Revision
    floor: Revision
    """Changes up to here are compacted."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Process:
    """One that is connected. Times are the database's clock."""

    name: str
    address: str
    since: datetime
    connections: int


# A role that may not see other sessions sees none of the standbys; the settings everybody sees.
DATABASE = text("""
SELECT current_setting('server_version') AS version,
       current_setting('synchronous_standby_names') AS names,
       current_setting('synchronous_commit') AS commits,
       current_setting('fsync') AS fsync,
       ARRAY(SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1) AS standbys,
       pg_database_size(current_database()) AS bytes,
       (SELECT version_num FROM alembic_version) AS schema,
       counter.revision, log_floor.revision AS floor
FROM counter, log_floor
""")

PROCESSES = text("""
SELECT substr(application_name, :skip) AS name, coalesce(host(client_addr), 'local') AS address,
       min(backend_start) AS since, count(*) AS connections
FROM pg_stat_activity WHERE starts_with(application_name, :prefix) AND datname = current_database()
GROUP BY 1, 2 ORDER BY 1, 2
""")


async def database(lines: Lines, url: str) -> Database:
    """Raises Unavailable."""
    (row,) = await lines.read(lambda execute: execute(DATABASE, {}))
    named = servers(url)
    return Database(
        named, row["version"], _durability(row["names"], row["commits"], row["fsync"], row["standbys"], named),
        row["standbys"], row["schema"], row["revision"], row["floor"], row["bytes"],
    )  # fmt: skip


async def processes(lines: Lines) -> Sequence[Process]:
    """Those that said who they are. Raises Unavailable."""
    values = {"prefix": PROCESS, "skip": len(PROCESS) + 1}
    return [Process(**row) for row in await lines.read(lambda execute: execute(PROCESSES, values))]


def _durability(names: str, commits: str, fsync: str, standbys: Sequence[str], named: Sequence[str]) -> Durability:
    if fsync == "off" or commits == "off":
        return Durability.UNSAFE
    if names and commits != "local":
        return Durability.SYNCHRONOUS
    return Durability.ASYNCHRONOUS if standbys or len(named) > 1 else Durability.SINGLE


# The marks are looked for in the bytes: nothing is decoded, and only what is answered leaves the database.
UNMARKED = text("""
SELECT namespace, name, revision, body FROM objects
WHERE resource = :resource AND NOT EXISTS (
    SELECT FROM unnest(CAST(:marks AS bytea[])) AS mark WHERE position(mark IN body) > 0)
ORDER BY namespace, name
""")


async def unmarked(lines: Lines, resource: str, marks: Sequence[bytes]) -> Sequence[Stored]:
    """Objects of a resource whose body has none of the marks. Raises Unavailable."""
    values = {"resource": resource, "marks": list(marks)}
    rows = await lines.read(lambda execute: execute(UNMARKED, values))
    return [Stored(Key(resource, row["namespace"], row["name"]), row["revision"], row["body"]) for row in rows]

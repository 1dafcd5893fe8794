"""The lines that the processes of pods wrote."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from app.store.base import LogLine
from app.store.lines import Lines

# One writer of a pod at a time: a reader that is at line 6 must not meet a line 5 later. Lines are numbered once they are
# sorted, and they are sorted once there are any, which is after the lock.
APPEND = text("""
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(CAST(CAST(:pod AS uuid) AS text), 0)))
INSERT INTO log_lines (pod, at, text)
SELECT :pod, l.at, l.text
FROM alone CROSS JOIN unnest(CAST(:times AS timestamptz[]), CAST(:texts AS text[])) WITH ORDINALITY AS l(at, text, place)
ORDER BY l.place
""")

READ = text("""
SELECT seq, at, text FROM (
    SELECT seq, at, text FROM log_lines WHERE pod = :pod AND seq > :after ORDER BY seq DESC LIMIT CAST(:tail AS bigint)
) AS last ORDER BY seq LIMIT :limit
""")


class PostgresLogs:
    """The port's Logs."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def append(self, pod: UUID, lines: Sequence[tuple[datetime, str]]) -> None:
        if not lines:
            return
        values = {"pod": pod, "times": [at for at, _ in lines], "texts": [_printable(line) for _, line in lines]}
        await self._lines.at_once(lambda execute: execute(APPEND, values))

    async def read(self, pod: UUID, *, after: int = 0, tail: int | None = None, limit: int = 1000) -> Sequence[LogLine]:
        values = {"pod": pod, "after": after, "tail": tail, "limit": limit}
        return [LogLine(*row) for row in await self._lines.read(lambda execute: execute(READ, values))]


def _printable(line: str) -> str:
    """A process may write anything; PostgreSQL's text takes neither NUL nor half a surrogate pair."""
    return line.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()

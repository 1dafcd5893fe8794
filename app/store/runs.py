"""Runs: rows that are the workers' queue, claimed with SKIP LOCKED and fenced by token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import text

from app.machinery.objects import Document
from app.store.base import AlreadyExists, Key, LeaseLost, NotFound, Run, RunState
from app.store.driver import Execute
from app.store.lines import Lines
from app.store.tables import runs

# One statement takes, counts and reschedules: two workers never see the same row as free.
CLAIM = text("""
WITH free AS (
    SELECT id FROM runs
    WHERE state = 'waiting' OR (state = 'held' AND lease_until < clock_timestamp())
    ORDER BY seq LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE runs r
SET state = 'held', holder = :holder, token = r.token + 1,
    former_lease_until = r.lease_until, lease_until = clock_timestamp() + CAST(:lease AS interval)
FROM free WHERE r.id = free.id
RETURNING r.*
""")

EXTEND = text("""
UPDATE runs SET lease_until = clock_timestamp() + CAST(:lease AS interval)
WHERE id = :id AND token = :token AND state = 'held'
RETURNING *
""")

# FOR SHARE: until this transaction ends nobody can claim it.
FENCE = text("SELECT 1 FROM runs WHERE id = :id AND token = :token AND state = 'held' FOR SHARE")

CANCEL = text("UPDATE runs SET cancelled = cancelled OR state <> 'finished' WHERE id = :id RETURNING id")

REPLAN = text("UPDATE runs SET plan = CASE state WHEN 'finished' THEN plan ELSE :plan END WHERE id = :id RETURNING id")

# A run that nobody claimed has token 0, and is finished by whoever started it.
FINISH = text("""
UPDATE runs SET state = 'finished', exit_code = :exit_code, result = :result, finished_at = clock_timestamp()
WHERE id = :id AND token = :token AND state <> 'finished'
RETURNING id
""")


INSERT = text("""
INSERT INTO runs (id, resource, namespace, name, migration_uid, domain, source, target, attempt, plan, memory, state, holder,
                  token, cancelled, result)
VALUES (:id, :resource, :namespace, :name, :migration_uid, :domain, :source, :target, :attempt, :plan, :memory, :state, '',
        0, :cancelled, :result)
""")

OF = text("SELECT * FROM runs WHERE migration_uid = :migration_uid ORDER BY attempt")

# Every decision reads them, and a plan names every host.
_UNFINISHED = f"""
SELECT {", ".join(column.name for column in runs.c if column is not runs.c.plan)}, CAST('{{}}' AS bytea) AS plan FROM runs
WHERE state <> 'finished'"""
UNFINISHED = text(f"{_UNFINISHED} ORDER BY seq")
UNFINISHED_OF = text(f"{_UNFINISHED} AND domain = :domain")

# The index is partial: the condition on the exit code must stand here as it stands there.
FAILED = text("""
SELECT * FROM runs WHERE exit_code <> 0 AND finished_at > clock_timestamp() - CAST(:within AS interval) ORDER BY seq
""")


class PostgresRuns:
    """The port's Runs."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def claim(self, holder: str, lease: timedelta, limit: int) -> Sequence[Run]:
        values = {"holder": holder, "lease": lease, "limit": limit}
        rows = await self._lines.at_once(lambda execute: execute(CLAIM, values))
        return [run_of(row) for row in sorted(rows, key=lambda row: int(row["seq"]))]

    async def extend(self, run: UUID, token: int, lease: timedelta) -> Run:
        values = {"id": run, "token": token, "lease": lease}
        rows = await self._lines.at_once(lambda execute: execute(EXTEND, values))
        if not rows:
            raise LeaseLost(f"run {run} is not held under token {token}")
        return run_of(rows[0])

    async def of(self, migration_uid: UUID) -> Sequence[Run]:
        return await self._lines.read(lambda execute: runs_of(execute, migration_uid))

    async def unfinished(self, domain: UUID | None = None) -> Sequence[Run]:
        return await self._lines.read(lambda execute: unfinished_runs(execute, domain))


async def runs_of(execute: Execute, migration_uid: UUID) -> Sequence[Run]:
    return [run_of(row) for row in await execute(OF, {"migration_uid": migration_uid})]


async def unfinished_runs(execute: Execute, domain: UUID | None = None) -> Sequence[Run]:
    rows = await (execute(UNFINISHED, {}) if domain is None else execute(UNFINISHED_OF, {"domain": domain}))
    return [run_of(row) for row in rows]


async def failed_runs(execute: Execute, within: timedelta) -> Sequence[Run]:
    return [run_of(row) for row in await execute(FAILED, {"within": within})]


async def start(execute: Execute, run: Run) -> None:
    """Raises AlreadyExists: for the run, the migration's attempt, or an unfinished run of the same domain."""
    values = {
        "id": run.id,
        "resource": run.migration.resource,
        "namespace": run.migration.namespace,
        "name": run.migration.name,
        "migration_uid": run.migration_uid,
        "domain": run.domain,
        "source": run.source,
        "target": run.target,
        "attempt": run.attempt,
        "plan": orjson.dumps(run.plan),
        "memory": run.memory,
        "state": RunState.WAITING.value,
        "cancelled": run.cancelled,
        "result": orjson.dumps(run.result),
    }
    try:
        await execute(INSERT, values)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"run {run.id}, attempt {run.attempt} of {run.migration.name}") from error


async def cancel(execute: Execute, run: UUID) -> None:
    """A finished run stays as it is. Raises NotFound."""
    if not await execute(CANCEL, {"id": run}):
        raise NotFound(f"run {run}")


async def replan(execute: Execute, run: UUID, plan: Document) -> None:
    """A finished run stays as it is. Raises NotFound."""
    if not await execute(REPLAN, {"id": run, "plan": orjson.dumps(plan)}):
        raise NotFound(f"run {run}")


async def finish(execute: Execute, run: UUID, token: int, exit_code: int, result: Document) -> None:
    values = {"id": run, "token": token, "exit_code": exit_code, "result": orjson.dumps(result)}
    if not await execute(FINISH, values):
        raise LeaseLost(f"run {run} is finished, or not held under token {token}")


async def fence(execute: Execute, run: UUID, token: int) -> None:
    if not await execute(FENCE, {"id": run, "token": token}):
        raise LeaseLost(f"run {run} is not held under token {token}")


def run_of(row: asyncpg.Record) -> Run:
    return Run(
        id=row["id"],
        migration=Key(row["resource"], row["namespace"], row["name"]),
        migration_uid=row["migration_uid"],
        domain=row["domain"],
        source=row["source"],
        target=row["target"],
        attempt=row["attempt"],
        plan=orjson.loads(row["plan"]),
        state=RunState(row["state"]),
        holder=row["holder"],
        token=row["token"],
        lease_until=row["lease_until"],
        former_lease_until=row["former_lease_until"],
        cancelled=row["cancelled"],
        exit_code=row["exit_code"],
        result=orjson.loads(row["result"]),
        memory=row["memory"],
    )

"""Runs: rows that are the workers' queue, claimed with SKIP LOCKED and fenced by token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Interval, LargeBinary, RowMapping, and_, cast, func, literal, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.machinery.objects import Document
from app.store.attempts import in_transaction, read
from app.store.base import AlreadyExists, Key, LeaseLost, NotFound, Run, RunState
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


class PostgresRuns:
    """The port's Runs."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, holder: str, lease: timedelta, limit: int) -> Sequence[Run]:
        async def work(connection: AsyncConnection) -> Sequence[RowMapping]:
            values = {"holder": holder, "lease": lease, "limit": limit}
            return (await connection.execute(CLAIM, values)).mappings().all()

        rows = await in_transaction(self._engine, work)
        return [run_of(row) for row in sorted(rows, key=lambda row: int(row["seq"]))]

    async def extend(self, run: UUID, token: int, lease: timedelta) -> Run:
        async def work(connection: AsyncConnection) -> RowMapping | None:
            values = {"id": run, "token": token, "lease": lease}
            return (await connection.execute(EXTEND, values)).mappings().first()

        row = await in_transaction(self._engine, work)
        if row is None:
            raise LeaseLost(f"run {run} is not held under token {token}")
        return run_of(row)

    async def of(self, migration_uid: UUID) -> Sequence[Run]:
        return await read(self._engine, lambda connection: runs_of(connection, migration_uid))

    async def unfinished(self) -> Sequence[Run]:
        return await read(self._engine, unfinished_runs)


async def runs_of(connection: AsyncConnection, migration_uid: UUID) -> Sequence[Run]:
    return await _select(connection, runs.c.migration_uid == migration_uid, runs.c.attempt)


_WITHOUT_PLAN = [column for column in runs.c if column is not runs.c.plan]


async def unfinished_runs(connection: AsyncConnection) -> Sequence[Run]:
    """Every decision reads them; a plan names every host."""
    unplanned = select(*_WITHOUT_PLAN, literal(b"{}", LargeBinary).label("plan"))
    found = unplanned.where(runs.c.state != RunState.FINISHED.value).order_by(runs.c.seq)
    return [run_of(row) for row in (await connection.execute(found)).mappings().all()]


async def failed_runs(connection: AsyncConnection, within: timedelta) -> Sequence[Run]:
    """The index is partial: the condition on the exit code must stand here as it stands there."""
    recent = runs.c.finished_at > func.clock_timestamp() - cast(literal(within), Interval)
    return await _select(connection, and_(text("exit_code <> 0"), recent), runs.c.seq)


async def start(connection: AsyncConnection, run: Run) -> None:
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
        "holder": "",
        "token": 0,
        "cancelled": run.cancelled,
        "result": orjson.dumps(run.result),
    }
    try:
        await connection.execute(runs.insert(), values)
    except IntegrityError as error:
        raise AlreadyExists(f"run {run.id}, attempt {run.attempt} of {run.migration.name}") from error


async def cancel(connection: AsyncConnection, run: UUID) -> None:
    """A finished run stays as it is. Raises NotFound."""
    if (await connection.execute(CANCEL, {"id": run})).first() is None:
        raise NotFound(f"run {run}")


async def replan(connection: AsyncConnection, run: UUID, plan: Document) -> None:
    """A finished run stays as it is. Raises NotFound."""
    if (await connection.execute(REPLAN, {"id": run, "plan": orjson.dumps(plan)})).first() is None:
        raise NotFound(f"run {run}")


async def finish(connection: AsyncConnection, run: UUID, token: int, exit_code: int, result: Document) -> None:
    values = {"id": run, "token": token, "exit_code": exit_code, "result": orjson.dumps(result)}
    if (await connection.execute(FINISH, values)).first() is None:
        raise LeaseLost(f"run {run} is finished, or not held under token {token}")


async def fence(connection: AsyncConnection, run: UUID, token: int) -> None:
    if (await connection.execute(FENCE, {"id": run, "token": token})).first() is None:
        raise LeaseLost(f"run {run} is not held under token {token}")


async def _select(connection: AsyncConnection, where: ColumnElement[bool], order: ColumnElement[int]) -> Sequence[Run]:
    rows = (await connection.execute(select(runs).where(where).order_by(order))).mappings().all()
    return [run_of(row) for row in rows]


def run_of(row: RowMapping) -> Run:
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

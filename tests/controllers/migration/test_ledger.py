"""What a process said is in the store when its run is finished, whoever was writing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID

import pytest

from app.controllers.birth import Birth
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.ledger import Ledger
from app.controllers.migration.plan import Plan
from app.store.base import LogLine
from app.store.logs import PostgresLogs
from app.store.postgres import PostgresStore
from tests.controllers.migration.plans import some_plan
from tests.store.builders import run

pytestmark = pytest.mark.postgres


class Gated(PostgresLogs):
    """Logs that take nothing before they are let."""

    def __init__(self, logs: PostgresLogs) -> None:
        self._real = logs
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def append(self, pod: UUID, lines: Sequence[tuple[datetime, str]]) -> None:
        self.asked.set()
        await self.let.wait()
        await self._real.append(pod, lines)

    async def read(self, pod: UUID, *, after: int = 0, tail: int | None = None, limit: int = 1000) -> Sequence[LogLine]:
        return await self._real.read(pod, after=after, tail=tail, limit=limit)


class SlowLogs(PostgresStore):
    @cached_property
    def logs(self) -> Gated:
        return Gated(super().logs)


async def test_a_run_is_finished_only_when_what_was_said_before_is_written(postgres_url: str) -> None:
    """The last lines are those that tell how it ended."""
    store = SlowLogs(postgres_url)
    await store.open()
    async with store.transaction() as tx:
        tx.start_run(run(plan=some_plan().dump()))
    (held,) = await store.runs.claim("this", timedelta(minutes=1), 1)
    ledger = Ledger(store, held, Birth())
    writing = asyncio.create_task(ledger.write())
    ledger.line("moved (exit code 0, MOVED)")
    await store.logs.asked.wait()

    finishing = asyncio.create_task(ledger.finished(ExitCode.MOVED, {}))
    done, _ = await asyncio.wait({finishing}, timeout=0.5)
    store.logs.let.set()
    await finishing
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    lines = await store.logs.read(Plan.read(held.plan).migration_pod_uid)
    await store.close()

    assert done == set()
    assert [line.text for line in lines] == ["moved (exit code 0, MOVED)"]

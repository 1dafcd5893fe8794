"""What a worker that stops leaves to the next one: the wait for a former holder's calls is handed on with the run."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.controllers.migration.supervise import Tenure
from app.controllers.workers import WorkerConfig, Workers
from app.store.base import Run, RunState
from app.store.postgres import PostgresStore
from tests.controllers.migration.plans import some_plan
from tests.controllers.migration.silent_hosts import silent_factory
from tests.store.builders import run

pytestmark = pytest.mark.postgres

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(("died", "waits"), [(True, True), (False, False)])
async def test_the_wait_for_who_died_outlives_who_took_over_and_stopped(
    store: PostgresStore, died: bool, waits: bool
) -> None:
    """The dead one's calls may still land; who hands over has left none behind."""
    await begin(store)
    (former,) = await store.runs.claim("former", timedelta(), 1)
    if not died:
        await store.runs.extend(former.id, former.token, timedelta(seconds=-Tenure().settle_s))
    between = asyncio.create_task(
        Workers(store, silent_factory, "between", WorkerConfig(tenure=Tenure(lease=timedelta(seconds=9)))).run()
    )
    await until_held_by(store, "between")
    between.cancel()
    await asyncio.gather(between, return_exceptions=True)

    (taken,) = await store.runs.claim("last", MINUTE, 1)

    assert (quiet_s(taken) > 25) is waits


async def begin(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        tx.start_run(run(plan=some_plan().dump()))


async def until_held_by(store: PostgresStore, holder: str) -> None:
    async with asyncio.timeout(20):
        while True:
            (seen,) = await store.runs.unfinished()
            if seen.state is RunState.HELD and seen.holder == holder:
                return
            await asyncio.sleep(0.05)


def quiet_s(taken: Run) -> float:
    """How long who claimed it just now has to wait."""
    assert taken.lease_until is not None
    if taken.former_lease_until is None:
        return 0.0
    return (taken.former_lease_until - (taken.lease_until - MINUTE)).total_seconds() + Tenure().settle_s

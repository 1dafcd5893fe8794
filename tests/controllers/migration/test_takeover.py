"""What a worker that stops leaves to the next one: the wait for a former holder's calls is handed on with the run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from app.controllers.birth import Birth
from app.controllers.migration.job import Job
from app.controllers.migration.nursery import Child, Nursery
from app.controllers.migration.orders import Bounds, boottime
from app.controllers.migration.supervise import Supervision, Tenure
from app.controllers.workers import WorkerConfig, Workers
from app.kinds import names
from app.kinds.migration import Word
from app.store.base import Run, RunState
from app.store.postgres import PostgresStore
from tests.controllers.migration.plans import some_plan
from tests.controllers.migration.silent_hosts import silent_factory
from tests.controllers.migration.world import create, migration_document
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


class NoRoom(Nursery):
    """Of a machine where no process starts: what it would have been given is kept."""

    def __init__(self) -> None:
        super().__init__(silent_factory)
        self.jobs: list[Job] = []

    async def start(self, job: Job, bounds: Bounds) -> Child:
        self.jobs.append(job)
        raise OSError("no room")


@pytest.mark.parametrize(("former", "told"), [(False, None), (True, Word.LOST)])
async def test_who_takes_over_is_given_the_operators_word(
    store: PostgresStore, former: bool, told: Word | None
) -> None:
    """The process before it may have ended a guest by that, and died before it said so."""
    migration = migration_document("m")
    migration["metadata"]["annotations"] = {names.RESOLVE: "lost"}
    await create(store, migration)
    await begin(store, UUID(migration["metadata"]["uid"]))
    if former:
        await store.runs.claim("former", timedelta(), 1)
    (run_,) = await store.runs.claim("this", MINUTE, 1)
    nursery = NoRoom()

    await Supervision(store, nursery, run_, boottime(), Tenure(), Birth()).run()

    (job,) = nursery.jobs
    assert (job.fresh, job.told and job.told.resolve) == (not former, told)


async def begin(store: PostgresStore, migration_uid: UUID | None = None) -> None:
    async with store.transaction() as tx:
        tx.start_run(run(plan=some_plan().dump(), migration_uid=migration_uid or uuid4()))


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

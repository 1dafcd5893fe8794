"""What is said between a worker and the process of a migration: nothing of it is lost when one of them ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
import uvloop

from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.job import Job
from app.controllers.migration.messages import Ended, Renewed, Report
from app.controllers.migration.nursery import Child, Nursery
from app.controllers.migration.orders import Bounds, boottime
from app.hypervisor.base import Hypervisors
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from tests.controllers.migration.plans import some_plan


def factory() -> Hypervisors:
    """Two hosts that know no guest: whoever is to move it finds that out at once, and ends."""
    return FakeHypervisors(FakeCloud("node0", "node1"))


@dataclass
class Told:
    reports: list[Report]
    status: int


async def lived(child: Child, *, talked_to: bool) -> Told:
    """Until its end. Whoever talks does so all the time: something is always left that it has not heard."""

    async def talk() -> None:
        while True:
            child.send(Renewed(deadline_s=boottime() + 60))
            await asyncio.sleep(0)

    reports: list[Report] = []
    talking = asyncio.create_task(talk()) if talked_to else None
    try:
        async with asyncio.timeout(30):
            while (report := await child.report()) is not None:
                reports.append(report)
                await asyncio.sleep(0.005)  # it is over before all is read
            return Told(reports, await child.ended())
    finally:
        if talking is not None:
            talking.cancel()
        await child.end()
        child.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("talked_to", [True, False])
def test_what_a_process_said_last_is_heard_whatever_it_did_not_hear(loop: object, talked_to: bool) -> None:
    async def run() -> Told:
        nursery = Nursery(factory)
        await nursery.warm()
        job = Job(some_plan(), fresh=False, cancelled=True, others=())
        return await lived(await nursery.start(job, Bounds(boottime() + 60)), talked_to=talked_to)

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        told = runner.run(run())

    assert told.status == ExitCode.LOST
    assert isinstance(told.reports[-1], Ended), told.reports

"""What libvirt never ends is waited for no longer than a minute without a word, in time that passes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.messages import Holding
from app.controllers.migration.move import Outcome
from app.hypervisor.base import Job, Mark, Reason, State
from app.hypervisor.fake import MIB, FakeHypervisors
from app.hypervisor.fake.cloud import Guest
from app.hypervisor.precopy import Load
from tests.controllers.migration.process_scene import MIGRATION, Scene, kill, standing
from tests.controllers.migration.virtual_loop import VirtualLoop

T = TypeVar("T")


def test_a_copy_that_libvirt_starts_for_ever_does_not_hold_up_the_migration() -> None:
    """The guest runs on its source, and nothing moves it there."""

    async def work() -> tuple[Outcome, float, list[str]]:
        async with standing() as scene:
            await leave_behind(scene, Reason.STARTING_UP, Job.MIGRATION_IN)
            began_s = asyncio.get_running_loop().time()
            outcome = await asyncio.wait_for(scene.process(fresh=False), 600)
            return outcome, asyncio.get_running_loop().time() - began_s, scene.runs_on()

    outcome, took_s, runs_on = virtually(work())

    assert (outcome.code, outcome.result["targetFree"]) == (ExitCode.FAILED, False)
    assert runs_on == ["node0"]
    assert 55 < took_s < 75


def test_a_copy_that_cannot_be_ended_is_told_of_and_tried_again() -> None:
    async def work() -> tuple[list[Holding], list[str], Outcome]:
        async with standing() as scene:
            await leave_behind(scene, Reason.MIGRATION, Job.NONE)
            scene.cloud["node1"].faults.cannot_end = "its process hangs"
            process = scene.process(fresh=False)
            await scene.until(lambda: scene.told_held, 600)
            scene.cloud.mend("node1")
            return held(scene), scene.said, await asyncio.wait_for(process, 600)

    told, said, outcome = virtually(work())

    assert [report.message for report in told] == [
        "a copy that never ran was left on the target; node1: its process hangs"
    ]
    assert said.count("node1: its process hangs") == 1
    assert all(report.busy for report in told)
    assert (outcome.code, outcome.result["targetFree"]) == (ExitCode.FAILED, True)


def test_a_job_that_copies_nothing_is_told_of() -> None:
    """Somebody's backup, say; one that ends it lets the migration end."""

    async def work() -> tuple[list[Holding], list[str], Outcome]:
        async with standing() as scene:
            await mark(scene)
            guest = scene.cloud["node0"].guests[scene.guest]
            guest.work(Job.OTHER)
            process = scene.process(fresh=False)
            await scene.until(lambda: scene.told_held, 600)
            guest.work(Job.NONE)
            return held(scene), scene.active_on(), await asyncio.wait_for(process, 600)

    told, active_on, outcome = virtually(work())

    assert [report.message for report in told] == [
        "nothing is copied any more, and libvirt still works on the guest (other on the source, none on the target)"
    ]
    assert active_on == ["node0"]
    assert outcome.code is ExitCode.FAILED


def test_a_long_copy_is_not_held() -> None:
    async def work() -> tuple[list[Holding], Outcome]:
        async with standing() as scene:
            scene.cloud.bandwidth //= 200
            scene.cloud.work(scene.guest, Load(64 * MIB))
            first = scene.process()
            await scene.copying()
            await kill(first)
            return held(scene), await asyncio.wait_for(scene.process(fresh=False), 600)

    told, outcome = virtually(work())

    assert (told, outcome.code) == ([], ExitCode.MOVED)


def virtually(work: Coroutine[Any, Any, T]) -> T:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


async def mark(scene: Scene) -> None:
    """As the process before this one did."""
    source = await FakeHypervisors(scene.cloud).connect(scene.cloud["node0"].uri)
    await source.mark(scene.guest, Mark(store="store-a", vm="default/testvm", migration=MIGRATION, attempt=1))


async def leave_behind(scene: Scene, reason: Reason, job: Job) -> None:
    """A copy on the target that never ran."""
    await mark(scene)
    guest = scene.cloud["node0"].guests[scene.guest]
    left = replace(guest.domain, state=State.PAUSED, reason=reason, job=job, persistent=False)
    scene.cloud["node1"].guests[scene.guest] = Guest(guest.definition, left, guest.load)


def held(scene: Scene) -> list[Holding]:
    return [report for report in scene.told if isinstance(report, Holding) and report.message]

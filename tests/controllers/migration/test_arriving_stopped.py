"""A guest that arrives stopped: whatever dies or is cut off on the way, it never runs twice, and runs again in the end."""

from __future__ import annotations

import pytest

from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.messages import Arrived, Holding, Told
from app.hypervisor.base import Domain, Reason, State
from app.hypervisor.base import Job as HostJob
from app.hypervisor.fake import MIB, FakeHypervisors
from app.hypervisor.strikes import Step, Strike
from app.kinds.migration import Word
from tests.controllers.migration.process_scene import Scene, kill


@pytest.fixture
def stopped(scene: Scene) -> Scene:
    """It is to arrive so, and every moment at which it runs twice is noted."""
    scene.plan = scene.plan.model_copy(update={"arrive_paused": True})
    scene.cloud.bandwidth = 512 * MIB

    def watch() -> None:
        if len(found := scene.runs_on()) > 1:
            scene.twice.append(found)

    scene.cloud.watch = watch
    return scene


def struck(scene: Scene, when: Step, what: Strike) -> None:
    scene.cloud.strikes = lambda step, _source, _target: what if step is when else None


def on(scene: Scene, node: str) -> Domain:
    return scene.cloud[node].guests[scene.guest].domain


async def test_it_arrives_stopped_and_is_started_when_its_copy_on_the_source_is_gone(stopped: Scene) -> None:
    changes: list[tuple[State, ...]] = []

    def note() -> None:
        hosts = [stopped.cloud[name].guests.get(stopped.guest) for name in ("node0", "node1")]
        now = tuple(State.ABSENT if guest is None else guest.domain.state for guest in hosts)
        if not changes or changes[-1] != now:
            changes.append(now)

    stopped.cloud.watch = note
    outcome = await stopped.process()

    assert outcome.code is ExitCode.MOVED
    assert changes[-4:] == [
        (State.RUNNING, State.PAUSED), (State.PAUSED, State.PAUSED), (State.SHUTOFF, State.PAUSED),
        (State.SHUTOFF, State.RUNNING),
    ]  # fmt: skip
    mark = on(stopped, "node1").mark
    assert mark is not None and not mark.stopped
    assert stopped.heard_of(Arrived)
    assert isinstance(outcome.result["downtimeMs"], int)


async def test_a_guest_that_is_paused_before_stays_paused(stopped: Scene) -> None:
    source = await FakeHypervisors(stopped.cloud).connect(stopped.cloud["node0"].uri)
    await source.suspend(stopped.guest)

    outcome = await stopped.process()

    assert outcome.code is ExitCode.MOVED
    assert on(stopped, "node1").state is State.PAUSED
    assert not stopped.heard_of(Arrived)


async def test_whose_answer_is_lost_runs_on_on_the_source_and_nothing_is_left_of_it(stopped: Scene) -> None:
    struck(stopped, Step.ARRIVED, Strike.FAILS)

    outcome = await stopped.process()

    assert outcome.code is ExitCode.FAILED
    assert (stopped.runs_on(), stopped.active_on(), stopped.twice) == (["node0"], ["node0"], [])
    assert stopped.guest not in stopped.cloud["node1"].guests
    mark = on(stopped, "node0").mark
    assert mark is not None and not mark.stopped


@pytest.mark.parametrize("what", [Strike.SOURCE_DAEMON, Strike.TARGET_DAEMON])
async def test_whose_hosts_daemon_dies_when_it_has_arrived_goes_back_to_the_source(
    stopped: Scene, what: Strike
) -> None:
    struck(stopped, Step.ARRIVED, what)

    outcome = await stopped.process()

    assert outcome.code is ExitCode.FAILED
    assert (stopped.runs_on(), stopped.active_on(), stopped.twice) == (["node0"], ["node0"], [])


async def test_whose_target_is_cut_off_is_told_and_started_when_it_is_reached(stopped: Scene) -> None:
    struck(stopped, Step.ARRIVED, Strike.TARGET_CUT)
    process = stopped.process()
    await stopped.until(lambda: stopped.heard_of(Holding))
    told = next(report for report in stopped.told if isinstance(report, Holding))
    before = stopped.runs_on(), process.done()
    stopped.cloud.mend("node1")

    outcome = await process

    assert "where it may wait to be started" in told.message
    assert before == ([], False)
    assert outcome.code is ExitCode.MOVED
    assert (stopped.runs_on(), stopped.twice) == (["node1"], [])


async def test_whose_source_is_cut_off_and_runs_on_is_not_started_twice(stopped: Scene) -> None:
    struck(stopped, Step.ARRIVED, Strike.FAILS)

    def watch() -> None:
        if waits(stopped) and stopped.runs_on() == ["node0"]:
            stopped.cloud.cut_off("node0")

    stopped.cloud.watch = watch
    process = stopped.process()
    await stopped.until(lambda: stopped.heard_of(Holding))
    told = next(report for report in stopped.told if isinstance(report, Holding))
    before = stopped.runs_on(), stopped.active_on()
    stopped.cloud.watch = lambda: None
    stopped.cloud.mend("node0")

    outcome = await process

    assert "the source, which may run it, does not answer" in told.message
    assert before == (["node0"], ["node0", "node1"])
    assert outcome.code is ExitCode.FAILED
    assert (stopped.runs_on(), stopped.active_on()) == (["node0"], ["node0"])


def waits(scene: Scene) -> bool:
    there = scene.cloud["node1"].guests.get(scene.guest)
    return there is not None and (there.domain.state, there.domain.reason) == (State.PAUSED, Reason.USER)


async def test_the_operators_word_starts_it_where_the_source_stays_away(stopped: Scene) -> None:
    await arrived_alone(stopped)
    stopped.cloud.cut_off("node0")
    process = stopped.process(fresh=False)
    await stopped.until(lambda: stopped.heard_of(Holding))
    assert stopped.runs_on() == []

    stopped.orders.take(Told(resolve=Word.TARGET))

    outcome = await process
    assert outcome.code is ExitCode.MOVED
    assert stopped.runs_on() == ["node1"]


async def arrived_alone(scene: Scene) -> None:
    """Its process is killed when it waits on the target."""

    def watch() -> None:
        if waits(scene):
            process.cancel()

    scene.cloud.watch = watch
    process = scene.process()
    await scene.until(process.done)
    scene.cloud.watch = lambda: None
    await kill(process)
    await scene.until(lambda: scene.cloud["node0"].guests[scene.guest].domain.job is HostJob.NONE)
    assert scene.runs_on() == []


async def test_who_takes_over_starts_it(stopped: Scene) -> None:
    await arrived_alone(stopped)

    outcome = await stopped.process(fresh=False)

    assert outcome.code is ExitCode.MOVED
    assert (stopped.runs_on(), stopped.active_on()) == (["node1"], ["node1"])
    mark = on(stopped, "node1").mark
    assert mark is not None and not mark.stopped


async def test_who_takes_over_does_not_start_what_somebody_paused_there_afterwards(stopped: Scene) -> None:
    await stopped.process()
    target = await FakeHypervisors(stopped.cloud).connect(stopped.cloud["node1"].uri)
    await target.suspend(stopped.guest)

    outcome = await stopped.process(fresh=False)

    assert outcome.code is ExitCode.MOVED
    assert on(stopped, "node1").state is State.PAUSED


async def test_who_takes_over_holds_where_the_source_forgot_how_its_copy_ended(stopped: Scene) -> None:
    """It may have run on there, and what waits on the target be its past."""
    await arrived_alone(stopped)
    stopped.cloud["node0"].guests[stopped.guest].become(State.SHUTOFF, Reason.OTHER)

    process = stopped.process(fresh=False)
    await stopped.until(lambda: stopped.heard_of(Holding))

    assert (stopped.runs_on(), process.done()) == ([], False)
    await kill(process)

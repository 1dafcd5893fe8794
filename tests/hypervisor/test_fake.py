"""What only simulated hosts can show: time that stands still, links that are cut, arithmetic to the byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.hypervisor.base import Destination, HypervisorError, Job, MigrationFailed, Reason, Refused, State, Unreachable
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.hypervisor.precopy import Copying, Load, advanced, begun
from app.hypervisor.strikes import Step, Strike
from app.hypervisor.virtual_time import VirtualTime
from app.lab.boot_sector import boot_sector_xml
from tests.hypervisor.waiting import eventually

MIB = 1 << 20
LINK = 100 * MIB
IMAGE = Path("/images/guest.img")


@pytest.fixture
async def cloud() -> AsyncIterator[FakeCloud]:
    made = FakeCloud("a", "b", time=VirtualTime(), bandwidth=LINK, tick_s=0.1)
    yield made
    await made.close()


def clock(cloud: FakeCloud) -> VirtualTime:
    assert isinstance(cloud.time, VirtualTime)
    return cloud.time


async def started(cloud: FakeCloud, load: Load) -> UUID:
    guest = uuid4()
    cloud.loads[guest] = load
    source = await FakeHypervisors(cloud).connect(cloud["a"].uri)
    await source.define_and_start(definition(guest))
    return guest


def definition(guest: UUID) -> str:
    return boot_sector_xml(f"g-{guest.hex[:8]}", str(guest), IMAGE).replace("'kvm'", "'qemu'")


async def outcome(
    cloud: FakeCloud, guest: UUID, bandwidth: int | None = None, *, paused: bool = False
) -> HypervisorError | None:
    source = await FakeHypervisors(cloud).connect(cloud["a"].uri)
    try:
        await source.migrate(guest, Destination(cloud["b"].uri, bandwidth=bandwidth, paused=paused))
    except HypervisorError as error:
        return error
    return None


def state(cloud: FakeCloud, host: str, guest: UUID) -> tuple[State, Job]:
    found = cloud[host].guests.get(guest)
    return (State.ABSENT, Job.NONE) if found is None else (found.domain.state, found.domain.job)


def test_an_idle_guest_is_sent_once() -> None:
    load = Load(memory=10 * MIB)

    done = advanced(begun(load), load, rate=MIB, max_downtime_s=0.3, seconds=100)

    assert done == Copying(remaining=0, sent=10 * MIB, iteration=1, ready=True)


def test_passes_shrink_by_the_ratio_of_dirtying_to_sending() -> None:
    load = Load(memory=64 * MIB, dirty_rate=4 * MIB, working_set=64 * MIB)

    done = advanced(begun(load), load, rate=8 * MIB, max_downtime_s=0.3, seconds=1000)

    assert done.ready
    assert done.iteration == 5
    assert done.remaining == pytest.approx(2 * MIB)
    assert done.sent == pytest.approx((64 + 32 + 16 + 8 + 4) * MIB)


def test_a_guest_that_dirties_faster_than_the_link_never_converges() -> None:
    load = Load(memory=64 * MIB, dirty_rate=16 * MIB, working_set=32 * MIB)

    done = advanced(begun(load), load, rate=8 * MIB, max_downtime_s=0.3, seconds=1000)

    assert not done.ready
    assert done.remaining <= 32 * MIB


def test_a_small_working_set_converges_however_fast_it_is_written() -> None:
    load = Load(memory=64 * MIB, dirty_rate=1000 * MIB, working_set=2 * MIB)

    done = advanced(begun(load), load, rate=8 * MIB, max_downtime_s=0.3, seconds=1000)

    assert done.ready
    assert done.remaining == 2 * MIB


@pytest.mark.parametrize("step", [0.01, 0.3, 7.0])
def test_how_often_one_looks_does_not_change_the_arithmetic(step: float) -> None:
    load = Load(memory=64 * MIB, dirty_rate=4 * MIB, working_set=64 * MIB)
    copying = begun(load)

    while not copying.ready:
        copying = advanced(copying, load, rate=8 * MIB, max_downtime_s=0.3, seconds=step)

    assert copying.iteration == 5
    assert copying.sent == pytest.approx(124 * MIB, rel=1e-3)


async def test_a_move_takes_as_long_as_its_bytes(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(memory=200 * MIB))
    move = asyncio.create_task(outcome(cloud, guest))

    await clock(cloud).advance(1.9)
    assert state(cloud, "a", guest) == (State.RUNNING, Job.MIGRATION_OUT)
    await clock(cloud).advance(0.3)

    assert await move is None
    assert state(cloud, "b", guest) == (State.RUNNING, Job.NONE)


async def test_downtime_is_what_remains_over_the_uncapped_link(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(memory=100 * MIB, dirty_rate=2 * MIB, working_set=5 * MIB))
    move = asyncio.create_task(outcome(cloud, guest, bandwidth=20 * MIB))

    await clock(cloud).advance(60)

    assert await move is None
    completed = cloud["b"].guests[guest].completed
    assert completed is not None
    assert completed.downtime_ms == 50


async def test_while_the_guest_is_stopped_it_runs_nowhere(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(memory=100 * MIB, dirty_rate=300 * MIB, working_set=20 * MIB))
    move = asyncio.create_task(outcome(cloud, guest))

    for _ in range(300):
        await clock(cloud).advance(0.01)
        running = [host for host in "ab" if state(cloud, host, guest)[0] is State.RUNNING]
        assert len(running) <= 1

    assert await move is None
    assert state(cloud, "b", guest) == (State.RUNNING, Job.NONE)


async def test_a_cut_link_leaves_the_guest_on_the_source(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(memory=200 * MIB))
    move = asyncio.create_task(outcome(cloud, guest))
    await clock(cloud).advance(1)

    cloud.cut_off("b")
    await clock(cloud).advance(30)

    assert isinstance(await move, MigrationFailed)
    assert state(cloud, "a", guest) == (State.RUNNING, Job.NONE)
    assert state(cloud, "b", guest) == (State.ABSENT, Job.NONE)


async def test_the_job_goes_on_without_its_client(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(memory=200 * MIB))
    move = asyncio.create_task(outcome(cloud, guest))
    await clock(cloud).advance(1)

    cloud.disconnect("a")
    await clock(cloud).advance(10)

    assert isinstance(await move, Unreachable)
    assert state(cloud, "b", guest) == (State.RUNNING, Job.NONE)
    assert state(cloud, "a", guest) == (State.SHUTOFF, Job.NONE)


async def test_a_slow_host_breaks_the_connection_at_its_deadline(cloud: FakeCloud) -> None:
    source = await FakeHypervisors(cloud, deadline_s=2).connect(cloud["a"].uri)
    cloud["a"].faults.slow_s = 5
    call = asyncio.create_task(source.look(uuid4()))

    await clock(cloud).advance(2)

    with pytest.raises(Unreachable):
        await call
    assert not source.connected


async def test_a_host_that_refuses_to_start_keeps_nothing(cloud: FakeCloud) -> None:
    source = await FakeHypervisors(cloud).connect(cloud["a"].uri)
    cloud["a"].faults.refuses_to_start = "cannot set up guest memory"

    with pytest.raises(Refused, match="guest memory"):
        await source.define_and_start(definition(uuid4()))

    assert await source.domains() == []


async def test_without_free_workers_the_job_is_unknown(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(memory=MIB))
    source = await FakeHypervisors(cloud).connect(cloud["a"].uri)
    cloud["a"].faults.workers_busy = True

    seen = await source.look(guest)

    assert (seen.state, seen.job, seen.mark) == (State.RUNNING, Job.OTHER, None)


async def test_a_guest_that_ends_by_itself_says_how(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(memory=MIB))
    source = await FakeHypervisors(cloud).connect(cloud["a"].uri)

    cloud.die("a", guest, Reason.SHUTDOWN)

    seen = await eventually(lambda: source.look(guest), lambda now: now.state is State.SHUTOFF)
    assert seen.reason is Reason.SHUTDOWN


async def test_guests_that_leave_together_share_the_link(cloud: FakeCloud) -> None:
    guests = [await started(cloud, Load(memory=100 * MIB)) for _ in range(2)]

    moving = [asyncio.create_task(outcome(cloud, guest)) for guest in guests]
    await clock(cloud).advance(1.5)
    halfway = [state(cloud, "a", guest)[1] for guest in guests]
    await clock(cloud).advance(1.0)

    assert halfway == [Job.MIGRATION_OUT] * 2
    assert [await one for one in moving] == [None, None]


async def test_a_link_may_be_slower_than_the_others(cloud: FakeCloud) -> None:
    cloud.links["a", "b"] = 10 * MIB
    guest = await started(cloud, Load(50 * MIB))

    move = asyncio.create_task(outcome(cloud, guest))
    await clock(cloud).advance(4.5)
    assert not move.done()
    await clock(cloud).advance(1)

    assert await move is None


async def test_a_host_without_room_takes_no_guest(cloud: FakeCloud) -> None:
    guest = await started(cloud, Load(MIB))
    cloud["b"].memory = 1

    assert isinstance(await outcome(cloud, guest), MigrationFailed)
    assert state(cloud, "a", guest) == (State.RUNNING, Job.NONE)
    there = await FakeHypervisors(cloud).connect(cloud["b"].uri)
    with pytest.raises(Refused, match="no room"):
        await there.define_and_start(definition(uuid4()))


STAYS, MOVES = (
    ((State.RUNNING, Job.NONE), (State.ABSENT, Job.NONE)),
    ((State.SHUTOFF, Job.NONE), (State.RUNNING, Job.NONE)),
)
STOPPED_ALONE = ((State.PAUSED, Job.NONE), (State.ABSENT, Job.NONE))
LEFT_BEHIND = ((State.PAUSED, Job.NONE), (State.RUNNING, Job.NONE))

STRIKES = {
    (Step.PREPARED, Strike.FAILS): STAYS,
    (Step.COPYING, Strike.FAILS): STAYS,
    (Step.STOPPED, Strike.FAILS): STAYS,
    (Step.ARRIVED, Strike.FAILS): MOVES,
    **{(Step.COPYING, strike): STAYS for strike in Strike},
    **{(Step.STOPPED, strike): STOPPED_ALONE for strike in (Strike.SOURCE_DAEMON, Strike.TARGET_DAEMON)},
    **{(Step.ARRIVED, strike): LEFT_BEHIND for strike in (Strike.SOURCE_DAEMON, Strike.TARGET_DAEMON)},
    **{(Step.ARRIVED, strike): MOVES for strike in (Strike.SOURCE_CUT, Strike.TARGET_CUT)},
}


@pytest.mark.parametrize("case", STRIKES.items(), ids=lambda case: f"{case[0][1]}, {case[0][0]}")
async def test_what_is_left_when_something_strikes(
    cloud: FakeCloud, case: tuple[tuple[Step, Strike], tuple[tuple[State, Job], tuple[State, Job]]]
) -> None:
    (when, what), expected = case
    cloud.strikes = lambda step, _source, _target: what if step is when else None
    guest = await started(cloud, Load(50 * MIB, dirty_rate=10 * MIB, working_set=20 * MIB))

    move = asyncio.create_task(outcome(cloud, guest))
    await clock(cloud).advance(60)

    assert move.done()
    assert expected == (state(cloud, "a", guest), state(cloud, "b", guest))


UNHEARD = ((State.RUNNING, Job.NONE), (State.PAUSED, Job.NONE))
BOTH_PAUSED = ((State.PAUSED, Job.NONE), (State.PAUSED, Job.NONE))
WAITS = ((State.SHUTOFF, Job.NONE), (State.PAUSED, Job.NONE))

STRIKES_AT_ONE_THAT_ARRIVES_STOPPED = {
    (Step.STOPPED, Strike.FAILS): STAYS,
    (Step.STOPPED, Strike.TARGET_DAEMON): STOPPED_ALONE,
    (Step.ARRIVED, Strike.FAILS): UNHEARD,
    (Step.ARRIVED, Strike.SOURCE_DAEMON): BOTH_PAUSED,
    (Step.ARRIVED, Strike.SOURCE_CUT): WAITS,
}


@pytest.mark.parametrize(
    "case", STRIKES_AT_ONE_THAT_ARRIVES_STOPPED.items(), ids=lambda case: f"{case[0][1]}, {case[0][0]}"
)
async def test_what_is_left_when_something_strikes_at_a_guest_that_arrives_stopped(
    cloud: FakeCloud, case: tuple[tuple[Step, Strike], tuple[tuple[State, Job], tuple[State, Job]]]
) -> None:
    (when, what), expected = case
    cloud.strikes = lambda step, _source, _target: what if step is when else None
    guest = await started(cloud, Load(50 * MIB))

    move = asyncio.create_task(outcome(cloud, guest, paused=True))
    await clock(cloud).advance(60)

    assert move.done()
    assert expected == (state(cloud, "a", guest), state(cloud, "b", guest))

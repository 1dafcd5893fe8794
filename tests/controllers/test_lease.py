"""Holding leases, with the real store: the work ends before the lease can, and never goes on under another's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from app.controllers.lease import LeaseKeeper
from app.hypervisor.base import Refused, Unreachable
from app.store.base import Key, Lease, LeaseLost, Leases, Scope, Store

SHORT = timedelta(seconds=0.9)
MINUTE = timedelta(minutes=1)


async def holders(store: Store) -> dict[str, str]:
    return {lease.name: lease.holder for lease in await store.leases.held()}


async def test_a_lease_is_renewed_for_as_long_as_the_block_lasts(store: Store) -> None:
    keeper = LeaseKeeper(store.leases, "one", SHORT)
    other = LeaseKeeper(store.leases, "two", SHORT)

    async with asyncio.TaskGroup() as tasks:
        renewing = tasks.create_task(keeper.run())
        async with keeper.hold("x") as held:
            loop = asyncio.get_running_loop()
            until = loop.time() + 2 * SHORT.total_seconds()
            while loop.time() < until:
                assert await other.try_acquire("x") is None
                assert held.remaining_s() > 0
                assert keeper.held == {"x"}
                await asyncio.sleep(0.1)
        renewing.cancel()

    assert await holders(store) == {}


async def test_a_block_whose_lease_is_not_renewed_ends_before_the_lease(store: Store) -> None:
    keeper = LeaseKeeper(store.leases, "one", SHORT)
    held_at_the_end: dict[str, str] = {}

    with pytest.raises(LeaseLost):
        async with keeper.hold("x"):
            try:
                await asyncio.Event().wait()
            finally:
                held_at_the_end = await holders(store)

    assert held_at_the_end == {"x": "one"}


async def test_who_waits_gets_the_lease_when_it_is_given_back_and_the_token_grows(store: Store) -> None:
    first, second = (LeaseKeeper(store.leases, name, SHORT) for name in ("one", "two"))

    async with first.hold("x") as held:
        earlier = held.token
        waiting = asyncio.create_task(_token(second))
    later = await asyncio.wait_for(waiting, 5)

    assert later > earlier


async def _token(keeper: LeaseKeeper) -> int:
    async with keeper.hold("x") as held:
        return held.token


async def test_work_under_a_lapsed_lease_is_stopped_when_another_has_it(store: Store) -> None:
    """The first process was frozen, and never noticed: its clock stands still."""
    frozen = LeaseKeeper(store.leases, "one", SHORT, clock=lambda: 100.0)
    other = LeaseKeeper(store.leases, "two", SHORT)
    held = await frozen.try_acquire("x")
    assert held is not None

    async with other.hold("x"):
        with pytest.raises(LeaseLost):
            async with frozen.holding(held), asyncio.timeout(5), asyncio.TaskGroup() as tasks:
                tasks.create_task(frozen.run())

    with pytest.raises(LeaseLost):
        frozen.token("x")


async def test_a_lost_lease_fences_every_write(store: Store) -> None:
    first = LeaseKeeper(store.leases, "one", SHORT)
    async with first.hold("x") as held:
        token = held.token
    async with LeaseKeeper(store.leases, "two", SHORT).hold("x"):
        with pytest.raises(LeaseLost):
            async with store.transaction() as tx:
                tx.fence_lease("x", token)
                tx.create(Key("nodes", "", "node0"), {"metadata": {"name": "node0"}})

    assert (await store.objects.list(Scope("nodes"))).items == []


async def test_a_verb_needs_more_of_the_lease_than_is_left(store: Store) -> None:
    now = 100.0
    keeper = LeaseKeeper(store.leases, "one", timedelta(seconds=9), clock=lambda: now)

    held = await keeper.try_acquire("x")
    assert held is not None
    held.require()
    now = 104.5

    with pytest.raises(LeaseLost):
        held.require()


async def test_two_blocks_share_a_lease_and_the_last_one_gives_it_back(store: Store) -> None:
    keeper = LeaseKeeper(store.leases, "one", SHORT)

    async with keeper.hold("x") as outer:
        async with keeper.hold("x") as inner:
            assert inner is outer
        still = await holders(store)
    after = await holders(store)

    assert (still, after) == ({"x": "one"}, {})


async def test_what_lapsed_before_says_how_long_it_is_to_be_quiet(store: Store) -> None:
    """Also a process that began after it lapsed learns of it, and one that comes after a short tenure in between."""
    await store.leases.acquire(["x"], "dead", timedelta())
    between, last = (LeaseKeeper(store.leases, name, SHORT) for name in ("one", "two"))

    async with between.hold("x") as held:
        first_s = held.quiet_s(40)
    async with last.hold("x") as held:
        second_s = held.quiet_s(40)

    assert 30 < second_s < first_s < 40


async def test_a_lease_that_was_given_back_leaves_nothing_to_wait_for(store: Store) -> None:
    async with LeaseKeeper(store.leases, "one", SHORT).hold("x"):
        pass
    async with LeaseKeeper(store.leases, "two", SHORT).hold("x") as held:
        assert held.quiet_s(40) == 0


@pytest.mark.parametrize("end", [asyncio.CancelledError(), Unreachable("no answer")])
async def test_a_lease_under_which_a_verb_may_go_on_is_not_given_back(store: Store, end: BaseException) -> None:
    """Nor may an agent of the same process, which can have it again at once, act before the wait."""
    keeper = LeaseKeeper(store.leases, "one", MINUTE)

    with pytest.raises(type(end)):
        async with keeper.hold("x") as held:
            with held.call():
                raise end
    left = await holders(store)
    async with keeper.hold("x") as held:
        again_s = held.quiet_s(40)

    assert left == {"x": "one"}
    assert 30 < again_s <= 40


async def test_a_verb_that_ended_leaves_nothing_to_wait_for(store: Store) -> None:
    keeper = LeaseKeeper(store.leases, "one", MINUTE)

    with pytest.raises(Refused):
        async with keeper.hold("x") as held:
            with held.call():
                raise Refused("no")

    assert await holders(store) == {}


class SlowAnswers:
    """Leases whose answers come only when they are let through: what was asked for has been done by then."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.done = asyncio.Event()
        self.through = asyncio.Event()
        self.through.set()

    async def acquire(self, names: Sequence[str], holder: str, ttl: timedelta) -> Sequence[Lease]:
        answer = await self._leases.acquire(names, holder, ttl)
        self.done.set()
        await self.through.wait()
        return answer

    async def release(self, names: Sequence[str], holder: str) -> None:
        await self._leases.release(names, holder)

    async def held(self) -> Sequence[Lease]:
        return await self._leases.held()


async def test_a_lease_that_is_given_back_while_it_is_renewed_is_not_held_for_ever(store: Store) -> None:
    """Nobody would serve under it, and nobody else could have it."""
    leases = SlowAnswers(store.leases)
    keeper = LeaseKeeper(leases, "one", SHORT)

    async with asyncio.TaskGroup() as tasks:
        renewing = tasks.create_task(keeper.run())
        async with keeper.hold("x"):
            leases.done.clear()
            leases.through.clear()
            await asyncio.wait_for(leases.done.wait(), 5)
        leases.through.set()
        await asyncio.sleep(keeper.renew_s * 1.5)
        kept, held = keeper.held, await holders(store)
        renewing.cancel()

    assert (kept, held) == (frozenset(), {})


async def test_a_lease_that_was_lost_and_had_again_in_one_renewal_is_not_held_for_ever(store: Store) -> None:
    """Whoever wants it takes it anew."""
    keeper = LeaseKeeper(store.leases, "one", SHORT)

    async with asyncio.TaskGroup() as tasks:
        renewing = tasks.create_task(keeper.run())
        with pytest.raises(LeaseLost):
            async with keeper.hold("x"):
                await store.leases.release(["x"], "one")
                await store.leases.acquire(["x"], "two", MINUTE)
                await store.leases.release(["x"], "two")
                await asyncio.Event().wait()
        await asyncio.sleep(SHORT.total_seconds() * 1.5)
        kept, held = keeper.held, await holders(store)
        renewing.cancel()

    assert (kept, held) == (frozenset(), {})

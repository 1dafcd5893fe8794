"""Deadlines without a timer each: they end what lasts too long as asyncio.timeout does, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from app.api.deadlines import EXACT_BELOW_S, LOOK_S, Deadlines


async def test_what_lasts_too_long_is_cancelled_and_raises_a_timeout() -> None:
    deadlines = Deadlines()
    late = deadlines.within(EXACT_BELOW_S)

    with pytest.raises(TimeoutError):
        async with late as deadline:
            deadline.due = 0.0  # type: ignore[attr-defined]  # as if that time had passed
            async with asyncio.timeout(20 * LOOK_S):
                await asyncio.Event().wait()


async def test_who_hurries_is_ended_in_time() -> None:
    with pytest.raises(TimeoutError):
        async with Deadlines().within(0.01):
            await asyncio.Event().wait()


async def test_what_is_over_in_time_is_left_alone() -> None:
    deadlines = Deadlines()

    async with deadlines.within(EXACT_BELOW_S):
        await asyncio.sleep(0)

    assert not deadlines._open


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    deadlines = Deadlines()

    async def waiting() -> None:
        async with deadlines.within(EXACT_BELOW_S):
            await asyncio.Event().wait()

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not deadlines._open

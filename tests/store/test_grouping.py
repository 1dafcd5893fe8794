"""Grouping: a lone caller works at once, whoever comes meanwhile goes together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.store.base import NotFound, StoreError, Unavailable
from app.store.grouping import Grouping


class Work:
    """Answers each item with itself in capitals, when it may."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.may = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self, items: Sequence[str]) -> Sequence[str | StoreError]:
        self.rounds.append(list(items))
        self.begun.set()
        await self.may.wait()
        return [NotFound(item) if item == "missing" else item.upper() for item in items]


@pytest.mark.parametrize("alone", [True, False])
async def test_whoever_comes_during_a_round_goes_together_in_the_next(alone: bool) -> None:
    work = Work()
    grouping: Grouping[str, str] = Grouping(work, at_most=10, alone=alone)
    grouping.open()
    running = asyncio.create_task(grouping.run())

    async with asyncio.timeout(5), asyncio.TaskGroup() as callers:
        first = callers.create_task(grouping.submit("a"))
        await work.begun.wait()
        others = [callers.create_task(grouping.submit(item)) for item in "bc"]
        await asyncio.sleep(0)
        work.may.set()
    running.cancel()

    assert [first.result(), *(other.result() for other in others)] == ["A", "B", "C"]
    assert work.rounds == [["a"], ["b", "c"]]


async def test_a_lone_caller_hears_its_own_error_and_the_next_is_served() -> None:
    work = Work()
    work.may.set()
    grouping: Grouping[str, str] = Grouping(work, at_most=10, alone=True)
    grouping.open()

    with pytest.raises(NotFound):
        await grouping.submit("missing")

    assert await grouping.submit("a") == "A"


async def test_a_lone_caller_that_is_cut_off_leaves_the_way_free_for_those_behind_it() -> None:
    work = Work()
    grouping: Grouping[str, str] = Grouping(work, at_most=10, alone=True)
    grouping.open()
    running = asyncio.create_task(grouping.run())
    first = asyncio.create_task(grouping.submit("a"))
    await work.begun.wait()
    second = asyncio.create_task(grouping.submit("b"))
    await asyncio.sleep(0)

    first.cancel()
    work.may.set()

    async with asyncio.timeout(5):
        assert await second == "B"
    running.cancel()


async def test_after_the_end_nobody_is_served() -> None:
    grouping: Grouping[str, str] = Grouping(Work(), at_most=10, alone=True)
    grouping.open()
    grouping.close()

    with pytest.raises(Unavailable):
        await grouping.submit("a")

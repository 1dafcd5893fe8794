"""Waiting for what has no event, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from app.hypervisor.base import Change, Lifecycle

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool], timeout_s: float = 30) -> T:
    """What was seen when it held."""
    async with asyncio.timeout(timeout_s):
        while not holds(seen := await look()):  # noqa: ASYNC110 - hosts have no event for it
            await asyncio.sleep(0.01)
    return seen


async def heard(events: AsyncIterator[Lifecycle], change: Change, detail: str, timeout_s: float = 30) -> Lifecycle:
    """The next event of that kind."""
    async with asyncio.timeout(timeout_s):
        async for event in events:
            if (event.change, event.detail) == (change, detail):
                return event
    raise AssertionError(f"the events ended before {change.value} {detail}")

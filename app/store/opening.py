"""Waiting for a database that is not there yet, and saying so: whom for, why, and how long still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from app.store.base import Unavailable

log = structlog.get_logger()

RETRY_S = 0.2
SILENT_S = 1.0
"""A server that refuses is told of at once; one that is silent, after so long."""
AGAIN_S = 10.0


async def until_it_answers(attempt: Callable[[], Awaitable[None]], place: str, wait_s: float) -> None:
    """Until one attempt succeeds. Raises what the last one raised, Unavailable, when that time is over."""
    waiting = _Waiting(place, asyncio.get_running_loop().time() + wait_s)
    telling = asyncio.create_task(waiting.tell())
    try:
        while True:
            try:
                await attempt()
            except Unavailable as error:
                if waiting.left_s <= 0:
                    raise
                waiting.failed(error)
                await asyncio.sleep(RETRY_S)
            else:
                return waiting.over()
    finally:
        telling.cancel()
        await asyncio.wait([telling])


class _Waiting:
    """What is said meanwhile."""

    def __init__(self, place: str, until_s: float) -> None:
        self._place = place
        self._until_s = until_s
        self._error = "no answer"
        self._refused = asyncio.Event()
        self._told = False

    @property
    def left_s(self) -> float:
        return self._until_s - asyncio.get_running_loop().time()

    def failed(self, error: Unavailable) -> None:
        self._error = str(error)
        self._refused.set()

    def over(self) -> None:
        if self._told:
            log.info("PostgreSQL answers", at=self._place)

    async def tell(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.timeout(SILENT_S):
                await self._refused.wait()
        except TimeoutError:
            pass  # it is silent: that is told too
        while True:
            self._told = True
            log.warning(
                "waiting for PostgreSQL", at=self._place, error=self._error, gives_up_in_s=max(0, round(self.left_s))
            )
            await asyncio.sleep(AGAIN_S)

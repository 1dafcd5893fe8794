"""What runs beside the listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger()

Part = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs until it is cancelled, and cleans up then."""


class Background:
    """Parts that run beside the listener, and end together."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.failed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Background]:
        task = asyncio.create_task(self._run(), name="background")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for part in self._parts:
                    group.create_task(part())
        except BaseExceptionGroup as error:
            log.error("BUG: a background part ended by itself", exc_info=error)
            self.failed.set()

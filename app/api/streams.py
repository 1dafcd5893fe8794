"""Answers that last: each runs until it is over, its client leaves, or the process stops; then it is closed cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive


class Streams:
    """Every open stream of this process."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        self._ended = False

    def __len__(self) -> int:
        return len(self._open)

    def end(self) -> None:
        """Ends all streams as if they were over, now and from now on. May be called twice."""
        self._ended = True
        for task in self._open:
            task.cancel()

    async def run(self, work: Coroutine[Any, Any, None], receive: Receive) -> None:
        """Runs the work; returns early when the client hangs up or the streams are ended."""
        if self._ended:
            work.close()
            return
        async with asyncio.TaskGroup() as group:
            running = group.create_task(work)
            leaving = group.create_task(_left(receive))
            leaving.add_done_callback(lambda _: running.cancel())
            running.add_done_callback(lambda _: leaving.cancel())
            running.add_done_callback(self._open.discard)
            self._open.add(running)


async def _left(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass

"""An event loop whose clock jumps to the next timer as soon as nothing else is to be done: minutes pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Nothing real is waited for: what a loop with this selector does is arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("BUG: nothing will ever happen on this loop")
        if not ready and timeout is not None and timeout > 0:
            self.jumped_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Used from a thread of its own, `run`, while the caller's loop goes on by the real clock."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.jumped_s

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """To be awaited on another loop. Tasks that the work leaves behind stand still until the next `run`."""
        return await asyncio.to_thread(self.run_until_complete, work)


class LoopTime:
    """The loop's own time, as simulated hosts take it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float) -> None:
        self._loop = loop
        self._start = start - loop.time()

    def now(self) -> float:
        return self._start + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

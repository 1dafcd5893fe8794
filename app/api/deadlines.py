"""Ending what lasts too long, without a timer for each request: that would cost more than most requests do."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType

LOOK_S = 1.0
"""How often the waiting ones are looked at, and so how much later than its deadline one may end."""
EXACT_BELOW_S = 10.0
"""Who is in more of a hurry gets a timer of its own."""


class Deadlines:
    """Every open deadline of one event loop."""

    def __init__(self) -> None:
        self._open: set[_Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """As asyncio.timeout: the block is cancelled when its time is over, and raises TimeoutError then."""
        return asyncio.timeout(seconds) if seconds < EXACT_BELOW_S else _Deadline(self, seconds)

    def add(self, deadline: _Deadline) -> None:
        self._open.add(deadline)
        if self._timer is None:
            self._look_later()

    def discard(self, deadline: _Deadline) -> None:
        self._open.discard(deadline)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for deadline in [one for one in self._open if one.due <= now]:
            self._open.discard(deadline)
            deadline.expire()
        if self._open:
            self._look_later()


class _Deadline:
    """One block's. asyncio.Timeout's own way with cancellation, but for who keeps the time."""

    __slots__ = ("_all", "_cancelling", "_expired", "_seconds", "_task", "due")

    def __init__(self, all_: Deadlines, seconds: float) -> None:
        self._all = all_
        self._seconds = seconds
        self._expired = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.due = 0.0

    async def __aenter__(self) -> _Deadline:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("BUG: a deadline outside of any task")
        self._cancelling = self._task.cancelling()
        self.due = asyncio.get_running_loop().time() + self._seconds
        self._all.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._all.discard(self)
        if not self._expired or self._task is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()

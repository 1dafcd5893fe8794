"""An event loop in which nobody waits: real time passes while there is work, and idle time is skipped to the next timer.

So controllers, store and simulated hosts run as they are, at their real cost, and minutes of copying take seconds.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Mapping
from typing import Any

LONGEST_S = 0.25
"""That is skipped at once: what waits for a slow answer of the database must not see its deadline pass."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """`grace_s` is how long a socket (the database's) may take to answer before the loop is held to be idle."""

    def __init__(self, grace_s: float = 0.004) -> None:
        self.skips = False
        """Only while somebody simulates: what sets up and tears down waits for real sockets under real deadlines."""
        self._skipped_s = 0.0
        self._grace_s = grace_s
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return time.monotonic() + self._skipped_s

    def skip(self, seconds: float) -> None:
        self._skipped_s += seconds

    @property
    def grace_s(self) -> float:
        return self._grace_s


class _Skipping(selectors.BaseSelector):
    """Waits for a real moment only, then lets the rest of the wait have passed."""

    def __init__(self, loop: SkippingLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= self._loop.grace_s or not self._loop.skips:
            return self._real.select(timeout)
        ready = self._real.select(self._loop.grace_s)
        if not ready:
            self._loop.skip(min(timeout, LONGEST_S) - self._loop.grace_s)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

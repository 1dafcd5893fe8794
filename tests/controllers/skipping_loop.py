"""An event loop in which nobody waits: real time passes while there is work, or while the database owes an answer; idle time
is skipped to the next timer.

So controllers, store and simulated hosts run as they are, at their real cost, and minutes of copying take seconds.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]  # a stub leaves it out
from collections.abc import Mapping
from typing import Any

LONGEST_S = 0.25
"""That is skipped at once."""
ANSWER_S = 20.0
"""Real time that a question may take: it is slow on a busy machine, and no deadline must pass meanwhile. After that it waits
for something that only happens with time, such as another's lock."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """`grace_s` is how long a socket may be silent that owes no answer, such as one that listens, before the loop is idle."""

    def __init__(self, grace_s: float = 0.004) -> None:
        self.asked: set[object] = set()
        """Connections on which something was written since something was read."""
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
        return ANSWER_S if self.asked else self._grace_s

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None
    ) -> asyncio.Transport:
        return _Asking(self, sock, protocol, waiter, extra, server)


class _Asking(_SelectorSocketTransport):  # type: ignore[misc]  # asyncio's own, which nobody typed
    """Notes when an answer is owed. The loop has no other way to make transports than by this class's."""

    def write(self, data: Any) -> None:
        self._loop.asked.add(self)
        super().write(data)

    def _read_ready(self) -> None:
        self._loop.asked.discard(self)
        super()._read_ready()

    def close(self) -> None:
        self._loop.asked.discard(self)
        super().close()

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        self._loop.asked.discard(self)
        super()._call_connection_lost(exc)


class _Skipping(selectors.BaseSelector):
    """Waits for a real moment only, then lets the rest of the wait have passed."""

    def __init__(self, loop: SkippingLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= self._loop.grace_s or not self._loop.skips:
            return self._real.select(timeout)
        grace_s = self._loop.grace_s
        ready = self._real.select(min(grace_s, timeout))
        if not ready and grace_s < timeout:
            self._loop.skip(min(timeout, LONGEST_S) - min(grace_s, LONGEST_S))
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

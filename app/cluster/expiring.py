"""Answers that hold for a while: a bounded cache, the longest unused goes first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Expiring(Generic[KeyT, ValueT]):
    """At most `size` values, each for as long as was said when it was put in."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._held: OrderedDict[KeyT, tuple[float, ValueT]] = OrderedDict()

    def get(self, key: KeyT) -> ValueT | None:
        """None for one that was not put in, or not lately."""
        found = self._held.get(key)
        if found is None:
            return None
        until, value = found
        if self._clock() >= until:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return value

    def put(self, key: KeyT, value: ValueT, lasts_s: float) -> None:
        self._held[key] = (self._clock() + lasts_s, value)
        self._held.move_to_end(key)
        while len(self._held) > self._size:
            self._held.popitem(last=False)

    def __len__(self) -> int:
        return len(self._held)

"""A queue of keys: each is in it once, perhaps not before a time. Knows no task and no clock."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a key waits after failures in a row: doubled each time, up to a longest."""

    first_s: float = 0.1
    longest_s: float = 30.0

    def after(self, failures: int) -> float:
        """The wait after that many failures in a row (1 is the first)."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 32))


class Queue(Generic[KeyT]):
    """
    A key that is added while it is in hand comes back when it is put down, so no change is lost and no key is worked
    on twice at once. Times are whatever clock the caller uses, in seconds.
    """

    def __init__(self, backoff: Backoff = Backoff()) -> None:
        self._backoff = backoff
        self._due: dict[KeyT, float] = {}
        self._order: list[tuple[float, int, KeyT]] = []
        self._entries = count()
        self._in_hand: dict[KeyT, float | None] = {}
        self._failures: dict[KeyT, int] = {}

    def add(self, key: KeyT, at: float) -> None:
        """Due at that time; an earlier time that it already has stays."""
        if key in self._in_hand:
            self._in_hand[key] = _earlier(self._in_hand[key], at)
        else:
            self._schedule(key, _earlier(self._due.get(key), at))

    def take(self, now: float) -> KeyT | None:
        """The key that has been due for longest, now in hand; None when none is due."""
        due = self.next_due()
        if due is None or due > now:
            return None
        key = heappop(self._order)[2]
        del self._due[key]
        self._in_hand[key] = None
        return key

    def next_due(self) -> float | None:
        """When the next key is due; None when the queue is empty."""
        # An entry whose key has since been given another time, or was taken, is passed over.
        while self._order and self._due.get(self._order[0][2]) != self._order[0][0]:
            heappop(self._order)
        return self._order[0][0] if self._order else None

    def done(self, key: KeyT, again_at: float | None = None) -> None:
        """Put down after success; its failures are forgotten."""
        self._failures.pop(key, None)
        self._put_down(key, again_at)

    def failed(self, key: KeyT, now: float) -> float:
        """Put down after a failure, due again after its backoff, which is returned. Additions meanwhile do not shorten it."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait_s = self._backoff.after(failures)
        self._in_hand.pop(key)
        self._schedule(key, now + wait_s)
        return wait_s

    def __len__(self) -> int:
        return len(self._due) + len(self._in_hand)

    def _schedule(self, key: KeyT, at: float) -> None:
        if self._due.get(key) != at:
            self._due[key] = at
            heappush(self._order, (at, next(self._entries), key))

    def _put_down(self, key: KeyT, again_at: float | None) -> None:
        added_at = self._in_hand.pop(key)
        for at in (added_at, again_at):
            if at is not None:
                self.add(key, at)


def _earlier(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)

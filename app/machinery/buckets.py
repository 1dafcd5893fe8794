"""Token buckets: how often something may happen, for each of many keys. Pure; the moment is handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class Buckets:
    """`burst` at once, then `per_s` a second, for each key. Keys that were longest unused are forgotten: they begin anew."""

    def __init__(self, burst: int, per_s: float, remembered: int = 4096) -> None:
        self._burst = burst
        self._per_s = per_s
        self._remembered = remembered
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, key: Hashable, now_s: float) -> bool:
        """Whether it may happen once more, now."""
        bucket = self._buckets.setdefault(key, _Bucket(self._burst, now_s))
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        gained = max(0.0, now_s - bucket.at_s) * self._per_s
        bucket.tokens, bucket.at_s = min(self._burst, bucket.tokens + gained), max(bucket.at_s, now_s)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

"""OpenStack Nova: the downtime is raised by the clock; after a long timeout it is aborted or forced."""

from __future__ import annotations

from app.hypervisor.base import Abort, Progress, SetDowntime, Steer, StopAndCopy, SwitchToPostCopy
from benchmarks.rivals.rule import Allowed

STEPS, DELAY_S_PER_GB, TIMEOUT_S_PER_GB = 10, 75, 800


def steps(gigabytes: float, downtime_ms: int) -> list[tuple[int, int]]:
    """(seconds, ms): from when on which downtime is allowed."""
    delay_s, first = int(DELAY_S_PER_GB * gigabytes), downtime_ms / STEPS
    return [(delay_s * n, int(first + (downtime_ms - first) / STEPS * n)) for n in range(STEPS + 1)]


class Nova:
    """live_migration_timeout_action is `force_complete` where anything may be forced, else `abort`."""

    poll_s = 0.5
    hears_passes = False

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._gigabytes = max(2.0, allowed.memory / 2**30)
        self._left = steps(self._gigabytes, allowed.max_downtime_ms)
        self.first_downtime_ms = self._left.pop(0)[1]
        self._forced = False

    def take(self, seen: Progress, *, boundary: bool) -> list[Steer]:
        elapsed_s = seen.elapsed_ms / 1000
        if self._forced:
            return []
        if elapsed_s > TIMEOUT_S_PER_GB * self._gigabytes:
            self._forced = True
            if self._allowed.post_copy:
                return [SwitchToPostCopy()]
            return [StopAndCopy()] if self._allowed.disruption else [Abort()]
        said: list[Steer] = []
        while self._left and elapsed_s > self._left[0][0]:
            said = [SetDowntime(self._left.pop(0)[1])]
        return said

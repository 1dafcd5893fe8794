"""KubeVirt's stall detector (VEP 248): boundaries of passes, the best of them, patience, then whatever is allowed."""

from __future__ import annotations

from collections import deque

from app.hypervisor.base import Abort, Progress, SetDowntime, Steer, StopAndCopy, SwitchToPostCopy
from benchmarks.rivals.rule import Allowed

WEIGHT, STALL_S, MARGIN, PATIENCE_S, SWITCH_S = 0.4, 40.0, 0.04, 40.0, 60.0
COMPLETION_S_PER_GIB = 150
SOFT = 1.5


class KubeVirt:
    """One copy's detector."""

    poll_s = 0.4
    hears_passes = True

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self.first_downtime_ms = min(allowed.max_downtime_ms, 300)
        self._completion_s = COMPLETION_S_PER_GIB * max(1.0, allowed.memory / 2**30)
        self._bandwidth = 0.0
        self._recent: deque[tuple[float, int]] = deque()
        self._older: int | None = None
        """The least that remained longer ago than STALL_S."""
        self._since: list[int] = []
        """What remained at boundaries since the stall."""
        self._stalled_at: float | None = None
        self._best = 0
        self._patience_s = PATIENCE_S
        self._deadline_s = 0.0
        self._acted = False
        self._switch_by_s: float | None = None

    def take(self, seen: Progress, *, boundary: bool) -> list[Steer]:
        now_s = seen.elapsed_ms / 1000
        self._bandwidth = (
            WEIGHT * seen.memory_rate + (1 - WEIGHT) * self._bandwidth if self._bandwidth else seen.memory_rate
        )
        if self._switch_by_s is not None:
            return [Abort()] if now_s > self._switch_by_s else []
        if self._acted:
            return []
        if now_s > self._completion_s and self._can_end(seen, now_s):
            return self._act(seen, now_s)
        if now_s > 2 * self._completion_s:
            self._acted = True
            return [Abort()]
        if not boundary or seen.iteration < 2:
            return []
        self._recent.append((now_s, seen.remaining))
        while now_s - self._recent[0][0] > STALL_S:
            left = self._recent.popleft()[1]
            self._older = left if self._older is None else min(self._older, left)
        return self._judge(seen, now_s)

    def _judge(self, seen: Progress, now_s: float) -> list[Steer]:
        if self._stalled_at is None:
            if self._older is None or seen.remaining < self._older * (1 - MARGIN):
                return []
            self._stalled_at = now_s
            self._best = min(self._older, *(remaining for _, remaining in self._recent))
            self._deadline_s = now_s + self._patience_s
        self._since.append(seen.remaining)
        if now_s > self._deadline_s:
            self._best = min((one for one in self._since if one > self._best), default=self._best)
            self._patience_s *= 0.5
            self._deadline_s = now_s + self._patience_s
        if seen.remaining > self._best * (1 + MARGIN) or not self._can_end(seen, now_s):
            return []
        return self._act(seen, now_s)

    def _act(self, seen: Progress, now_s: float) -> list[Steer]:
        self._acted = True
        if self._allowed.post_copy:
            return [SwitchToPostCopy()]
        if self._allowed.disruption:
            return [StopAndCopy()]
        if self._stop_s(seen) * 1000 <= SOFT * self._allowed.max_downtime_ms:
            self._switch_by_s = now_s + SWITCH_S
            return [SetDowntime(self._allowed.max_downtime_ms)]
        return [Abort()]

    def _can_end(self, seen: Progress, now_s: float) -> bool:
        return self._stop_s(seen) <= 2 * self._completion_s - now_s

    def _stop_s(self, seen: Progress) -> float:
        return seen.remaining / self._bandwidth if self._bandwidth else float("inf")

"""Drover's own, as its process uses it."""

from __future__ import annotations

from app.controllers.migration.converge import GIVEN_UP, Policy, Sample, begun, steered
from app.hypervisor.base import Abort, Progress, Steer
from benchmarks.rivals.rule import Allowed


class Drover:
    poll_s = 0.4
    hears_passes = True

    def __init__(self, allowed: Allowed) -> None:
        self._policy = Policy(
            memory=allowed.memory,
            max_downtime_ms=allowed.max_downtime_ms,
            bandwidth=allowed.bandwidth,
            post_copy=allowed.post_copy,
            disruption=allowed.disruption,
        )
        self._state = begun(self._policy)
        self.first_downtime_ms = self._policy.first_downtime_ms

    def take(self, seen: Progress, *, boundary: bool) -> list[Steer]:
        before = self._state.end
        step = steered(self._state, self._policy, Sample(seen, boundary))
        self._state = step.state
        given_up = step.state.end in GIVEN_UP and before not in GIVEN_UP
        return [Abort()] if given_up else list(step.steers)

"""oVirt's VDSM: every 10 s, and if a pass has begun since, one action of the policy's list."""

from __future__ import annotations

from app.hypervisor.base import Abort, Progress, SetDowntime, Steer, SwitchToPostCopy
from benchmarks.rivals.rule import Allowed

LAST = -1
Action = tuple[int, Steer]

MINIMAL: list[Action] = [
    (1, SetDowntime(150)),
    (2, SetDowntime(200)),
    (3, SetDowntime(300)),
    (4, SetDowntime(400)),
    (6, SetDowntime(500)),
    (LAST, Abort()),
]
SUSPEND: list[Action] = [*MINIMAL[:-1], (LAST, SetDowntime(5000)), (LAST, Abort())]
POST_COPY: list[Action] = [
    (1, SetDowntime(150)),
    (2, SetDowntime(200)),
    (LAST, SwitchToPostCopy()),
    (LAST, Abort()),
]


class Vdsm:
    """The policy that uses what is allowed; its downtimes are its own."""

    poll_s = 10.0
    hears_passes = False
    first_downtime_ms = 100

    def __init__(self, allowed: Allowed) -> None:
        chosen = POST_COPY if allowed.post_copy else SUSPEND if allowed.disruption else MINIMAL
        self._left = list(chosen)
        self._first: int | None = None
        self._last = 0
        self._post_copy = False

    def take(self, seen: Progress, *, boundary: bool) -> list[Steer]:
        if self._first is None:
            self._first = self._last = seen.iteration
            return []
        if seen.iteration <= self._last or not self._left or self._post_copy:
            return []
        self._last = seen.iteration
        limit, action = self._left[0]
        if limit >= seen.iteration - self._first:
            return []
        self._left.pop(0)
        self._post_copy = isinstance(action, SwitchToPostCopy)
        return [action]

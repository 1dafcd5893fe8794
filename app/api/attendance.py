"""Whether any worker runs: looked for beside the requests, and told to who writes what only a worker acts on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from app.store.base import Lease, Leases, StoreError

log = structlog.get_logger()

ABSENT_S = 40.0
"""After so long nobody is merely restarting, and no lease has still to lapse."""
LOOKS = 8
"""So often in that time it is looked: who is back is noticed within an eighth of it."""

Tenure = tuple[str, datetime]
"""A lease of a worker, and until when it holds: each renewal makes another one."""


class Presence:
    """What the looks so far say. Pure: the times are handed in, in seconds."""

    def __init__(self, absent_s: float) -> None:
        self._absent_s = absent_s
        self._tenures: frozenset[Tenure] = frozenset()
        self._seen_s: float | None = None

    def looked(self, tenures: frozenset[Tenure], now_s: float) -> bool:
        """What is held now. Has no worker run for so long? The time counts from the last renewal, and from the first look at
        the earliest; what has not lapsed is somebody's."""
        if self._seen_s is None or tenures - self._tenures:
            self._seen_s = now_s
        self._tenures = tenures
        return not tenures and now_s - self._seen_s >= self._absent_s

    def unknown(self) -> None:
        """Nobody can renew while the database is away: the time counts from the next look on."""
        self._seen_s = None


class Attendance:
    """`warning` is what a write is to be answered with besides; "" while there is a worker or nobody knows. Without `run`,
    as in a process with workers of its own, there is always one."""

    def __init__(
        self,
        leases: Leases,
        is_of_worker: Callable[[Lease], bool],
        absent_s: float = ABSENT_S,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.warning = ""
        self._leases = leases
        self._is_of_worker = is_of_worker
        self._absent_s = absent_s
        self._presence = Presence(absent_s)
        self._clock = clock
        self._knows = True

    async def run(self) -> None:
        """Looks until cancelled. A look that takes longer than until the next one is given up."""
        every_s = self._absent_s / LOOKS
        while True:
            try:
                async with asyncio.timeout(every_s):
                    leases = await self._leases.held()
            except (StoreError, TimeoutError) as error:
                self._lost(str(error) or f"no answer within {every_s:g} s")
            else:
                self._looked(frozenset((lease.name, lease.until) for lease in leases if self._is_of_worker(lease)))
            await asyncio.sleep(every_s)

    def _looked(self, tenures: frozenset[Tenure]) -> None:
        absent, told = self._presence.looked(tenures, self._clock()), bool(self.warning)
        self._knows = True
        self.warning = ""
        if absent:
            self.warning = (
                f"no worker has run for {self._absent_s:g} s: nothing acts on this until one does (`drover work`)"
            )
        if absent and not told:
            log.warning("no worker runs", seconds=self._absent_s, help="start `drover work`")
        elif told and not absent:
            log.info("a worker runs again")

    def _lost(self, error: str) -> None:
        self._presence.unknown()
        self.warning = ""
        if self._knows:
            log.info("workers not looked for", error=error)
        self._knows = False

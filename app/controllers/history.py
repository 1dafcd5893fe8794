"""Finished Migrations: each goes when its own time is over, and the oldest beyond so many of a VirtualMachine and outcome.

As a CronJob keeps so many successful and failed Jobs, so many Succeeded and Failed Migrations are kept of each
VirtualMachine. One that names its own time (spec.ttlSecondsAfterFinished) is kept for that time, and not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.controllers.config import Kept
from app.controllers.documents import is_over
from app.controllers.evacuation import LONGEST_WAIT, is_evacuation
from app.controllers.lease import Held
from app.controllers.loop import Source
from app.controllers.migration.observe import status_of, vm_name
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.pods import is_leaving
from app.controllers.remover import Remover
from app.controllers.tools import Tools
from app.kinds import MIGRATION, VIRTUAL_MACHINE
from app.kinds.migration import Phase
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Stored


@dataclass(frozen=True, slots=True)
class Expiry:
    """What goes now, and when to look again."""

    gone: tuple[Stored, ...] = ()
    again_after_s: float | None = None


class History:
    """Runs under the lease `controllers`. Reconciles by VirtualMachine, whether or not there still is one of that name."""

    def __init__(self, tools: Tools, held: Held, kept: Kept) -> None:
        self._tools = tools
        self._kept = kept
        self._remover = Remover(tools, held)
        self._finished: dict[Key, set[str]] = defaultdict(set)
        """By VirtualMachine: names of its Migrations that had ended when the watch told of them."""

    def sources(self) -> list[Source]:
        return [Source(Scope(MIGRATION.resource), self._noted, at_start=self._noted_at_start)]

    async def reconcile(self, vm: Key) -> Outcome:
        finished = [stored for name in tuple(self._finished[vm]) if (stored := await self._found(vm, name)) is not None]
        expiry = expired(finished, self._kept, self._tools.birth.now())
        for stored in expiry.gone:
            await self._remover.delete(stored)
            self._finished[vm].discard(stored.key.name)
        if not self._finished[vm]:
            del self._finished[vm]
        return SETTLED if expiry.again_after_s is None else Again(expiry.again_after_s)

    def _noted(self, stored: Stored) -> Iterable[Key]:
        if not is_over(stored.document):
            return ()
        vm = Key(VIRTUAL_MACHINE.resource, stored.key.namespace, vm_name(stored.document))
        self._finished[vm].add(stored.key.name)
        return (vm,)

    def _noted_at_start(self, stored: Stored) -> Iterable[Key]:
        """A VirtualMachine with fewer than are kept of either outcome need not be looked at."""
        fewest = min(self._kept.succeeded, self._kept.failed)
        has_time = stored.document["spec"].get("ttlSecondsAfterFinished") is not None
        return [vm for vm in self._noted(stored) if has_time or len(self._finished[vm]) > fewest]

    async def _found(self, vm: Key, name: str) -> Stored | None:
        """None when it has gone, or another one has its name."""
        key = Key(MIGRATION.resource, vm.namespace, name)
        try:
            stored = await self._tools.store.objects.get(key)
        except NotFound:
            stored = None
        if stored is None or not is_over(stored.document) or vm_name(stored.document) != vm.name:
            self._finished[vm].discard(name)
            return None
        return None if is_leaving(stored.document) else stored


def expired(finished: Sequence[Stored], kept: Kept, now: datetime) -> Expiry:
    """Of the finished Migrations of one VirtualMachine. Pure."""
    gone: list[Stored] = []
    waits: list[timedelta] = []
    counted: dict[Phase, list[Stored]] = defaultdict(list)
    for stored in finished:
        ttl = stored.document["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            counted[status_of(stored.document).phase].append(stored)
        elif (left := ended_at(stored.document) + timedelta(seconds=ttl) - now) > timedelta(0):
            waits.append(left)
        else:
            gone.append(stored)
    for phase, limit in ((Phase.SUCCEEDED, kept.succeeded), (Phase.FAILED, kept.failed)):
        newest_first = sorted(counted[phase], key=lambda stored: ended_at(stored.document), reverse=True)
        for stored in newest_first[limit:]:
            # How long to wait before the next attempt to empty a node is read from the last one's record.
            if is_evacuation(stored.document) and (left := ended_at(stored.document) + LONGEST_WAIT - now) > timedelta(
                0
            ):
                waits.append(left)
            else:
                gone.append(stored)
    return Expiry(tuple(gone), min(waits).total_seconds() if waits else None)


def ended_at(migration: Document) -> datetime:
    """When the outcome was known."""
    state = status_of(migration).migration_state
    stamp = (state and state.end_timestamp) or migration["metadata"]["creationTimestamp"]
    return datetime.fromisoformat(stamp)

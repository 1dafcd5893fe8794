"""Doing it: the victim is found in the moment that the log tells of, struck, and brought back after a while."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from app.lab.processes import Process
from app.lab.processes import process as process_of
from tests.chaos.faults import Blow, Fault, Moment, Victim
from tests.chaos.parts import Part
from tests.chaos.sights import Sight
from tests.chaos.site import Site

PATIENCE_S = 6.0
"""How long a moment is waited for before another fault has its turn."""
AFTER_SWITCH = (Moment.SWITCHING, Moment.ARRIVED, Moment.SETTLING, Moment.KNOWN, Moment.POST_COPY, Moment.FINISHED)

DEAD_PEER_S = 24.0
"""libvirt takes a peer for dead that has answered nothing for 25 to 30 s."""
DOUBLED_BY_DEATH = frozenset({Moment.SWITCHING, Moment.ARRIVED})
DOUBLED_BY_SILENCE = DOUBLED_BY_DEATH | {
    Moment.CLAIMED, Moment.PREPARING, Moment.TAKEN_OVER, Moment.MARKED, Moment.CALLED, Moment.COPYING,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Struck:
    """What was done, for the report."""

    fault: Fault
    at: float
    migration: str
    what: str


@dataclass
class Striker:
    """Strikes, and mends what a supervisor or a person would mend."""

    site: Site
    tasks: asyncio.TaskGroup
    vm_of: Callable[[str], str]
    """The name of the VirtualMachine that a Migration of that name moves; empty where it is not known."""
    stopped: Set[str] = frozenset()
    """Names of Migrations whose guest arrives stopped."""
    struck: list[Struck] = field(default_factory=list)
    not_reached: Counter[str] = field(default_factory=Counter)
    _mending: set[asyncio.Task[None]] = field(default_factory=set)

    async def strike(self, fault: Fault) -> Struck | None:
        """None where its moment did not come in time, or its victim was not there."""
        hit: list[Struck] = []

        def act(sight: Sight) -> None:
            what = self._blow(fault, sight)
            if what:
                hit.append(Struck(fault, time.monotonic(), sight.migration, what))

        if fault.moment is Moment.ANY:
            await asyncio.sleep(self.site.random.uniform(0, 0.8))
            sight = self._some()
            if sight is not None:
                act(sight)
        else:
            await self.site.sights.strike(lambda sight: self._fits(fault, sight), act, PATIENCE_S)
        self.struck.extend(hit)
        if not hit:
            self.not_reached[f"{fault.victim} at {fault.moment}"] += 1
        return hit[0] if hit else None

    async def mended(self) -> None:
        """Everything that was struck is back."""
        while self._mending:
            await asyncio.wait(set(self._mending))

    def _some(self) -> Sight | None:
        """Where some unfinished migration was seen last."""
        latest = [s for s in self.site.sights.latest.values() if s.source and s.moment is not Moment.FINISHED]
        return max(latest, key=lambda sight: sight.at, default=None)

    def _fits(self, fault: Fault, sight: Sight) -> bool:
        if sight.moment is not fault.moment:
            return False
        if fault.victim in (Victim.API, Victim.WORKER, Victim.POSTGRES):
            return True
        return bool(self._where(sight))

    def _where(self, sight: Sight) -> Sight | None:
        """The same, or the last one of that migration that names its hosts."""
        if sight.source:
            return sight
        for one in reversed(self.site.sights.seen):
            if one.migration == sight.migration and one.source:
                return one
        return None

    def _blow(self, fault: Fault, sight: Sight) -> str:
        """What was done; empty where there was nobody to do it to."""
        match fault.victim:
            case Victim.API:
                return self._part(self._free(self.site.apis), fault.blow)
            case Victim.WORKER:
                return self._part(self._worker(sight), fault.blow)
            case Victim.PROCESS:
                return self._process(sight, fault.blow)
            case Victim.BOTH:
                first = self._process(sight, fault.blow)
                return first and f"{first}, {self._part(self._worker(sight), fault.blow)}"
            case Victim.SOURCE_LIBVIRTD | Victim.TARGET_LIBVIRTD:
                return self._libvirtd(fault, sight)
            case Victim.SOURCE_QEMU | Victim.TARGET_QEMU:
                return self._qemu(fault, sight)
            case Victim.POSTGRES:
                return self._postgres(fault.blow)

    def _free(self, parts: list[Part]) -> Part | None:
        free = [part for part in parts if not part.busy and part.lives]
        return self.site.random.choice(free) if free else None

    def _worker(self, sight: Sight) -> Part | None:
        part = next((one for one in self.site.workers if one.name == sight.part), None)
        return part if part is not None and not part.busy and part.lives else None

    def _part(self, part: Part | None, blow: Blow) -> str:
        if part is None:
            return ""
        part.busy = True
        part.send(signal.SIGKILL if blow is Blow.KILL else signal.SIGSTOP)
        self._mend(self._revive(part, blow))
        return f"{part.name} ({part.pid})"

    async def _revive(self, part: Part, blow: Blow) -> None:
        try:
            if blow is Blow.KILL:
                await part.ended()
                await asyncio.sleep(self.site.random.uniform(0, 2))
                await part.start()
                self.site.sights.follow(part.name, part.log)
                await asyncio.sleep(1)
            else:
                await asyncio.sleep(blow.seconds)
                part.send(signal.SIGCONT)
        finally:
            part.busy = False

    def _process(self, sight: Sight, blow: Blow) -> str:
        found = None if sight.pid is None else process_of(sight.pid)
        if found is None:
            return ""
        found.send(signal.SIGKILL if blow is Blow.KILL else signal.SIGSTOP)
        if blow is not Blow.KILL:
            self._mend(_go_on([found], blow.seconds))
        return f"migration process {found.pid}"

    def _libvirtd(self, fault: Fault, sight: Sight) -> str:
        where = self._where(sight)
        if where is None:
            return ""
        name = where.source if fault.victim is Victim.SOURCE_LIBVIRTD else where.target
        found = self.site.hosts.libvirtd(name)
        if name in self.site.hosts.busy or not found:
            return ""
        if self._may_double(name, fault.blow):
            return ""
        self.site.hosts.busy.add(name)
        if fault.victim is Victim.TARGET_LIBVIRTD and fault.blow is Blow.KILL:
            self._note_handed_over(name, sight)
        found[0].send(signal.SIGKILL if fault.blow is Blow.KILL else signal.SIGSTOP)
        self._mend(self._restart(name, found, fault.blow))
        return f"libvirtd of {name} ({found[0].pid})"

    def _may_double(self, name: str, blow: Blow) -> bool:
        """A guest runs twice where libvirtd on its target has started it and dies before it answers, or obeys the call to start
        it after the source has taken the target for dead: then libvirt on the source resumes its own copy. Drover is not asked,
        and can only say so; guests that arrive stopped are what it offers against that, so there it is they who are struck."""
        if blow is Blow.KILL:
            moments: Set[Moment] = DOUBLED_BY_DEATH
        elif blow.seconds > DEAD_PEER_S:
            moments = DOUBLED_BY_SILENCE
        else:
            return False
        for migration, latest in self.site.sights.latest.items():
            if migration not in self.stopped and latest.moment in moments:
                where = self._where(latest)
                if where is not None and where.target == name:
                    return True
        return False

    def _note_handed_over(self, name: str, sight: Sight) -> None:
        """A libvirtd that is started again ends every guest that was coming and was not said to have come: in post-copy also
        the one that its source handed over a moment ago. That is libvirt's doing, and can be the guest's end."""
        guest = self.site.guests.get(self.vm_of(sight.migration))
        latest = self.site.sights.latest[sight.migration].moment
        if guest is not None and guest.hot and latest is Moment.POST_COPY:
            guest.may_die = f"libvirtd of {name} was killed at {latest} of {sight.migration}"

    async def _restart(self, name: str, found: list[Process], blow: Blow) -> None:
        try:
            if blow is Blow.KILL:
                await asyncio.to_thread(self.site.hosts[name].kill)
                await asyncio.sleep(self.site.random.uniform(0, 2))
                await asyncio.to_thread(self.site.hosts[name].start)
            else:
                await _go_on(found, blow.seconds)
        finally:
            self.site.hosts.busy.discard(name)

    def _qemu(self, fault: Fault, sight: Sight) -> str:
        """The target's copy is nobody until the switch-over; from then on, and always on the source, it may be the guest.
        Of a hot guest it may be half of one in post-copy, whose end is told by nobody but an operator: it is spared then."""
        where = self._where(sight)
        guest = self.site.guests.get(self.vm_of(sight.migration))
        if where is None or guest is None:
            return ""
        name = where.source if fault.victim is Victim.SOURCE_QEMU else where.target
        found = [one for one in self.site.hosts.holders().get(guest.uuid, []) if one.node == name]
        if not found:
            return ""
        latest = self.site.sights.latest[sight.migration]
        if guest.hot and latest.moment in AFTER_SWITCH:
            return ""
        if (
            fault.victim is Victim.SOURCE_QEMU
            or latest.moment in AFTER_SWITCH
            or fault.moment is Moment.ANY
            or guest.hot
        ):
            guest.may_die = f"QEMU on {name} was killed at {latest.moment} of {sight.migration}"
        for one in found:
            one.process.send(signal.SIGKILL)
        return f"QEMU of {guest.name} on {name} ({found[0].process.pid})"

    def _postgres(self, blow: Blow) -> str:
        database = self.site.database
        found = database.processes()
        if database.busy or not found:
            return ""
        database.busy = True
        if blow is Blow.KILL:
            # Its postmaster, or one of the processes that serve: then the postmaster starts all of them anew.
            victim = found[0] if len(found) < 8 or self.site.random.random() < 0.6 else found[-1]
            victim.send(signal.SIGKILL)
            self._mend(self._await_database())
            return f"postgres ({victim.pid})"
        for one in found:
            one.send(signal.SIGSTOP)
        self._mend(self._wake_database(found, blow.seconds))
        return f"postgres ({found[0].pid}) and its {len(found) - 1} processes"

    async def _await_database(self) -> None:
        try:
            async with asyncio.timeout(60):
                while not await _answers(self.site):  # noqa: ASYNC110  (nobody tells of it)
                    await asyncio.sleep(0.2)
        finally:
            self.site.database.busy = False

    async def _wake_database(self, found: list[Process], seconds: float) -> None:
        try:
            await _go_on(found, seconds)
        finally:
            self.site.database.busy = False

    def _mend(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.tasks.create_task(work)
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)


async def _go_on(stopped: list[Process], seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        for one in stopped:
            with suppress(ProcessLookupError):
                one.send(signal.SIGCONT)


async def _answers(site: Site) -> bool:
    try:
        await site.database.changes(1 << 60)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True

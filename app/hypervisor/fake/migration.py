"""One migration between two hosts, from its first byte to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import assert_never

from app.hypervisor.base import (
    Aborted,
    Change,
    Completed,
    CopyPhase,
    Destination,
    HypervisorError,
    Job,
    MigrationFailed,
    Progress,
    Reason,
    State,
    Throttling,
)
from app.hypervisor.fake.cloud import FakeCloud, FakeHost, Guest, stop
from app.hypervisor.precopy import Copying, Load, advanced, begun, stopped
from app.hypervisor.strikes import Step, Strike

_THROTTLE_MOST = 99


class _Abandoned(HypervisorError):
    """A daemon ended between the source's stop and its learning that the guest has arrived."""


class Migration:
    """One peer-to-peer migration, from its first byte to its end on both hosts."""

    def __init__(self, cloud: FakeCloud, source: FakeHost, target: FakeHost, guest: Guest, to: Destination) -> None:
        self._cloud = cloud
        self._source = source
        self._target = target
        self._guest = guest
        self._incoming = _arriving(guest, to)
        self._copying = begun(guest.load)
        self._began = cloud.time.now()
        self._throttling = to.auto_converge
        self._throttle = 0
        self._post_copy_begun = False
        self._stopped_s = 0.0
        self.uuid = guest.domain.uuid
        self.source = source.name
        self.target = target.name
        self.allows_post_copy = to.post_copy
        self._arrives_paused = to.paused
        self.bandwidth = to.bandwidth
        self.max_downtime_s = (300 if to.max_downtime_ms is None else to.max_downtime_ms) / 1000
        self.aborted = False
        self.stopping = False
        """StopAndCopy was said."""
        self.switching = False
        """SwitchToPostCopy was said."""
        self.broken = False
        """In post-copy, and its connection is gone."""

    @property
    def rate(self) -> float:
        """Bytes per second."""
        link = self._cloud.bandwidth_of(self)
        return min(float(self.bandwidth or link), link)

    @property
    def in_post_copy(self) -> bool:
        return self._post_copy_begun

    def progress(self) -> Progress:
        copying, load = self._copying, self._guest.load
        return Progress(
            total=load.memory,
            processed=int(copying.sent),
            remaining=int(copying.remaining),
            memory_rate=int(self.rate),
            dirty_rate=int(self._load().dirty_rate) if copying.iteration > 1 else 0,
            iteration=copying.iteration,
            elapsed_ms=self._elapsed_ms(),
            # Of the capped rate, as QEMU reckons; the real stop is sent at the link's.
            expected_downtime_ms=int(1000 * copying.remaining / self.rate),
            phase=self._phase(),
            throttle=self._throttle,
        )

    def _phase(self) -> CopyPhase:
        if self._post_copy_begun:
            return CopyPhase.POST_COPY
        domain = self._guest.domain
        switching = domain.state is State.PAUSED and domain.reason is Reason.MIGRATION
        return CopyPhase.SWITCHING if switching else CopyPhase.LIVE

    async def run(self) -> HypervisorError | None:
        """How it ended; None is well. It answers rather than raises: nobody may be left to hear it."""
        self._cloud.sending.add(self)
        try:
            self._prepare()
            self._meet(Step.PREPARED)
            await self._copy()
            await (self._let_go() if self.switching else self._switch_over())
        except _Abandoned as error:
            self._abandon()
            return MigrationFailed(error.text)
        except HypervisorError as error:
            self._fail()
            return error
        except asyncio.CancelledError:
            self._fail()
            raise
        finally:
            self._cloud.sending.discard(self)
        self._guest.migration = None
        return None

    def _meet(self, step: Step) -> None:
        """What strikes at this step."""
        match self._cloud.strikes(step, self.source, self.target):
            case None:
                return
            case Strike.FAILS:
                if step is not Step.ARRIVED or self._arrives_paused:
                    raise MigrationFailed("internal error: the migration was to fail here")
            case Strike.SOURCE_DAEMON | Strike.TARGET_DAEMON as strike:
                self._cloud.disconnect(self.source if strike is Strike.SOURCE_DAEMON else self.target)
                if step in (Step.STOPPED, Step.ARRIVED):
                    raise _Abandoned("internal error: the daemon ended in the switch-over")
                raise MigrationFailed("internal error: client socket is closed")
            case Strike.SOURCE_CUT:
                self._cloud.cut_off(self.source)
            case Strike.TARGET_CUT:
                self._cloud.cut_off(self.target)
            case unhandled:
                assert_never(unhandled)

    def _abandon(self) -> None:
        """The source stays stopped, without a job. A copy that did not arrive yet ends; one that runs, or waits, goes on."""
        self._guest.migration = None
        self._guest.work(Job.NONE)
        self._incoming.work(Job.NONE)
        if self._incoming.domain.state is not State.RUNNING and not self._waits:
            stop(self._target, self._incoming, Reason.FAILED, "failed", self._cloud.time.now())

    async def go_on(self) -> HypervisorError | None:
        """After post-copy broke: how that ended."""
        self.broken = False
        self._guest.become(State.PAUSED, Reason.POSTCOPY)
        self._incoming.become(State.RUNNING, Reason.POSTCOPY)
        self._tell(self._source, Change.SUSPENDED, "postcopy")
        self._tell(self._target, Change.RESUMED, "postcopy")
        try:
            await self._fetch()
        except HypervisorError as error:
            self._fail()
            return error
        self._guest.migration = None
        return None

    def _prepare(self) -> None:
        self._target.guests[self.uuid] = self._incoming
        self._tell(self._target, Change.STARTED, "migrated")
        self._tell(self._source, Change.ITERATED, "1")

    async def _copy(self) -> None:
        while not self._copying.ready:
            await self._cloud.time.sleep(self._cloud.tick_s)
            self._meet(Step.COPYING)
            await self._check()
            before = self._copying
            self._copying = advanced(before, self._load(), self.rate, self.max_downtime_s, self._cloud.tick_s)
            if self._copying.iteration > before.iteration:
                self._turn(before)
            if self.stopping or self.switching:
                self._copying = stopped(self._copying)

    def _load(self) -> Load:
        """What the guest writes, as far as it is let."""
        load = self._guest.load
        if self._guest.domain.state is not State.RUNNING:
            return Load(load.memory)
        return replace(load, dirty_rate=load.dirty_rate * (100 - self._throttle) / 100)

    def _turn(self, before: Copying) -> None:
        """A pass is over: as QEMU does, a guest that wrote half of what was sent is held back, and more each time."""
        self._tell(self._source, Change.ITERATED, str(self._copying.iteration))
        if self._throttling is not None and 2 * self._copying.remaining > before.remaining:
            self._throttle = _more(self._throttle, self._throttling)

    async def _check(self) -> None:
        if self.aborted:
            raise Aborted("operation aborted: job 'migration out' canceled by client")
        if not self._guest.active:
            raise MigrationFailed("operation failed: domain is not running")
        if not self._incoming.active:
            raise MigrationFailed("the guest's copy on the target ended")
        if self.is_apart:
            await self._cloud.time.sleep(self._cloud.peer_timeout_s)
            if self.is_apart:
                raise MigrationFailed("internal error: connection closed due to keepalive timeout")

    @property
    def is_apart(self) -> bool:
        """The two hosts do not reach one another."""
        return any(host.faults.cut_off or host.faults.unplugged for host in (self._source, self._target))

    async def _switch_over(self) -> None:
        stopped = self._guest.domain.state is State.RUNNING
        if stopped:
            self._guest.become(State.PAUSED, Reason.MIGRATION)
            self._tell(self._source, Change.SUSPENDED, "migrated")
        self._meet(Step.STOPPED)
        downtime_s = await self._send_the_rest()
        if self.is_apart:
            await self._check()
        self._arrive(runs=stopped and not self._arrives_paused)
        self._meet(Step.ARRIVED)
        await self._end(downtime_s)

    async def _send_the_rest(self) -> float:
        """While the guest is stopped, at whatever the link carries, which may change; how long it took."""
        took_s = self._cloud.switch_s
        await self._cloud.time.sleep(took_s)
        while self._copying.remaining > 0:
            spent = min(self._cloud.tick_s, self._copying.remaining / self._cloud.bandwidth_of(self))
            await self._cloud.time.sleep(spent)
            if self.aborted:
                await self._check()
            self._take(spent * self._cloud.bandwidth_of(self))
            took_s += spent
        return took_s

    async def _let_go(self) -> None:
        """Post-copy: the guest runs on the target, which has yet to get its pages."""
        self._post_copy_begun = True
        self._guest.become(State.PAUSED, Reason.POSTCOPY)
        self._tell(self._source, Change.SUSPENDED, "postcopy")
        await self._cloud.time.sleep(self._cloud.switch_s)
        self._stopped_s = self._cloud.switch_s
        self._incoming.domain = replace(self._incoming.domain, persistent=True)
        self._tell(self._target, Change.DEFINED, "")
        self._incoming.become(State.RUNNING, Reason.POSTCOPY)
        self._tell(self._target, Change.RESUMED, "postcopy")
        await self._fetch()

    async def _fetch(self) -> None:
        while self._copying.remaining > 0:
            await self._cloud.time.sleep(self._cloud.tick_s)
            await self._check()
            if self.broken:
                raise MigrationFailed("operation failed: job 'migration out' failed in post-copy phase")
            self._take(self._cloud.tick_s * self.rate)
        self._incoming.become(State.RUNNING, Reason.MIGRATED)
        self._tell(self._target, Change.RESUMED, "migrated")
        await self._end(self._stopped_s)

    def _take(self, amount: float) -> None:
        left = self._copying.remaining - amount
        sent = self._copying.sent + min(amount, self._copying.remaining)
        self._copying = replace(self._copying, remaining=left if left >= 1 else 0.0, sent=sent)

    async def _end(self, downtime_s: float) -> None:
        completed = self._completed(downtime_s)
        self._guest.completed = self._incoming.completed = completed
        await self._cloud.time.sleep(0)
        self._incoming.work(Job.NONE)
        stop(self._source, self._guest, Reason.MIGRATED, "migrated", self._cloud.time.now())

    @property
    def _waits(self) -> bool:
        """It has arrived stopped."""
        domain = self._incoming.domain
        return self._arrives_paused and (domain.state, domain.reason) == (State.PAUSED, Reason.USER)

    def _arrive(self, *, runs: bool) -> None:
        self._incoming.domain = replace(self._incoming.domain, persistent=True)
        self._tell(self._target, Change.DEFINED, "")
        if runs:
            self._incoming.become(State.RUNNING, Reason.MIGRATED)
            self._tell(self._target, Change.RESUMED, "migrated")
        else:
            self._incoming.become(State.PAUSED, Reason.USER)
            self._tell(self._target, Change.SUSPENDED, "paused")

    def _fail(self) -> None:
        """In post-copy neither host has the whole guest: both keep what they have. Before, it is as it was."""
        if self._post_copy_begun and self._guest.active and self._incoming.active:
            self.broken = True
            self._guest.become(State.PAUSED, Reason.POSTCOPY_FAILED)
            self._tell(self._source, Change.SUSPENDED, "postcopy-failed")
            self._incoming.become(State.RUNNING, Reason.POSTCOPY_FAILED)
            self._tell(self._target, Change.RESUMED, "postcopy-failed")
            return
        self._guest.migration = None
        self._roll_back()

    def _roll_back(self) -> None:
        """The guest is on the source as it was, and gone on the target, unless it has arrived there and waits: then only its
        answer was lost."""
        if self._waits:
            self._incoming.work(Job.NONE)
        elif self._target.guests.get(self.uuid) is self._incoming:
            stop(self._target, self._incoming, Reason.FAILED, "failed", self._cloud.time.now())
        if self._guest.active:
            self._guest.work(Job.NONE)
        if self._guest.domain.state is State.PAUSED and self._guest.domain.reason is Reason.MIGRATION:
            self._guest.become(State.RUNNING, Reason.MIGRATION_CANCELED)
            self._tell(self._source, Change.RESUMED, "migrated")

    def _completed(self, downtime_s: float) -> Completed:
        return Completed(
            downtime_ms=int(1000 * downtime_s),
            elapsed_ms=self._elapsed_ms(),
            total=self._guest.load.memory,
            processed=int(self._copying.sent),
            iterations=self._copying.iteration,
        )

    def _elapsed_ms(self) -> int:
        return int(1000 * (self._cloud.time.now() - self._began))

    def _tell(self, host: FakeHost, change: Change, detail: str) -> None:
        host.tell(self.uuid, change, detail, self._cloud.time.now())


def _more(throttle: int, by: Throttling) -> int:
    return min(_THROTTLE_MOST, throttle + by.increment if throttle else by.initial)


def _arriving(guest: Guest, to: Destination) -> Guest:
    domain = replace(
        guest.domain,
        state=State.PAUSED,
        reason=Reason.MIGRATION,
        job=Job.MIGRATION_IN,
        persistent=False,
        autostart=False,
    )
    return Guest(to.domain_xml or guest.definition, domain, guest.load)

"""Hosts in memory that keep the port's contract: guests that dirty pages, links with a bandwidth, faults on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never
from uuid import UUID, uuid5
from xml.etree import ElementTree

from app.hypervisor import domain_facts
from app.hypervisor.base import (
    Abort,
    Aborted,
    Busy,
    Candidate,
    Certificate,
    Change,
    Completed,
    CopyPhase,
    Destination,
    Domain,
    DomainExists,
    DomainGone,
    GuestCpus,
    Host,
    Hypervisor,
    HypervisorError,
    Incompatible,
    Inspection,
    Job,
    Lifecycle,
    Mark,
    MigrationFailed,
    PeerRefused,
    Progress,
    Reason,
    Refused,
    SetBandwidth,
    SetDowntime,
    State,
    Steer,
    StopAndCopy,
    SwitchToPostCopy,
    Throttling,
    Unreachable,
    Unsafe,
)
from app.hypervisor.domain_facts import DomainFacts
from app.hypervisor.domain_tree import BadXml
from app.hypervisor.precopy import Copying, Load, advanced, begun, stopped
from app.hypervisor.strikes import Step, Strike, Strikes, no_strike
from app.hypervisor.subscription import Subscriptions, disconnected
from app.hypervisor.virtual_time import RealTime, Time

MIB = 1 << 20
SCHEME = "fake://"
_NAMESPACE = UUID("5b0f5a86-0a3c-4d3e-9d0e-0f5d6d5c0f6e")
DISK = 64 * MIB
CHUNK = 256 * 1024
_ACTIVE = frozenset({State.RUNNING, State.PAUSED, State.SHUTTING_DOWN, State.CRASHED})


EPYC = GuestCpus("qemu", "EPYC", ("EPYC", "Nehalem", "qemu64"))


@dataclass(slots=True)
class Guest:
    """A domain on one host. While it moves there are two of them."""

    definition: str
    domain: Domain
    load: Load
    migration: Migration | None = None
    """The one that takes it away from here."""
    completed: Completed | None = None
    snapshots: int = 0
    block_jobs: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return self.domain.state in _ACTIVE

    def become(self, state: State, reason: Reason) -> None:
        self.domain = replace(self.domain, state=state, reason=reason)

    def work(self, job: Job) -> None:
        self.domain = replace(self.domain, job=job)


@dataclass(slots=True)
class Faults:
    """What is wrong with a host at the moment. Tests set them at any time."""

    cut_off: bool = False
    """Neither Drover nor other hosts reach it; its guests go on."""
    unplugged: bool = False
    """Other hosts do not reach it; Drover does."""
    shut_out_of: frozenset[str] = frozenset()
    """Hosts that let it in no more: its certificates do not count there."""
    lacks_post_copy: bool = False
    """Its QEMU may not fetch pages that are not there yet."""
    slow_s: float = 0.0
    """Every answer takes so much longer."""
    workers_busy: bool = False
    """It answers only what needs no worker: state, but neither job nor mark, nor how it is."""
    refuses_to_start: str = ""
    """The text with which it refuses every start and every arriving guest."""


@dataclass(slots=True)
class FakeHost:
    """A host: its guests, its listeners, its faults."""

    name: str
    cpus: int = 8
    memory: int = 16 << 30
    cpu: GuestCpus = EPYC
    hugepages: tuple[tuple[int, int], ...] = ()
    networks: tuple[str, ...] = ("default",)
    interfaces: tuple[str, ...] = ("br0", "eth0")
    guests: dict[UUID, Guest] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """Disks, and how large they are. A guest whose disk is not here has one of DISK bytes all the same."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """What is in those of which it matters; zeros follow it, and fill the others."""
    disk_free: int = 1 << 40
    """Bytes free for further files."""
    faults: Faults = field(default_factory=Faults)
    connections: set[FakeHypervisor] = field(default_factory=set)
    certificates: tuple[Certificate, ...] = ()
    """On the way to it."""
    told: Callable[[], None] = lambda: None
    """Called after each change of a guest."""

    @property
    def memory_taken(self) -> int:
        """By guests that run here or arrive."""
        return sum(guest.domain.memory for guest in self.guests.values() if guest.active)

    @property
    def uri(self) -> str:
        return f"{SCHEME}{self.name}"

    @property
    def uuid(self) -> UUID:
        return uuid5(_NAMESPACE, self.name)

    @property
    def leaving(self) -> int:
        """Guests that are being copied away."""
        return sum(guest.migration is not None for guest in self.guests.values())

    @property
    def arriving(self) -> int:
        return sum(guest.domain.job is Job.MIGRATION_IN for guest in self.guests.values())

    def guest(self, uuid: UUID) -> Guest:
        try:
            return self.guests[uuid]
        except KeyError:
            raise DomainGone(f"no domain {uuid} on {self.name}") from None

    def tell(self, uuid: UUID, change: Change, detail: str, at: float) -> None:
        for connection in self.connections:
            connection.subscriptions.tell(Lifecycle(uuid, change, detail, at))
        self.told()

    def forget(self, uuid: UUID) -> None:
        """What is left of a domain that has stopped: its definition, if it had one."""
        if not self.guests[uuid].domain.persistent:
            del self.guests[uuid]


class FakeCloud:
    """Some hosts and the network between them. It owns the migrations: they go on when their clients die."""

    def __init__(
        self,
        *names: str,
        time: Time | None = None,
        bandwidth: int = 256 * MIB,
        tick_s: float = 0.02,
        peer_timeout_s: float = 26.0,
        switch_s: float = 0.0,
    ) -> None:
        self.time = time or RealTime()
        self.bandwidth = bandwidth
        """Of every link of which `links` says nothing, bytes per second; migrations out of or into one host share it."""
        self.links: dict[tuple[str, str], int] = {}
        """By source and target."""
        self.strikes: Strikes = no_strike
        """Asked at each step of each migration what goes wrong."""
        self.watch: Callable[[], None] = lambda: None
        """Called after each change of any guest."""
        self.tick_s = tick_s
        self.peer_timeout_s = peer_timeout_s
        """How long two hosts take to notice that one of them is cut off."""
        self.switch_s = switch_s
        """What a switch-over takes beside the memory that is left: the state of the devices."""
        self.hosts = {name: FakeHost(name, told=lambda: self.watch()) for name in names}
        self.loads: dict[UUID, Load] = {}
        """How a guest behaves once it is started; idle where nothing is said."""
        self.sending: set[Migration] = set()
        """Migrations that are under way."""
        self._jobs: set[asyncio.Task[HypervisorError | None]] = set()

    def __getitem__(self, name: str) -> FakeHost:
        return self.hosts[name]

    def at(self, uri: str) -> FakeHost | None:
        """The host that answers there."""
        host = self.hosts.get(uri.removeprefix(SCHEME)) if uri.startswith(SCHEME) else None
        return host if host is not None and not host.faults.cut_off else None

    def cut_off(self, name: str) -> None:
        """Its connections break; nobody reaches it until `mend`."""
        self.hosts[name].faults.cut_off = True
        self.disconnect(name)

    def disconnect(self, name: str) -> None:
        """Its connections break, as when its daemon restarts."""
        for connection in tuple(self.hosts[name].connections):
            connection.broke(f"the connection to {connection.uri} was lost")

    def unplug(self, name: str) -> None:
        """Other hosts do not reach it until `mend`."""
        self.hosts[name].faults.unplugged = True

    def work(self, uuid: UUID, load: Load) -> None:
        """From now on the guest behaves so, wherever it is."""
        self.loads[uuid] = load
        for host in self.hosts.values():
            if (guest := host.guests.get(uuid)) is not None:
                guest.load = load

    def mend(self, name: str) -> None:
        self.hosts[name].faults = Faults()

    def die(self, name: str, uuid: UUID, reason: Reason = Reason.CRASHED) -> None:
        """A guest ends by itself: CRASHED, or SHUTDOWN when it powers itself off."""
        host = self.hosts[name]
        stop(host, host.guest(uuid), reason, reason.value, self.time.now())

    def bandwidth_of(self, migration: Migration) -> float:
        """Its share of the link, bytes per second."""
        out = sum(other.source == migration.source for other in self.sending)
        into = sum(other.target == migration.target for other in self.sending)
        link = self.links.get((migration.source, migration.target), self.bandwidth)
        return link / max(1, out, into)

    def launch(
        self, uuid: UUID, work: Coroutine[None, None, HypervisorError | None]
    ) -> asyncio.Task[HypervisorError | None]:
        job = asyncio.create_task(work, name=f"migration of {uuid}")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def close(self) -> None:
        """Every migration ends where it is. Twice is harmless."""
        jobs = tuple(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


def stop(host: FakeHost, guest: Guest, reason: Reason, detail: str, at: float) -> None:
    """The guest's QEMU has ended."""
    uuid = guest.domain.uuid
    guest.become(State.SHUTOFF, reason)
    guest.work(Job.NONE)
    host.tell(uuid, Change.STOPPED, detail, at)
    host.forget(uuid)


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
                if step is not Step.ARRIVED:
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
        """The source stays stopped, without a job. A copy that did not run yet ends; one that runs goes on."""
        self._guest.migration = None
        self._guest.work(Job.NONE)
        self._incoming.work(Job.NONE)
        if self._incoming.domain.state is not State.RUNNING:
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
        self._arrive(runs=stopped)
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
        """The guest is on the source as it was, and gone on the target."""
        if self._target.guests.get(self.uuid) is self._incoming:
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


def _disks(definition: str) -> dict[str, str]:
    """The paths of the disks that the guest writes to."""
    disks = domain_facts.read(definition).disks
    return {disk.target: disk.path for disk in disks if disk.path and not disk.read_only}


class FakeHypervisors:
    """Connections into one cloud."""

    def __init__(self, cloud: FakeCloud, deadline_s: float = 10.0) -> None:
        self._cloud = cloud
        self._deadline_s = deadline_s
        self._opened: set[FakeHypervisor] = set()

    async def connect(self, uri: str, credentials: str = "") -> Hypervisor:
        host = self._cloud.at(uri)
        if host is None:
            raise Unreachable(f"no host answers at {uri}")
        await _answer(self._cloud, host, self._deadline_s)
        opened = FakeHypervisor(self._cloud, host, self._deadline_s)
        self._opened = {one for one in self._opened if one.connected} | {opened}
        return opened

    async def certificates(self, uri: str, credentials: str = "") -> Sequence[Certificate]:
        """Ours is told of also while the host does not answer."""
        return next((host.certificates for host in self._cloud.hosts.values() if host.uri == uri), ())

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        self._opened = set()


class FakeHypervisor:
    """One connection to a host of the cloud."""

    def __init__(self, cloud: FakeCloud, host: FakeHost, deadline_s: float) -> None:
        self._cloud = cloud
        self._host = host
        self._deadline_s = deadline_s
        self._gone = asyncio.Event()
        self._why = ""
        self.subscriptions = Subscriptions()
        host.connections.add(self)

    @property
    def uri(self) -> str:
        return self._host.uri

    @property
    def connected(self) -> bool:
        return not self._gone.is_set()

    def broke(self, why: str) -> None:
        if self._gone.is_set():
            return
        self._why = why
        self._gone.set()
        self._host.connections.discard(self)
        self.subscriptions.tell(disconnected(self._cloud.time.now()))

    async def host(self) -> Host:
        await self._reach()
        if self._host.faults.workers_busy:
            raise Busy("no worker was free: the host answers, but takes no work")
        return Host(
            uuid=self._host.uuid,
            hostname=self._host.name,
            arch="x86_64",
            cpus=self._host.cpus,
            memory=self._host.memory,
            memory_free=max(0, self._host.memory - self._host.memory_taken),
            hypervisor_version="7.2.0",
            libvirt_version="9.0.0",
            cpu_model=self._host.cpu.model,
            machine_types=("pc", "q35"),
            guest_cpus=(self._host.cpu,),
            hugepages=self._host.hugepages,
            networks=self._host.networks,
            interfaces=self._host.interfaces,
        )

    async def domains(self) -> list[Domain]:
        await self._reach()
        return [self._seen(guest.domain) for guest in self._host.guests.values()]

    async def look(self, domain: UUID) -> Domain:
        await self._reach()
        guest = self._host.guests.get(domain)
        return Domain(domain, State.ABSENT) if guest is None else self._seen(guest.domain)

    async def definition(self, domain: UUID) -> str:
        return (await self._guest(domain)).definition

    async def inspect(self, domain: UUID) -> Inspection:
        guest = await self._active(domain)
        return Inspection(guest.definition, guest.snapshots, guest.block_jobs)

    async def judge(self, guest: Candidate) -> None:
        await self._reach()
        for uuid, other in self._host.guests.items():
            if (uuid == guest.uuid and other.active) or (uuid != guest.uuid and other.domain.name == guest.name):
                raise DomainExists(f"a domain {other.domain.name} ({uuid}) is there")
        model = ElementTree.fromstring(guest.cpu_xml).findtext("model") if guest.cpu_xml else None
        if model and model not in self._host.cpu.models:
            raise Incompatible(f"the CPU is incompatible with host CPU: {self._host.name} has no {model}")

    async def reach(self, peer_uri: str) -> None:
        await self._reach()
        peer = self._cloud.at(peer_uri)
        shut_out = peer is not None and peer.name in self._host.faults.shut_out_of
        if peer is None or peer.faults.cut_off or peer.faults.unplugged or self._host.faults.unplugged or shut_out:
            raise PeerRefused(f"unable to connect to server at '{peer_uri}'")

    async def disk_sizes(self, domain: UUID) -> Mapping[str, int]:
        disks = _disks((await self._active(domain)).definition)
        return {target: self._host.files.get(path, DISK) for target, path in disks.items()}

    async def disk_usage(self, domain: UUID) -> Mapping[str, int]:
        return await self.disk_sizes(domain)

    async def find_file(self, path: str) -> int | None:
        await self._reach()
        return self._host.files.get(path)

    async def free_space(self, path: str) -> int | None:
        await self._reach()
        return self._host.disk_free

    async def read_file(self, path: str) -> AsyncGenerator[bytes, None]:
        await self._reach()
        if path not in self._host.files:
            raise Refused(f"Storage volume not found: no storage vol with matching name {path!r}")
        content = self._host.contents.get(path, b"").ljust(self._host.files[path], b"\0")
        for at in range(0, len(content), CHUNK):
            await self._reach()
            yield content[at : at + CHUNK]

    async def write_file(self, path: str, size: int, content: AsyncIterator[bytes]) -> None:
        await self.make_disk(path, "raw", size)
        arrived, whole = [], False
        try:
            async for chunk in content:
                await self._reach()
                arrived.append(chunk)
            self._host.contents[path], whole = b"".join(arrived), True
        finally:
            if not whole:
                self._host.files.pop(path, None)

    async def make_disk(self, path: str, form: str, size: int) -> None:
        await self._reach()
        if path in self._host.files:
            raise Refused(f"storage volume {path!r} exists already")
        self._host.files[path] = size

    async def remove_disk(self, path: str) -> None:
        await self._reach()
        self._host.files.pop(path, None)

    async def define_and_start(self, domain_xml: str, *, paused: bool = False) -> None:
        await self._reach()
        uuid, facts = _read(domain_xml)
        former = self._host.guests.get(uuid)
        if former is not None and former.active:
            return
        if any(other.domain.name == facts.name and key != uuid for key, other in self._host.guests.items()):
            raise DomainExists(f"domain {facts.name!r} already exists on {self._host.name}")
        if refusal := self._host.faults.refuses_to_start:
            raise Refused(refusal)
        if facts.type not in ("qemu", ""):
            raise Incompatible(f"{self._host.name} does not support virt type {facts.type!r}")
        if self._host.memory_taken + facts.memory > self._host.memory:
            raise Refused(f"cannot set up guest memory: {self._host.name} has no room for {facts.memory} bytes")
        guest = self._defined(facts, uuid, domain_xml)
        self._host.guests[uuid] = guest
        self._tell(uuid, Change.DEFINED, "")
        guest.become(State.RUNNING, Reason.BOOTED)
        if paused:
            guest.become(State.PAUSED, Reason.USER)
        self._tell(uuid, Change.STARTED, "booted")

    async def power_off(self, domain: UUID) -> None:
        guest = await self._guest(domain)
        if guest.domain.state is State.RUNNING:
            self._tell(domain, Change.SHUTDOWN, "")
            stop(self._host, guest, Reason.SHUTDOWN, "shutdown", self._cloud.time.now())

    async def destroy(self, domain: UUID, *, unless_running: bool = False) -> None:
        guest = await self._guest(domain)
        if not guest.active:
            return
        if unless_running and guest.domain.state not in (State.PAUSED, State.CRASHED):
            raise Refused(f"{guest.domain.name} runs: it is not destroyed")
        stop(self._host, guest, Reason.DESTROYED, "destroyed", self._cloud.time.now())

    async def suspend(self, domain: UUID) -> None:
        guest = await self._active(domain)
        if guest.domain.state is not State.PAUSED:
            guest.become(State.PAUSED, Reason.USER)
            self._tell(domain, Change.SUSPENDED, "paused")

    async def resume(self, domain: UUID) -> None:
        guest = await self._active(domain)
        if guest.domain.state is not State.RUNNING:
            guest.become(State.RUNNING, Reason.USER)
            self._tell(domain, Change.RESUMED, "unpaused")

    async def undefine(self, domain: UUID) -> None:
        await self._reach()
        guest = self._host.guests.get(domain)
        if guest is None:
            return
        if guest.active:
            raise Refused(f"{guest.domain.name} is active: only an inactive domain is undefined")
        del self._host.guests[domain]
        self._tell(domain, Change.UNDEFINED, "")

    async def make_transient(self, domain: UUID) -> None:
        guest = await self._guest(domain)
        if not guest.active:
            raise Refused(f"{guest.domain.name} is not active: nothing would be left of it")
        if guest.domain.persistent:
            guest.domain = replace(guest.domain, persistent=False, autostart=False)
            self._tell(domain, Change.UNDEFINED, "")

    async def set_autostart(self, domain: UUID, on: bool) -> None:
        guest = await self._guest(domain)
        if not guest.domain.persistent:
            raise Refused(f"{guest.domain.name} is transient: it cannot start by itself")
        guest.domain = replace(guest.domain, autostart=on)

    async def mark(self, domain: UUID, mark: Mark) -> None:
        guest = await self._guest(domain)
        if guest.domain.job is not Job.NONE:
            raise Busy(f"{guest.domain.name} has a job ({guest.domain.job.value}): it cannot be marked now")
        guest.domain = replace(guest.domain, mark=mark)

    async def migrate(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        guest = await self._active(domain)
        if still is not None:
            still()
        if guest.domain.job is not Job.NONE:
            raise Busy(f"{guest.domain.name} has a job ({guest.domain.job.value})")
        migration = Migration(self._cloud, self._host, self._target(guest, to), guest, to)
        guest.migration = migration
        guest.work(Job.MIGRATION_OUT)
        await self._follow(self._cloud.launch(migration.uuid, migration.run()))

    async def recover(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        guest = await self._active(domain)
        migration = guest.migration
        if still is not None:
            still()
        if migration is None or not migration.broken:
            raise Refused(f"{guest.domain.name} has no post-copy that broke")
        if migration.is_apart:
            raise MigrationFailed("unable to connect to the target")
        await self._follow(self._cloud.launch(migration.uuid, migration.go_on()))

    async def _follow(self, job: asyncio.Task[HypervisorError | None]) -> None:
        """To its end, or that of this connection: the job goes on without."""
        ending = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({job, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        if not job.done():
            raise Unreachable(self._why)
        if (error := job.result()) is not None:
            raise error

    async def progress(self, domain: UUID) -> Progress | None:
        migration = (await self._guest(domain)).migration
        return None if migration is None else migration.progress()

    async def completed(self, domain: UUID) -> Completed | None:
        return (await self._guest(domain)).completed

    async def steer(self, domain: UUID, steer: Steer) -> None:
        guest = await self._guest(domain)
        migration = guest.migration
        if migration is None:
            raise Refused(f"{guest.domain.name} is not migrating away from here")
        match steer:
            case SetDowntime(ms):
                migration.max_downtime_s = ms / 1000
            case SetBandwidth(bytes_per_second):
                migration.bandwidth = bytes_per_second
            case SwitchToPostCopy():
                if not migration.allows_post_copy:
                    raise Refused("the migration was not begun with post-copy")
                migration.switching = True
            case StopAndCopy():
                migration.stopping = True
            case Abort():
                if migration.in_post_copy:
                    raise Refused("cannot abort a migration in post-copy")
                migration.aborted = True
            case _:
                assert_never(steer)

    def lifecycle(self) -> AsyncIterator[Lifecycle]:
        subscription = self.subscriptions.open()
        if self._gone.is_set():
            subscription.put(disconnected(self._cloud.time.now()))
        return subscription

    async def close(self) -> None:
        self.broke(f"the connection to {self.uri} was closed")

    async def _reach(self) -> None:
        """Every call takes its time and meets its deadline; an overrun breaks the connection."""
        if self.connected:
            try:
                await _answer(self._cloud, self._host, self._deadline_s)
            except Unreachable as error:
                self.broke(error.text)
        if not self.connected:
            raise Unreachable(self._why)

    async def _guest(self, domain: UUID) -> Guest:
        await self._reach()
        return self._host.guest(domain)

    async def _active(self, domain: UUID) -> Guest:
        guest = await self._guest(domain)
        if not guest.active:
            raise Refused(f"{guest.domain.name} is not running")
        return guest

    def _seen(self, domain: Domain) -> Domain:
        if not self._host.faults.workers_busy or domain.state not in _ACTIVE:
            return domain
        return replace(domain, job=Job.OTHER, mark=None, vcpus=0)

    def _defined(self, facts: DomainFacts, uuid: UUID, domain_xml: str) -> Guest:
        domain = Domain(
            uuid=uuid,
            state=State.SHUTOFF,
            name=facts.name,
            persistent=True,
            mark=facts.mark,
            memory=facts.memory,
            vcpus=facts.vcpus,
        )
        return Guest(domain_xml, domain, self._cloud.loads.get(uuid, Load(facts.memory)))

    def _target(self, guest: Guest, to: Destination) -> FakeHost:
        target, domain = self._cloud.at(to.peer_uri), guest.domain
        if target is None:
            raise MigrationFailed(f"no host answers at {to.peer_uri}")
        if target is self._host:
            raise MigrationFailed("attempt to migrate guest to the same host")
        if target.faults.unplugged or self._host.faults.unplugged:
            raise MigrationFailed(f"no host answers at {to.peer_uri}")
        if to.post_copy and (target.faults.lacks_post_copy or self._host.faults.lacks_post_copy):
            raise MigrationFailed("internal error: post-copy is not supported")
        if refusal := target.faults.refuses_to_start:
            raise MigrationFailed(refusal)
        if target.memory_taken + domain.memory > target.memory:
            raise MigrationFailed(f"cannot set up guest memory: {target.name} has no room for {domain.memory} bytes")
        self._check_disks(guest, target, to)
        here = target.guests.get(domain.uuid)
        taken = any(other.domain.name == domain.name for uuid, other in target.guests.items() if uuid != domain.uuid)
        if taken or (here is not None and here.active):
            raise MigrationFailed(f"domain {domain.name!r} already exists on {target.name}")
        return target

    def _check_disks(self, guest: Guest, target: FakeHost, to: Destination) -> None:
        """Nothing is shared but what the caller says is."""
        if not to.unsafe and set(_disks(guest.definition)) - set(to.disks):
            raise Unsafe("Unsafe migration: Migration without shared storage is unsafe")
        there = _disks(to.domain_xml or guest.definition)
        if missing := next((there[disk] for disk in to.disks if there[disk] not in target.files), None):
            raise MigrationFailed(f"cannot access storage file {missing!r}")

    def _tell(self, uuid: UUID, change: Change, detail: str) -> None:
        self._host.tell(uuid, change, detail, self._cloud.time.now())


async def _answer(cloud: FakeCloud, host: FakeHost, deadline_s: float) -> None:
    await cloud.time.sleep(min(host.faults.slow_s, deadline_s))
    if host.faults.slow_s >= deadline_s:
        raise Unreachable(f"{host.uri} did not answer within {deadline_s:g} s")


def _read(domain_xml: str) -> tuple[UUID, DomainFacts]:
    try:
        facts = domain_facts.read(domain_xml)
    except BadXml as error:
        raise Refused(f"the definition {error}") from error
    if facts.uuid is None:
        raise Refused("the definition has no UUID")
    return facts.uuid, facts

"""The hosts, their guests, what goes wrong with them, and the network between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from app.hypervisor.base import (
    Certificate,
    Change,
    Completed,
    Domain,
    DomainGone,
    GuestCpus,
    HypervisorError,
    Job,
    Lifecycle,
    Reason,
    State,
)
from app.hypervisor.precopy import Load
from app.hypervisor.strikes import Strikes, no_strike
from app.hypervisor.virtual_time import RealTime, Time

if TYPE_CHECKING:
    from app.hypervisor.fake.driver import FakeHypervisor
    from app.hypervisor.fake.migration import Migration

MIB = 1 << 20
_SCHEME = "fake://"
_NAMESPACE = UUID("5b0f5a86-0a3c-4d3e-9d0e-0f5d6d5c0f6e")
ACTIVE = frozenset({State.RUNNING, State.PAUSED, State.SHUTTING_DOWN, State.CRASHED})
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
        return self.domain.state in ACTIVE

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
    dropped_to: dict[str, asyncio.Event] = field(default_factory=dict)
    """Hosts to which its first packets are lost until that is set: only then they answer."""
    lacks_post_copy: bool = False
    """Its QEMU may not fetch pages that are not there yet."""
    slow_s: float = 0.0
    """Every answer takes so much longer."""
    workers_busy: bool = False
    """It answers only what needs no worker: state, but neither job nor mark, nor how it is."""
    ails: str = ""
    """The text with which libvirt answers who asks how the host is: it lacks QEMU, say."""
    refuses_to_start: str = ""
    """The text with which it refuses every start and every arriving guest."""
    cannot_end: str = ""
    """The text with which libvirt says that it cannot end a guest: its process hangs."""


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
    """Disks, and how large they are. A guest whose disk is not here has one of 64 MiB all the same."""
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
        return f"{_SCHEME}{self.name}"

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
        host = self.hosts.get(uri.removeprefix(_SCHEME)) if uri.startswith(_SCHEME) else None
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

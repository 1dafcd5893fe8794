"""Connections to the hosts: the port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import assert_never
from uuid import UUID
from xml.etree import ElementTree

from app.hypervisor import domain_facts
from app.hypervisor.base import (
    Abort,
    Busy,
    Candidate,
    Certificate,
    Change,
    Completed,
    Destination,
    Domain,
    DomainExists,
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
    Unreachable,
    Unsafe,
)
from app.hypervisor.domain_facts import DomainFacts
from app.hypervisor.domain_tree import BadXml
from app.hypervisor.fake.cloud import ACTIVE, MIB, FakeCloud, FakeHost, Guest, stop
from app.hypervisor.fake.migration import Migration
from app.hypervisor.precopy import Load
from app.hypervisor.subscription import Subscriptions, disconnected

_DISK = 64 * MIB
"""Of a guest whose disk is not among the host's files."""
_CHUNK = 256 * 1024
IMPATIENT_S, PATIENT_S = 8.0, 150.0
"""How long a silent peer is waited for: the real driver's."""


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
        if self._host.faults.ails:
            raise Refused(self._host.faults.ails)
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

    async def reach(self, peer_uri: str, *, patient: bool = False) -> None:
        await self._reach()
        peer = self._cloud.at(peer_uri)
        if peer is not None and (dropped := self._host.faults.dropped_to.get(peer.name)) is not None:
            async with asyncio.timeout(PATIENT_S if patient else IMPATIENT_S):
                await dropped.wait()
        shut_out = peer is not None and peer.name in self._host.faults.shut_out_of
        if peer is None or peer.faults.cut_off or peer.faults.unplugged or self._host.faults.unplugged or shut_out:
            raise PeerRefused(f"unable to connect to server at '{peer_uri}'")

    async def disk_sizes(self, domain: UUID) -> Mapping[str, int]:
        disks = _disks((await self._active(domain)).definition)
        return {target: self._host.files.get(path, _DISK) for target, path in disks.items()}

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
        for at in range(0, len(content), _CHUNK):
            await self._reach()
            yield content[at : at + _CHUNK]

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
        if self._host.faults.cannot_end:
            raise Refused(self._host.faults.cannot_end)
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
        if not self._host.faults.workers_busy or domain.state not in ACTIVE:
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
        if to.post_copy and to.paused:
            raise Incompatible("post-copy migration is not supported with non-live or paused migration")
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


def _disks(definition: str) -> dict[str, str]:
    """The paths of the disks that the guest writes to."""
    disks = domain_facts.read(definition).disks
    return {disk.target: disk.path for disk in disks if disk.path and not disk.read_only}

"""The hypervisor's port: what a host is asked and told. Every promise is about where the guest is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class HypervisorError(Exception):
    """Base of all. `code` and `text` are libvirt's own where there are any."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Unreachable(HypervisorError):
    """The host did not answer, or the connection broke in mid-call: nobody knows what happened. Ask again later."""


class DomainGone(HypervisorError):
    """The host answers and does not know the domain."""


class DomainExists(HypervisorError):
    """Another domain has that name or UUID there."""


class Incompatible(HypervisorError):
    """This host can never take this guest or definition; the text says why. Trying again here does not help."""


class Unsafe(Incompatible):
    """libvirt knows that the guest writes to a disk that the target cannot reach. Nothing has moved: the disk must be copied."""


class Aborted(HypervisorError):
    """The migration was cancelled, libvirt says. It says so, too, of a guest that was destroyed on the way: ask both hosts."""


class MigrationFailed(HypervisorError):
    """The migration ended with an error. Where the guest is must be asked of both hosts."""


class Busy(HypervisorError):
    """Another job holds the domain, or every worker of the host."""


class PeerRefused(HypervisorError):
    """This host cannot open a connection to the other host: nobody answers there, or it lacks what lets it in."""


class Refused(HypervisorError):
    """Any other error of libvirt's, with its text: a bad definition, an operation that its state forbids."""


class State(StrEnum):
    """libvirt's domain states, and ABSENT for a host that answers and does not know the domain."""

    ABSENT = "absent"
    RUNNING = "running"
    PAUSED = "paused"
    SHUTOFF = "shutoff"
    CRASHED = "crashed"
    SHUTTING_DOWN = "shutting-down"


class Reason(StrEnum):
    """libvirt's reasons, as far as a decision needs them; everything else is OTHER."""

    OTHER = "other"
    BOOTED = "booted"
    MIGRATION = "migration"
    """PAUSED: the source at the switch-over, or the target before it."""
    STARTING_UP = "starting-up"
    MIGRATED = "migrated"
    """RUNNING: arrived here. SHUTOFF: left from here."""
    MIGRATION_CANCELED = "migration-canceled"
    POSTCOPY = "postcopy"
    POSTCOPY_FAILED = "postcopy-failed"
    USER = "user"
    SHUTDOWN = "shutdown"
    """SHUTOFF: the guest powered itself off."""
    DESTROYED = "destroyed"
    CRASHED = "crashed"
    FAILED = "failed"
    """SHUTOFF: it could not start, or an incoming migration failed."""


class Job(StrEnum):
    """What libvirt works on for the domain."""

    NONE = "none"
    MIGRATION_OUT = "migration-out"
    MIGRATION_IN = "migration-in"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Mark:
    """Drover's own metadata in a domain: it travels with the guest. Written once before a migration, never during one."""

    store: str = ""
    """Which Drover store manages the guest (its id), so that two of them never fight over one host."""
    vm: str = ""
    """namespace/name of the VirtualMachine."""
    migration: str = ""
    """UID of the last Migration that touched it."""
    attempt: int = 0
    released: bool = False
    """The operator deleted the adopted VirtualMachine: leave the guest alone."""
    adopted: bool = False
    """Somebody else defined the guest: its definition goes only from where a migration took it away."""
    autostart: bool = False
    """A migration took the flag off: to be set again wherever the guest is when that is over."""
    transient: bool = False
    """The guest had no definition before a migration gave it one: to be made transient again when that is over."""
    stopped: bool = False
    """A migration lets the guest, which runs, arrive stopped: a paused copy on its target has not been started there yet."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What a host says of one domain. For ABSENT only uuid and state mean anything."""

    uuid: UUID
    state: State
    reason: Reason = Reason.OTHER
    name: str = ""
    persistent: bool = False
    autostart: bool = False
    job: Job = Job.NONE
    mark: Mark | None = None
    """Not known, rather than none, where the host had no worker free to say (job OTHER)."""
    memory: int = 0
    """Bytes, maximum."""
    vcpus: int = 0
    """0 where the host had no worker free to say (job OTHER)."""


@dataclass(frozen=True, slots=True)
class GuestCpus:
    """The CPUs that a host can give to guests of one domain type."""

    domain_type: str
    """kvm or qemu."""
    model: str = ""
    """The named model nearest to what the host can give."""
    models: tuple[str, ...] = ()
    """Every named model that it can give."""
    features: tuple[str, ...] = ()
    """Every feature that it can give; empty where libvirt does not tell."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a host is. Memory in bytes."""

    uuid: UUID
    hostname: str
    arch: str
    cpus: int
    memory: int
    memory_free: int
    hypervisor_version: str
    libvirt_version: str
    cpu_model: str = ""
    machine_types: tuple[str, ...] = ()
    domain_types: tuple[str, ...] = ("qemu",)
    """`kvm`, `qemu`: what it can run."""
    kernel: str = ""
    os_image: str = ""
    guest_cpus: tuple[GuestCpus, ...] = ()
    """By domain type."""
    hugepages: tuple[tuple[int, int], ...] = ()
    """(Size of a page, bytes in such pages, free or not)."""
    networks: tuple[str, ...] | None = None
    """Active libvirt networks; None where libvirt does not tell."""
    interfaces: tuple[str, ...] | None = None
    """Active interfaces and bridges of the host, those of guests apart; None where libvirt does not tell."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A running guest, as far as it decides whether it can be moved."""

    definition: str
    """Its live XML, with the CPU that it really has."""
    snapshots: int = 0
    """Snapshots that libvirt knows."""
    block_jobs: tuple[str, ...] = ()
    """Disks (`vda`) that libvirt is at work on."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A guest that may come to a host, as far as the host itself has a say in it."""

    uuid: UUID
    name: str
    domain_type: str = ""
    arch: str = ""
    machine: str = ""
    cpu_xml: str = ""
    """The `<cpu>` that it has; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a guest goes and how the hosts reach one another."""

    peer_uri: str
    """The target's libvirt URI as the source reaches it."""
    migration_uri: str | None = None
    """`tcp://…` or `unix:///…/a.sock` for the memory; None lets libvirt choose."""
    domain_xml: str | None = None
    """The guest's definition on the target, where it differs."""
    bandwidth: int | None = None
    """Bytes per second, also in post-copy; None is no cap. libvirt rounds to whole MiB/s."""
    unsafe: bool = False
    """Only under a declared shared path: libvirt's own judgement of shared storage is overruled."""
    post_copy: bool = False
    """SwitchToPostCopy may be said later. Raises MigrationFailed before anything moves where QEMU is not allowed to."""
    auto_converge: Throttling | None = None
    """Slow the guest down when it writes faster than its memory is sent."""
    parallel_connections: int = 0
    """Connections that carry memory side by side; 0 is the one ordinary connection. Not with post-copy."""
    compression: Compression | None = None
    paused: bool = False
    """It arrives stopped, and is resumed there when somebody says so. Not with post-copy: Incompatible."""
    max_downtime_ms: int | None = None
    """SetDowntime, from the start on; None leaves the hypervisor's own (QEMU's is 300 ms)."""
    switchover_bandwidth: int | None = None
    """Bytes per second that the link is believed to carry once the guest is stopped, when no cap holds: with a cap QEMU
    would reckon with the cap. Honoured by libvirt from 11.1 on."""
    disks: tuple[str, ...] = ()
    """Disks whose data are copied too, as the guest sees them: vda. Their files on the target, named in `domain_xml`, are there
    and as large as the source's."""
    disks_uri: str | None = None
    """`unix:///…/b.sock` for the disks, where memory takes such a way too."""
    tls: bool = False
    """Encrypt the stream between the hosts' QEMUs, or move nothing: a host without certificates fails the migration."""
    tls_name: str | None = None
    """What the target's certificate is to be made out to; None for the host in the migration's URI."""


@dataclass(frozen=True, slots=True)
class Throttling:
    """Percent of its time that the guest's CPUs are held back: at first, and how much more each time that was not enough."""

    initial: int
    increment: int


class Compression(StrEnum):
    """How memory is packed on its way."""

    XBZRLE = "xbzrle"
    """What changed of a page that was sent before. Without parallel connections."""
    ZLIB = "zlib"
    """From libvirt 9.4 on, with parallel connections."""
    ZSTD = "zstd"
    """From libvirt 9.4 on, with parallel connections."""


class CopyPhase(StrEnum):
    """Where the guest's CPUs are while its memory is copied."""

    LIVE = "live"
    """On the source, running or paused as somebody left them."""
    SWITCHING = "switching"
    """Stopped on the source by the migration."""
    POST_COPY = "post-copy"
    """On the target."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One sample of a running migration. Bytes, memory's and copied disks' together; rates per second."""

    total: int
    processed: int
    remaining: int
    memory_rate: int
    dirty_rate: int
    iteration: int
    elapsed_ms: int
    expected_downtime_ms: int | None = None
    """Of the capped rate where there is a cap."""
    phase: CopyPhase = CopyPhase.LIVE
    throttle: int = 0
    """Percent of its time that the guest's CPUs are held back."""
    page_size: int = 4096
    postcopy_requests: int = 0
    """Pages that the guest has waited for on the target."""
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0


@dataclass(frozen=True, slots=True)
class Completed:
    """What libvirt says of a migration after it succeeded."""

    downtime_ms: int | None
    elapsed_ms: int
    total: int
    processed: int
    iterations: int


@dataclass(frozen=True, slots=True)
class SetDowntime:
    ms: int


@dataclass(frozen=True, slots=True)
class SetBandwidth:
    bytes_per_second: int | None
    """None lifts the cap."""


@dataclass(frozen=True, slots=True)
class SwitchToPostCopy:
    """Let the guest run on the target now, and fetch the rest of its memory from there. Refused where the migration was not
    begun with `post_copy`. There is no way back: until the last page has arrived neither host alone has the whole guest."""


@dataclass(frozen=True, slots=True)
class StopAndCopy:
    """Stop the guest on the source now, and send the rest, without a cap, however long that takes. It is the switch-over
    without a limit of its downtime, not a pause: a copy that fails leaves it running on the source, as any switch-over does."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Give up: the guest stays on the source. Refused by libvirt once post-copy has begun."""


Steer = SetDowntime | SetBandwidth | SwitchToPostCopy | StopAndCopy | Abort


class Change(StrEnum):
    """libvirt's lifecycle events."""

    DEFINED = "defined"
    UNDEFINED = "undefined"
    STARTED = "started"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    STOPPED = "stopped"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"
    ITERATED = "iterated"
    """A pass over the memory of a leaving guest begins: what remains now is what it wrote during the last one."""
    DISCONNECTED = "disconnected"
    """The connection to the host ended: no more events come from it; connect again and list everything anew."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """An event, with the wall-clock second at which it arrived (time.time())."""

    domain: UUID
    change: Change
    detail: str = ""
    """`migrated`, `postcopy`, `booted`, `shutdown`, `destroyed`, `crashed`, `failed`, …"""
    at: float = field(default=0.0, compare=False)


class Holder(StrEnum):
    """Whose certificate it is."""

    CLIENT = "client"
    """What is shown to the host."""
    SERVER = "server"
    """What its libvirtd shows."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One on the way to a host, and until when it counts."""

    holder: Holder
    not_after: datetime


class Hypervisor(Protocol):
    """An open connection to one host. Every method has a deadline of its own and raises Unreachable; DomainGone where
    it names a domain that the host does not know (but for `look`, which answers ABSENT)."""

    @property
    def uri(self) -> str: ...

    @property
    def connected(self) -> bool:
        """False for good once the connection broke, overran a deadline or was closed: every call then raises Unreachable at
        once. Connect again."""

    async def host(self) -> Host:
        """Raises Busy if the host answers but takes no work: no ordinary worker of libvirt's is free for it."""

    async def domains(self) -> list[Domain]:
        """Every domain that the host knows, running or only defined."""

    async def look(self, domain: UUID) -> Domain:
        """State, reason, job and mark of one domain, ABSENT if unknown. Answers also while all of libvirt's ordinary
        workers are busy, then with job OTHER."""

    async def definition(self, domain: UUID) -> str:
        """The guest's migratable XML (live where it runs)."""

    async def inspect(self, domain: UUID) -> Inspection:
        """What libvirt would refuse a running guest's migration for. Raises Refused for an inactive one."""

    async def judge(self, guest: Candidate) -> None:
        """
        Whether this host would take that guest; nothing is changed. Raises Incompatible where its hypervisor cannot give the
        guest its CPU, by libvirt's own comparison, and DomainExists where another domain has its name, or an active one its
        UUID.
        """

    async def reach(self, peer_uri: str, *, patient: bool = False) -> None:
        """
        Whether this host's libvirt can open a connection to the other's, with what it has for that. No guest has a part in it.
        Raises PeerRefused where it cannot, and TimeoutError where that is not known within the deadline, which is some seconds,
        or, for a patient caller, longer than TCP tries; any other error says nothing of the peer.
        """

    async def disk_sizes(self, domain: UUID) -> Mapping[str, int]:
        """Bytes that the guest sees of each disk that it writes to, by the disk's name there: vda."""

    async def disk_usage(self, domain: UUID) -> Mapping[str, int]:
        """Bytes that each disk that it writes to takes on a host that it is copied to; of one that is layered on others, at
        most."""

    async def find_file(self, path: str) -> int | None:
        """Bytes in that file of the host; None where there is none."""

    async def free_space(self, path: str) -> int | None:
        """Bytes free in the file system of that file's folder; None where the folder is not there, or libvirt does not tell."""

    def read_file(self, path: str) -> AsyncGenerator[bytes, None]:
        """What is in that file, as it lies there, on a connection of its own. Raises Refused where there is none. Close it."""

    async def write_file(self, path: str, size: int, content: AsyncIterator[bytes]) -> None:
        """
        A new file of so many bytes, its folder too where there is none, on a connection of its own. Raises Refused where a
        file is there already, which is never touched; whatever `content` raises is raised here. Without success there is
        no file, unless the host went away: then there may be one.
        """

    async def make_disk(self, path: str, form: str, size: int) -> None:
        """An empty image in a new file, its folder too where there is none. Raises Refused where a file is there already, which
        is never touched, or with libvirt's text; then none was made."""

    async def remove_disk(self, path: str) -> None:
        """Remove the file. None there is success."""

    async def define_and_start(self, domain_xml: str, *, paused: bool = False) -> None:
        """Define (persistent, no autostart) and start. Twice is harmless: running already is success. Raises
        Incompatible or Refused with libvirt's text; then nothing runs, and nothing that this call defined stays."""

    async def power_off(self, domain: UUID) -> None:
        """Press the ACPI power button; returns at once. Inactive already is success."""

    async def destroy(self, domain: UUID, *, unless_running: bool = False) -> None:
        """Stop without asking the guest. Twice is harmless: inactive already is success. With `unless_running` the state is
        read on the same connection just before, and Refused raised for a guest whose CPUs may run: for leftover copies."""

    async def suspend(self, domain: UUID) -> None:
        """Paused already is success. Raises Refused for an inactive domain."""

    async def resume(self, domain: UUID) -> None:
        """Running already is success. Raises Refused for an inactive domain."""

    async def undefine(self, domain: UUID) -> None:
        """Forget an inactive domain, keeping NVRAM and TPM; snapshots' and checkpoints' metadata go. Absent is success.
        Raises Refused for an active one."""

    async def make_transient(self, domain: UUID) -> None:
        """Forget an active guest's definition, as `undefine` does for an inactive one; the guest runs on. Transient already is
        success. Raises Refused for an inactive one."""

    async def set_autostart(self, domain: UUID, on: bool) -> None: ...

    async def mark(self, domain: UUID, mark: Mark) -> None:
        """Write Drover's metadata, live and persistent. Never during a job: that blocks and fails (Busy)."""

    async def migrate(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        """
        Move a running guest: peer to peer, live, PERSIST_DEST, never UNDEFINE_SOURCE. Blocks until it is over, on a
        connection of its own; if this process dies the migration goes on.

        On return it runs on the destination, or is PAUSED/USER there if it was paused or is to arrive so, and is
        SHUTOFF/MIGRATED here. On Incompatible nothing has moved.
        On Aborted, MigrationFailed or Unreachable nobody knows: ask both hosts. libvirt tells an abort as a failure where it
        hears first that the target's QEMU has ended, and a guest that was destroyed on the way as an abort.
        Raises Busy when another migration of the guest is under way.

        Connecting may take a while: `still` is called after that, right before the request, perhaps in another thread.
        What it raises is raised here, and nothing was asked for.
        """

    async def recover(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        """
        Go on with a post-copy that broke: what is left of the old copy is stopped, and the rest is sent anew. Blocks like
        `migrate`, with the same words for the same ends. While it is broken the guest runs on the target as far as its pages
        have arrived. Raises Refused where the target has not noticed yet, or nothing is to be recovered: try again later.
        """

    async def progress(self, domain: UUID) -> Progress | None:
        """None while no migration of the domain is under way."""

    async def completed(self, domain: UUID) -> Completed | None:
        """Statistics of the last migration, while libvirt keeps them."""

    async def steer(self, domain: UUID, steer: Steer) -> None:
        """Raises Refused when there is no such job."""

    def lifecycle(self) -> AsyncIterator[Lifecycle]:
        """Events from now on, the last one DISCONNECTED. Subscribed before the first `await` of the iterator returns."""

    async def close(self) -> None:
        """Twice is harmless. Does not disturb any guest or job."""


class Hypervisors(Protocol):
    """Opens connections; wiring chooses the driver by the URI's scheme."""

    async def connect(self, uri: str, credentials: str = "") -> Hypervisor:
        """With that set of certificates and keys; "" is what counts for hosts that name none. Raises Unreachable, with
        libvirt's text, within its deadline."""

    async def certificates(self, uri: str, credentials: str = "") -> Sequence[Certificate]:
        """What is shown on the way there, expired or not; nothing where no certificates are, and the client's alone
        while the host does not answer. Raises Unreachable where none can be had."""

    async def close(self) -> None: ...
